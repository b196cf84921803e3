"""Multi-head attention, with a cache for decoding."""

import keras
import tensorflow as tf

from modelzoo.fields.errors import FieldError
from modelzoo.models.layers.dropout import Dropout
from modelzoo.models.layers.linear import linear, sizes
from modelzoo.models.layers.positions import rotate
from modelzoo.models.layers.precision import at_least_float32

_MASKED = -1e9  # Added to the scores of masked positions.

Cache = dict[str, tf.Tensor]


@keras.saving.register_keras_serializable(package="modelzoo")
class Attention(keras.layers.Layer):
    """Multi-head attention (Vaswani et al., 2017, section 3.2).

    Maps `[batch, length, dim]` to the same shape. Each position attends to the sequence itself or,
    with `cross=True`, to a `memory` `[batch, memory_length, dim]`. `padding_mask`, bool
    `[batch, length]` (or `[batch, memory_length]`), is True for the real tokens of the sequence
    attended to; others get no attention. The softmax is float32 (float64 under a float64 policy).

    num_heads: number of heads; it must divide `dim`.
    dropout: dropout rate of the attention weights.
    cross: attend to a memory.
    causal: no position attends to a later one.
    rotary: rotate queries and keys by their positions.
    use_bias: add biases to queries, keys, values and outputs.
    """

    def __init__(
        self,
        num_heads: int,
        dropout: float = 0.0,
        cross: bool = False,
        causal: bool = False,
        rotary: bool = False,
        use_bias: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if cross and (causal or rotary):
            raise FieldError("cross", "must be False with causal or rotary, got True")
        self.num_heads = num_heads
        self.cross = cross
        self.causal = causal
        self.rotary = rotary
        self.use_bias = use_bias
        self.dropout = None
        if dropout:
            self.dropout = Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def build(self, input_shape):
        dim = input_shape[-1]
        if dim % self.num_heads:
            raise ValueError(f"num_heads must divide the width {dim}, got {self.num_heads}")
        # One product computes all projections of a sequence. They are initialized as one matrix,
        # as in fairseq and PyTorch.
        initializer = keras.initializers.VarianceScaling(0.5, "fan_in", "uniform")
        parts = {"query": 1, "key_value": 2} if self.cross else {"query_key_value": 3}
        for name, number in {**parts, "output": 1}.items():
            start = "glorot_uniform" if name == "output" else initializer
            kernel = self.add_weight((dim, number * dim), start, name=f"{name}_kernel")
            setattr(self, f"{name}_kernel", kernel)
            bias = None
            if self.use_bias:
                bias = self.add_weight((number * dim,), "zeros", name=f"{name}_bias")
            setattr(self, f"{name}_bias", bias)

    def call(self, inputs, memory=None, padding_mask=None, training=None, return_weights=False):
        """Returns the outputs `[batch, length, dim]`.

        With `return_weights=True`, also returns the attention weights
        `[batch, num_heads, length, length attended to]`.
        """
        bias = None if padding_mask is None else _mask_bias(padding_mask)[:, None, None]
        if self.cross:
            (queries,), (keys, values) = self._project(inputs, "query"), self.project_memory(memory)
        else:
            queries, keys, values = self._project(inputs, "query_key_value")
        if self.rotary:
            positions = tf.range(tf.shape(queries)[2])
            queries, keys = rotate(queries, positions), rotate(keys, positions)
        if self.causal:
            positions = tf.range(tf.shape(queries)[2])
            causal_bias = _mask_bias(positions[None] <= positions[:, None])
            bias = causal_bias if bias is None else causal_bias + bias
        outputs, weights = self._attend(queries, keys, values, bias, training)
        return (outputs, weights) if return_weights else outputs

    def project_memory(self, memory: tf.Tensor) -> list[tf.Tensor]:
        """Returns keys and values `[batch, num_heads, length, dim / num_heads]` of a memory."""
        return self._project(tf.cast(memory, self.compute_dtype), "key_value")

    def attend_to_memory(
        self, inputs: tf.Tensor, keys: tf.Tensor, values: tf.Tensor, memory_mask: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Attends to a memory, given keys and values from `project_memory`."""
        (queries,) = self._project(inputs, "query")
        return self._attend(queries, keys, values, _mask_bias(memory_mask)[:, None, None], False)

    def step(
        self, inputs: tf.Tensor, cache: Cache, attention_mask: tf.Tensor, position: tf.Tensor
    ) -> tuple[tf.Tensor, Cache]:
        """Decodes one more position of `k` beams of each example.

        Beams share one cache, so that a beam that continues another one needs no copy.

        Args:
            inputs: `[batch, k, dim]`.
            cache: `keys` and `values`, `[batch, num_heads, capacity, k * dim / num_heads]`, of the
                earlier positions of all beams.
            attention_mask: bool `[batch, k, capacity * k]`, True for the positions in the cache
                that a beam attends to: its own and those of the beams that it continues.
            position: the position that is decoded, an int32 scalar.

        Returns:
            Outputs `[batch, k, dim]`, and the cache with this position.
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
        keys, values = (tf.reshape(x, [batch, self.num_heads, -1, width]) for x in cache.values())
        bias = _mask_bias(attention_mask)[:, None]
        return self._attend(queries, keys, values, bias, False)[0], cache

    def _project(self, x: tf.Tensor, name: str) -> list[tf.Tensor]:
        """Returns projections of one product, `[batch, num_heads, length, dim / num_heads]`."""
        dim = x.shape[-1]
        bias = getattr(self, f"{name}_bias")
        y = linear(x, getattr(self, f"{name}_kernel"), bias)
        number = y.shape[-1] // dim
        y = tf.reshape(y, [*sizes(x)[:2], number * self.num_heads, dim // self.num_heads])
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
        outputs = tf.reshape(outputs, [*sizes(outputs)[:2], self.num_heads * outputs.shape[3]])
        return linear(outputs, self.output_kernel, self.output_bias), weights


def _mask_bias(mask: tf.Tensor) -> tf.Tensor:
    """Additive attention mask: 0 where the mask is True, else a large negative number."""
    return (1.0 - tf.cast(mask, tf.float32)) * _MASKED


def _write(cache: tf.Tensor, new: tf.Tensor, position: tf.Tensor) -> tf.Tensor:
    """Writes `new` `[batch, num_heads, k, width]` at a position of the cache."""
    new = tf.reshape(new, [*sizes(cache)[:2], 1, cache.shape[3]])
    packed = 16 // cache.dtype.size
    if cache.shape[0] is None and cache.shape[3] % packed == 0:
        # This is the only update that TensorFlow does in place if nothing else holds the cache. XLA
        # does not support it, but then the batch size is static. The time depends on the number of
        # elements written, not on their size, so the cache is cast to the largest type.
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
