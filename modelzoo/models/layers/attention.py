"""Multi-head attention, with a cache for decoding."""

import keras
import tensorflow as tf

from modelzoo.models.layers.dropout import Dropout
from modelzoo.models.layers.linear import linear, sizes
from modelzoo.models.layers.positions import rotate
from modelzoo.models.layers.precision import at_least_float32

_NEVER = -1e9  # Added to the score of what is not to be seen.

Cache = dict[str, tf.Tensor]


@keras.saving.register_keras_serializable(package="modelzoo")
class Attention(keras.layers.Layer):
    """Multi-head attention on the sequence itself or on another (Vaswani et al., 2017, 3.2).

    `[batch, length, dim]` to the same shape. The other sequence is `memory`
    `[batch, memory_length, dim]`, given if `cross`; `real` (bool `[batch, length]`, of the sequence
    attended to) says which of its steps are no padding. The softmax is of float32 numbers (float64
    under float64).

    heads: how many; they divide the dimension.
    dropout: share of the weights dropped.
    cross: attend to a memory.
    causal: no step sees a later one.
    rotary: turn queries and keys by their positions.
    use_bias: add biases to queries, keys, values and outputs.
    """

    def __init__(
        self,
        heads: int,
        dropout: float = 0.0,
        cross: bool = False,
        causal: bool = False,
        rotary: bool = False,
        use_bias: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.heads = heads
        self.cross = cross
        self.causal = causal
        self.rotary = rotary
        self.use_bias = use_bias
        self.dropout = Dropout(dropout, name="dropout") if dropout else None

    def build(self, input_shape):
        dim = input_shape[-1]
        # One product gives all that is projected from one sequence; each part's scale is that of
        # all three together, as in fairseq and PyTorch.
        start = keras.initializers.VarianceScaling(0.5, "fan_in", "uniform")
        parts = {"query": 1, "key_value": 2} if self.cross else {"query_key_value": 3}
        for name, number in {**parts, "output": 1}.items():
            initializer = "glorot_uniform" if name == "output" else start
            kernel = self.add_weight((dim, number * dim), initializer, name=f"{name}_kernel")
            setattr(self, f"{name}_kernel", kernel)
            bias = None
            if self.use_bias:
                bias = self.add_weight((number * dim,), "zeros", name=f"{name}_bias")
            setattr(self, f"{name}_bias", bias)

    def call(self, inputs, memory=None, real=None, training=None, return_weights=False):
        """With `return_weights` also the weights `[batch, heads, length, length attended to]`."""
        bias = None if real is None else _bias(real)[:, None, None]
        if self.cross:
            (queries,), (keys, values) = self._project(inputs, "query"), self.memory(memory)
        else:
            queries, keys, values = self._project(inputs, "query_key_value")
        if self.rotary and not self.cross:
            positions = tf.range(tf.shape(queries)[2])
            queries, keys = rotate(queries, positions), rotate(keys, positions)
        if self.causal:
            steps = tf.range(tf.shape(queries)[2])
            past = _bias(steps[None] <= steps[:, None])
            bias = past if bias is None else past + bias
        outputs, weights = self._attend(queries, keys, values, bias, training)
        return (outputs, weights) if return_weights else outputs

    def memory(self, memory: tf.Tensor) -> list[tf.Tensor]:
        """Keys and values `[batch, heads, length, dim / heads]` of `[batch, length, dim]`."""
        return self._project(tf.cast(memory, self.compute_dtype), "key_value")

    def recall(
        self, inputs: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, real: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Attention on a memory by what `memory` gave; the output and the weights."""
        (queries,) = self._project(inputs, "query")
        return self._attend(queries, keys, values, _bias(real)[:, None, None], False)

    def step(
        self, inputs: tf.Tensor, cache: Cache, seen: tf.Tensor, position: tf.Tensor
    ) -> tuple[tf.Tensor, Cache]:
        """One more step of `k` sequences of each example, `[batch, k, dim]`; the output and cache.

        The cache holds `keys` and `values` `[batch, heads, capacity, k * dim / heads]`, the steps
        of all `k` sequences. `seen` (bool `[batch, k, capacity * k]`) says which of them each
        sequence sees: those that it goes on from. Sequences that go on from others need no copies.
        """
        queries, keys, values = self._project(inputs, "query_key_value")
        if self.rotary:
            positions = position[None]
            queries, keys = (rotate(x[..., None, :], positions)[..., 0, :] for x in (queries, keys))
        cache = {
            "keys": _write(cache["keys"], keys, position),
            "values": _write(cache["values"], values, position),
        }
        batch, _, _, width = sizes(keys)
        rows = [tf.reshape(kept, [batch, self.heads, -1, width]) for kept in cache.values()]
        return self._attend(queries, *rows, _bias(seen)[:, None], False)[0], cache

    def _project(self, x: tf.Tensor, name: str) -> list[tf.Tensor]:
        """The parts of a product, each `[batch, heads, length, dim / heads]`."""
        dim = x.shape[-1]
        bias = getattr(self, f"{name}_bias")
        y = linear(x, getattr(self, f"{name}_kernel"), bias)
        number = y.shape[-1] // dim
        y = tf.reshape(y, [*sizes(x)[:2], number * self.heads, dim // self.heads])
        return tf.split(tf.transpose(y, [0, 2, 1, 3]), number, axis=1)

    def _attend(self, queries, keys, values, bias, training) -> tuple[tf.Tensor, tf.Tensor]:
        wide = at_least_float32(queries.dtype.name)
        scores = tf.matmul(queries * queries.shape[-1] ** -0.5, keys, transpose_b=True)
        scores = tf.cast(scores, wide)
        if bias is not None:
            scores += tf.cast(bias, wide)
        weights = tf.nn.softmax(scores)
        dropped = weights if self.dropout is None else self.dropout(weights, training=training)
        outputs = tf.matmul(tf.cast(dropped, values.dtype), values)
        outputs = tf.transpose(outputs, [0, 2, 1, 3])
        outputs = tf.reshape(outputs, [*sizes(outputs)[:2], self.heads * outputs.shape[3]])
        return linear(outputs, self.output_kernel, self.output_bias), weights


def _bias(seen: tf.Tensor) -> tf.Tensor:
    """What is added to scores: 0 where `seen`, else next to minus infinity."""
    return (1.0 - tf.cast(seen, tf.float32)) * _NEVER


def _write(cache: tf.Tensor, new: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """The cache with `new` `[batch, heads, k, width]` at a position."""
    new = tf.reshape(new, [*sizes(cache)[:2], 1, cache.shape[3]])
    packed = 16 // cache.dtype.size
    if cache.shape[0] is None and cache.shape[3] % packed == 0:
        # The one update that is done in place where nothing else holds the cache. XLA cannot do it,
        # but then it knows the batch. Its time goes by the number, not the size, of what it writes.
        slices = {"begin": [0, 0, position, 0], "end": [0, 0, position + 1, 0], "strides": [1] * 4}
        masks = {"begin_mask": 0b1011, "end_mask": 0b1011}
        whole, part = (
            tf.bitcast(tf.reshape(x, [*sizes(x)[:3], -1, packed]), tf.complex128)
            for x in (cache, new)
        )
        whole = tf.raw_ops.TensorStridedSliceUpdate(input=whole, value=part, **slices, **masks)
        return tf.reshape(tf.bitcast(whole, cache.dtype), sizes(cache))
    rows = tf.reshape(cache, [-1, *cache.shape[2:]])
    number = tf.range(tf.shape(rows)[0])
    places = tf.stack([number, tf.fill(tf.shape(number), position)], axis=1)
    rows = tf.tensor_scatter_nd_update(rows, places, tf.reshape(new, [-1, cache.shape[3]]))
    return tf.reshape(rows, sizes(cache))
