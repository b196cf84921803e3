"""Transformer blocks and stacks of them."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from modelzoo.fields.checks import (
    check_choice,
)
from modelzoo.models.layers.attention import Attention, Cache
from modelzoo.models.layers.dropout import Dropout
from modelzoo.models.layers.layer_norm import LayerNorm
from modelzoo.models.layers.linear import linear, sizes
from modelzoo.models.layers.positions import Positions

_ACTIVATIONS = {
    "relu": tf.nn.relu,
    "gelu": tf.nn.gelu,
    "gelu_tanh": functools.partial(tf.nn.gelu, approximate=True),
    "swiglu": None,
}


@keras.saving.register_keras_serializable(package="modelzoo")
class FeedForward(keras.layers.Layer):
    """Position-wise feed-forward network: `[batch, length, dim]` to the same shape.

    intermediate_dim: width between the two dense layers.
    activation: "relu" (Vaswani et al., 2017, equation 2), "gelu" (Hendrycks and Gimpel, 2016),
        "gelu_tanh", its approximation with tanh (as in GPT-2), or "swiglu" (Shazeer, 2020,
        equation 6), which has a third matrix of the same size.
    dropout: dropout rate after the activation.
    use_bias: add biases to both dense layers; None is False for "swiglu" and True for the others.
    """

    def __init__(
        self,
        intermediate_dim: int,
        activation: str = "relu",
        dropout: float = 0.0,
        use_bias: bool | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_choice(tuple(_ACTIVATIONS), activation=activation)
        self.intermediate_dim = intermediate_dim
        self.activation = activation
        self.use_bias = activation != "swiglu" if use_bias is None else use_bias
        self.dropout = None
        if dropout:
            self.dropout = Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def build(self, input_shape):
        dim, gated = input_shape[-1], self.activation == "swiglu"
        # Gate and values are initialized as two matrices.
        limit = (6 / (dim + self.intermediate_dim)) ** 0.5
        uniform = keras.initializers.RandomUniform(-limit, limit)
        inner = (1 + gated) * self.intermediate_dim
        self.inner_kernel = self.add_weight((dim, inner), uniform, name="inner_kernel")
        self.outer_kernel = self.add_weight(
            (self.intermediate_dim, dim), uniform, name="outer_kernel"
        )
        self.inner_bias = self.outer_bias = None
        if self.use_bias:
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
    """Transformer block: self-attention, cross-attention if `cross`, and a feed-forward network.

    Maps `[batch, length, dim]` to the same shape. Each sublayer `f` has a residual connection and a
    layer normalization: `norm(x + f(x))` with `norm="post"` (Vaswani et al., 2017),
    `x + f(norm(x))` with `norm="pre"`.

    dropout: dropout rate of each sublayer's output.
    epsilon: epsilon of the layer normalizations.

    The other arguments are those of `Attention` and `FeedForward`.
    """

    def __init__(
        self,
        num_heads: int,
        intermediate_dim: int,
        norm: str = "post",
        activation: str = "relu",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        ffn_dropout: float = 0.0,
        cross: bool = False,
        causal: bool = False,
        rotary: bool = False,
        attention_bias: bool = False,
        ffn_bias: bool | None = None,
        epsilon: float = 1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_choice(("post", "pre"), norm=norm)
        self.norm = norm
        own: dict[str, Any] = {"dtype": self.dtype_policy}
        shared = {"dropout": attention_dropout, "use_bias": attention_bias, **own}
        self.self_attention = Attention(
            num_heads, causal=causal, rotary=rotary, name="self_attention", **shared
        )
        self.cross_attention = None
        if cross:
            self.cross_attention = Attention(
                num_heads, cross=True, name="cross_attention", **shared
            )
        sizes = (intermediate_dim, activation, ffn_dropout, ffn_bias)
        self.ffn = FeedForward(*sizes, name="ffn", **own)
        self.sublayers: list[keras.layers.Layer] = [self.self_attention, self.ffn]
        if self.cross_attention is not None:
            self.sublayers.insert(1, self.cross_attention)
        self.norms = [
            LayerNorm(epsilon, name=f"{layer.name}_norm", **own) for layer in self.sublayers
        ]
        self.dropout = Dropout(dropout, name="dropout", **own) if dropout else None

    def build(self, input_shape):
        for layer in [*self.sublayers, *self.norms]:
            layer.build(input_shape)

    def call(
        self,
        inputs,
        memory=None,
        padding_mask=None,
        memory_mask=None,
        training=None,
        return_weights=False,
    ):
        """Returns the outputs `[batch, length, dim]`.

        With `return_weights=True`, also returns a list of the weights of each attention.

        Args:
            inputs: `[batch, length, dim]`.
            memory: `[batch, memory_length, dim]` for cross-attention.
            padding_mask: bool `[batch, length]`, True for real tokens.
            memory_mask: bool `[batch, memory_length]`, True for real tokens.
        """
        all_weights = []

        def attend(layer, x, *args):
            if not return_weights:
                return layer(x, *args, training=training)
            outputs, weights = layer(x, *args, training=training, return_weights=True)
            all_weights.append(weights)
            return outputs

        x = self._residual(
            0, inputs, lambda x: attend(self.self_attention, x, None, padding_mask), training
        )
        if self.cross_attention is not None:
            x = self._residual(
                1, x, lambda x: attend(self.cross_attention, x, memory, memory_mask), training
            )
        x = self._residual(-1, x, lambda x: self.ffn(x, training=training), training)
        return (x, all_weights) if return_weights else x

    def start(self, batch: tf.Tensor, beams: int, capacity: int, memory: tf.Tensor | None) -> Cache:
        """Returns the cache before the first `step`: zeros, and the projected memory."""
        dim = self.ffn.outer_kernel.shape[1]
        num_heads = self.self_attention.num_heads
        empty = tf.zeros([batch, num_heads, capacity, beams * dim // num_heads], self.compute_dtype)
        cache = {"keys": empty, "values": empty}
        if self.cross_attention is not None:
            keys, values = self.cross_attention.project_memory(memory)
            cache["memory_keys"], cache["memory_values"] = keys, values
        return cache

    def step(
        self,
        inputs: tf.Tensor,
        cache: Cache,
        attention_mask: tf.Tensor,
        position: tf.Tensor,
        memory_mask: tf.Tensor | None,
    ) -> tuple[tf.Tensor, Cache, tf.Tensor | None]:
        """Decodes one more position of `k` beams; see `Attention.step`.

        Returns:
            Outputs `[batch, k, dim]`, the cache with this position, and the weights of
            cross-attention `[batch, num_heads, k, memory_length]`, None without it.
        """
        cache, weights = dict(cache), None

        def attend(x):
            own = {name: cache[name] for name in ("keys", "values")}
            outputs, own = self.self_attention.step(x, own, attention_mask, position)
            cache.update(own)
            return outputs

        x = self._residual(0, inputs, attend)
        cross = self.cross_attention
        if cross is not None:

            def attend_to_memory(x):
                nonlocal weights
                keys, values = cache["memory_keys"], cache["memory_values"]
                outputs, weights = cross.attend_to_memory(x, keys, values, memory_mask)
                return outputs

            x = self._residual(1, x, attend_to_memory)
        return self._residual(-1, x, self.ffn), cache, weights

    def _residual(self, number: int, x: tf.Tensor, sublayer: Callable, training=False) -> tf.Tensor:
        """Applies a sublayer with its residual connection and the normalization `number`."""
        norm = self.norms[number]
        y = sublayer(norm(x) if self.norm == "pre" else x)
        if self.dropout is not None:
            y = self.dropout(y, training=training)
        return x + y if self.norm == "pre" else norm(x + y)


@keras.saving.register_keras_serializable(package="modelzoo")
class Stack(keras.layers.Layer):
    """Positions and Transformer blocks, followed by a norm if the blocks are pre-norm.

    Maps token vectors `[batch, length, dim]` to the same shape, as an encoder or as a decoder. The
    arguments of a call are those of `Block`. Raises ValueError if a sequence is longer than the
    learned positions.

    num_layers: number of blocks.
    block: arguments of each block.
    positions: "sinusoidal", "learned" or "rotary".
    max_length: number of learned positions.
    """

    def __init__(
        self,
        num_layers: int,
        block: dict,
        positions: str,
        max_length: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        rotary, own = positions == "rotary", {"dtype": self.dtype_policy}
        self.positions = None
        if not rotary:
            self.positions = Positions(positions, max_length, name="positions", **own)
        self.blocks = [
            Block(**block, rotary=rotary, name=f"block{number}", **own)
            for number in range(1, num_layers + 1)
        ]
        self.norm = None
        if block.get("norm") == "pre":
            self.norm = LayerNorm(block.get("epsilon", 1e-5), name="norm", **own)
        rate = block.get("dropout")
        self.dropout = Dropout(rate, name="dropout", **own) if rate else None

    def build(self, input_shape):
        for layer in (self.positions, *self.blocks, self.norm):
            if layer is not None:
                layer.build(input_shape)

    def call(
        self,
        inputs,
        memory=None,
        padding_mask=None,
        memory_mask=None,
        training=None,
        return_weights=False,
    ):
        """Returns the outputs `[batch, length, dim]`.

        With `return_weights=True`, also returns a list with the weights of each kind of attention,
        `[batch, num_layers, num_heads, length, length attended to]`.
        """
        x, all_weights = self._add_positions(inputs), []
        if self.dropout is not None:
            x = self.dropout(x, training=training)
        for block in self.blocks:
            x = block(
                x,
                memory,
                padding_mask=padding_mask,
                memory_mask=memory_mask,
                training=training,
                return_weights=return_weights,
            )
            if return_weights:
                x, weights = x
                all_weights.append(weights)
        x = x if self.norm is None else self.norm(x)
        stacked = [tf.stack(kind, axis=1) for kind in zip(*all_weights, strict=True)]
        return (x, stacked) if return_weights else x

    def compute_output_spec(self, inputs, *args, **kwargs):
        return keras.KerasTensor(inputs.shape, self.compute_dtype)

    def start(
        self, batch: tf.Tensor, beams: int, capacity: int, memory: tf.Tensor | None = None
    ) -> dict[str, Cache]:
        """Returns the caches before the first `step`, by block, for `capacity` positions."""
        if self.positions is not None:
            self.positions.check_length(capacity)
        return {block.name: block.start(batch, beams, capacity, memory) for block in self.blocks}

    def step(
        self,
        inputs: tf.Tensor,
        caches: dict[str, Cache],
        ancestry: tf.Tensor,
        position: tf.Tensor,
        memory_mask: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, dict[str, Cache], tf.Tensor, tf.Tensor | None]:
        """Decodes one more position of `k` beams of each example.

        Args:
            inputs: `[batch, k, dim]`.
            caches: as `start` returns them.
            ancestry: int32 `[batch, k, capacity]`, the beam whose cache holds each earlier
                position of a beam.
            position: the position that is decoded, an int32 scalar.
            memory_mask: bool `[batch, memory_length]`, True for real tokens.

        Returns:
            Outputs `[batch, k, dim]`, the caches and the ancestry with this position, and the
            last block's weights of cross-attention, averaged over the heads,
            `[batch, k, memory_length]`.
        """
        _, beams, capacity = sizes(ancestry)
        own = tf.range(beams)
        positions = tf.range(capacity)
        ancestry = tf.where(positions == position, own[:, None], ancestry)
        attention_mask = (ancestry[..., None] == own) & (positions <= position)[:, None]
        attention_mask = tf.reshape(attention_mask, [-1, beams, capacity * beams])
        x, caches, weights = self._add_positions(inputs, position), dict(caches), None
        for block in self.blocks:
            x, caches[block.name], weights = block.step(
                x, caches[block.name], attention_mask, position, memory_mask
            )
        weights = None if weights is None else tf.reduce_mean(weights, axis=1)
        return x if self.norm is None else self.norm(x), caches, ancestry, weights

    def _add_positions(self, x: tf.Tensor, position: tf.Tensor | None = None) -> tf.Tensor:
        return x if self.positions is None else self.positions(x, position)
