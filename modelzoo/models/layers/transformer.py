"""The layers that Transformers are made of."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import keras
import tensorflow as tf

from modelzoo.models.layers.attention import Attention, Cache
from modelzoo.models.layers.dropout import Dropout
from modelzoo.models.layers.layer_norm import LayerNorm
from modelzoo.models.layers.linear import linear, sizes
from modelzoo.models.layers.positions import Positions

_ACTIVATIONS = {"relu": tf.nn.relu, "gelu": tf.nn.gelu, "swiglu": None}


@keras.saving.register_keras_serializable(package="modelzoo")
class FeedForward(keras.layers.Layer):
    """Two layers at each step alone: `[batch, length, dim]` to the same shape.

    activation: between them: "relu" (Vaswani et al., 2017, equation 2), "gelu" (Hendrycks and
        Gimpel, 2016, not the approximation) or "swiglu" (Shazeer, 2020, equation 6), which has a
        third matrix of the same size and no biases.
    dropout: share of the values dropped between them.
    """

    def __init__(self, ffn_dim: int, activation: str = "relu", dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.ffn_dim = ffn_dim
        self.activation = activation
        self.dropout = Dropout(dropout, name="dropout") if dropout else None

    def build(self, input_shape):
        dim, gated = input_shape[-1], self.activation == "swiglu"
        # As if gate and values were initialised each on its own.
        limit = (6 / (dim + self.ffn_dim)) ** 0.5
        start = keras.initializers.RandomUniform(-limit, limit)
        inner = (1 + gated) * self.ffn_dim
        self.inner_kernel = self.add_weight((dim, inner), start, name="inner_kernel")
        self.outer_kernel = self.add_weight((self.ffn_dim, dim), start, name="outer_kernel")
        self.inner_bias = self.outer_bias = None
        if not gated:
            self.inner_bias = self.add_weight((inner,), "zeros", name="inner_bias")
            self.outer_bias = self.add_weight((dim,), "zeros", name="outer_bias")

    def call(self, inputs, training=None):
        x = linear(inputs, self.inner_kernel, self.inner_bias)
        if self.activation == "swiglu":
            gate, x = tf.split(x, 2, axis=-1)
            x *= tf.nn.silu(gate)
        else:
            x = _ACTIVATIONS[self.activation](x)
        if self.dropout is not None:
            x = self.dropout(x, training=training)
        return linear(x, self.outer_kernel, self.outer_bias)


@keras.saving.register_keras_serializable(package="modelzoo")
class Block(keras.layers.Layer):
    """Attention, attention on a memory if `cross`, and a feed-forward net, each around a residual.

    `[batch, length, dim]` to the same shape; `real` (bool `[batch, length]`) says which steps are
    no padding, `memory_real` those of `memory` `[batch, memory_length, dim]`. `norm` is "post",
    `norm(x + f(x))`, as in Vaswani et al. (2017), or "pre", `x + f(norm(x))`. `dropout` is of what
    each `f` gives; the other arguments are those of `Attention` and `FeedForward`.
    """

    def __init__(
        self,
        heads: int,
        ffn_dim: int,
        norm: str = "post",
        activation: str = "relu",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        ffn_dropout: float = 0.0,
        cross: bool = False,
        causal: bool = False,
        rotary: bool = False,
        use_bias: bool = False,
        epsilon: float = 1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.norm = norm
        both = {"dropout": attention_dropout, "use_bias": use_bias}
        self.self_attention = Attention(
            heads, causal=causal, rotary=rotary, name="self_attention", **both
        )
        self.cross_attention = None
        if cross:
            self.cross_attention = Attention(heads, cross=True, name="cross_attention", **both)
        self.ffn = FeedForward(ffn_dim, activation, ffn_dropout, name="ffn")
        self.parts = [self.self_attention, *([self.cross_attention] if cross else []), self.ffn]
        self.norms = [LayerNorm(epsilon, name=f"{part.name}_norm") for part in self.parts]
        self.dropout = Dropout(dropout, name="dropout") if dropout else None

    def build(self, input_shape):
        for layer in [*self.parts, *self.norms]:
            layer.build(input_shape)

    def call(
        self,
        inputs,
        memory=None,
        real=None,
        memory_real=None,
        training=None,
        return_weights=False,
    ):
        """With `return_weights` also the weights of each attention."""
        kept = []

        def attend(x, *args):
            if not return_weights:
                return layer(x, *args, training=training)
            outputs, weights = layer(x, *args, training=training, return_weights=True)
            kept.append(weights)
            return outputs

        layer = self.self_attention
        x = self._around(0, inputs, lambda x: attend(x, None, real), training)
        if self.cross_attention is not None:
            layer = self.cross_attention
            x = self._around(1, x, lambda x: attend(x, memory, memory_real), training)
        x = self._around(-1, x, lambda x: self.ffn(x, training=training), training)
        return (x, kept) if return_weights else x

    def start(self, batch: tf.Tensor, rows: int, capacity: int, memory: tf.Tensor | None) -> Cache:
        """The cache of `step`, empty but for what is of the memory."""
        dim = self.ffn.outer_kernel.shape[1]
        heads = self.self_attention.heads
        empty = tf.zeros([batch, heads, capacity, rows * dim // heads], self.compute_dtype)
        cache = {"keys": empty, "values": empty}
        if self.cross_attention is not None:
            cache["memory_keys"], cache["memory_values"] = self.cross_attention.memory(memory)
        return cache

    def step(
        self,
        inputs: tf.Tensor,
        cache: Cache,
        seen: tf.Tensor,
        position: tf.Tensor,
        memory_real: tf.Tensor | None,
    ) -> tuple[tf.Tensor, Cache, tf.Tensor | None]:
        """See `Attention.step`; the output, the cache and the weights `[..., k, memory_length]`."""
        cache, weights = dict(cache), None

        def attend(x):
            own = {name: cache[name] for name in ("keys", "values")}
            outputs, own = self.self_attention.step(x, own, seen, position)
            cache.update(own)
            return outputs

        def recall(x):
            nonlocal weights
            kept = (cache["memory_keys"], cache["memory_values"])
            outputs, weights = self.cross_attention.recall(x, *kept, memory_real)
            return outputs

        x = self._around(0, inputs, attend)
        if self.cross_attention is not None:
            x = self._around(1, x, recall)
        return self._around(-1, x, self.ffn), cache, weights

    def _around(self, number: int, x: tf.Tensor, function: Callable, training=False) -> tf.Tensor:
        """A residual around a function, and the norm of that number."""
        norm = self.norms[number]
        y = function(norm(x) if self.norm == "pre" else x)
        if self.dropout is not None:
            y = self.dropout(y, training=training)
        return x + y if self.norm == "pre" else norm(x + y)


@keras.saving.register_keras_serializable(package="modelzoo")
class Stack(keras.layers.Layer):
    """Positions, then blocks, and after pre-norm ones a last norm: an encoder or a decoder.

    From vectors of tokens `[batch, length, dim]` to the same shape; the arguments of the call are
    those of `Block`. Raises ValueError for more steps than positions were learned.

    layers: how many blocks.
    block: the arguments of each.
    positions: "sinusoidal", "learned" or "rotary".
    longest: how many positions are learned.
    """

    def __init__(
        self, layers: int, block: dict, positions: str, longest: int | None = None, **kwargs
    ):
        super().__init__(**kwargs)
        rotary = positions == "rotary"
        self.positions = None if rotary else Positions(positions, longest, name="positions")
        self.blocks = [
            Block(**block, rotary=rotary, name=f"block{number}") for number in range(1, layers + 1)
        ]
        self.norm = LayerNorm(name="norm") if block["norm"] == "pre" else None
        rate = block["dropout"]
        self.dropout = Dropout(rate, name="dropout") if rate else None

    def build(self, input_shape):
        for layer in (self.positions, *self.blocks, self.norm):
            if layer is not None:
                layer.build(input_shape)

    def call(
        self,
        inputs,
        memory=None,
        real=None,
        memory_real=None,
        training=None,
        return_weights=False,
    ):
        """With `return_weights` also a list of each kind of attention's `[batch, layers, ...]`."""
        x, kept = self._placed(inputs), []
        if self.dropout is not None:
            x = self.dropout(x, training=training)
        for block in self.blocks:
            x = block(
                x,
                memory,
                real,
                memory_real,
                training=training,
                return_weights=return_weights,
            )
            if return_weights:
                x, weights = x
                kept.append(weights)
        x = x if self.norm is None else self.norm(x)
        stacked = [tf.stack(kind, axis=1) for kind in zip(*kept, strict=True)]
        return (x, stacked) if return_weights else x

    def compute_output_spec(self, inputs, *args, **kwargs):
        return keras.KerasTensor(inputs.shape, self.compute_dtype)

    def start(
        self, batch: tf.Tensor, rows: int, capacity: int, memory: tf.Tensor | None = None
    ) -> dict[str, Cache]:
        """The caches of `step`, by block, for `rows` sequences of each example, `capacity` long."""
        if self.positions is not None:
            self.positions.check(capacity)
        return {block.name: block.start(batch, rows, capacity, memory) for block in self.blocks}

    def step(
        self,
        inputs: tf.Tensor,
        caches: dict[str, Cache],
        ancestry: tf.Tensor,
        position: tf.Tensor,
        memory_real: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, dict[str, Cache], tf.Tensor, tf.Tensor | None]:
        """One more step of `k` sequences of each example: `[batch, k, dim]` to the same shape.

        ancestry: int32 `[batch, k, capacity]`, for each sequence the number of the sequence whose
            cache holds each of its steps before `position`.

        Gives also the caches, the ancestry with this step, and the last block's weights on the
        memory, `[batch, k, memory_length]`, the mean of its heads.
        """
        _, rows, capacity = sizes(ancestry)
        own = tf.range(rows)
        steps = tf.range(capacity)
        ancestry = tf.where(steps == position, own[:, None], ancestry)
        seen = (ancestry[..., None] == own) & (steps <= position)[:, None]
        seen = tf.reshape(seen, [-1, rows, capacity * rows])
        x, caches, weights = self._placed(inputs, position), dict(caches), None
        for block in self.blocks:
            x, caches[block.name], weights = block.step(
                x, caches[block.name], seen, position, memory_real
            )
        weights = None if weights is None else tf.reduce_mean(weights, axis=1)
        return x if self.norm is None else self.norm(x), caches, ancestry, weights

    def _placed(self, x: tf.Tensor, position: tf.Tensor | None = None) -> tf.Tensor:
        """With positions, from 0 on or the same one for all."""
        return x if self.positions is None else self.positions(x, position)


@dataclasses.dataclass(frozen=True)
class Blocks:
    """What the layers of a Transformer are made of.

    dim: width of the vectors that go through the net.
    ffn_dim: width inside the feed-forward nets.
    heads: of each attention; they divide `dim`.
    norm: where each layer's norm stands, "post", after the residual, or "pre", before the layer.
    positions: what tells where tokens stand: "sinusoidal" or "learned" vectors, or the "rotary"
        turning of queries and keys, in self-attention (Su et al., 2021).
    activation: of the feed-forward nets; "swiglu" (Shazeer, 2020) has a third matrix and no biases.
    dropout: share of the values dropped of the embedded tokens and of what each layer gives before
        it is added.
    attention_dropout: share of the attention's weights dropped.
    ffn_dropout: share of the values dropped inside the feed-forward nets.
    """

    dim: int = 512
    ffn_dim: int = 2048
    heads: int = 8
    norm: Literal["post", "pre"] = "post"
    positions: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal"
    activation: Literal["relu", "gelu", "swiglu"] = "relu"
    dropout: float = 0.1
    attention_dropout: float = 0.0
    ffn_dropout: float = 0.0

    def __post_init__(self):
        if self.dim < 2 or self.dim % 2:
            raise ValueError(f"dim must be an even number above 0, got {self.dim}")
        if self.ffn_dim < 1:
            raise ValueError(f"ffn_dim must be at least 1, got {self.ffn_dim}")
        if self.heads < 1 or self.dim % self.heads:
            raise ValueError(f"heads must divide dim, {self.dim}, got {self.heads}")
        if self.positions == "rotary" and self.dim // self.heads % 2:
            raise ValueError(
                f"heads must divide dim, {self.dim}, into even parts for rotary positions, got "
                f"{self.heads}"
            )
        for name, choices in (
            ("norm", ("post", "pre")),
            ("positions", ("sinusoidal", "learned", "rotary")),
            ("activation", ("relu", "gelu", "swiglu")),
        ):
            if getattr(self, name) not in choices:
                quoted = " or ".join(f'"{choice}"' for choice in choices)
                raise ValueError(f"{name} must be {quoted}, got {getattr(self, name)!r}")
        for name in ("dropout", "attention_dropout", "ffn_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 0 and below 1, got {getattr(self, name)}"
                )

    def stack(self, name: str, layers: int, longest: int | None, **kwargs) -> Stack:
        """So many blocks; `kwargs` are more arguments of `Block`."""
        names = ("heads", "ffn_dim", "norm", "activation")
        names += ("dropout", "attention_dropout", "ffn_dropout")
        block = {name: getattr(self, name) for name in names} | kwargs
        return Stack(layers, block, self.positions, longest, name=name)
