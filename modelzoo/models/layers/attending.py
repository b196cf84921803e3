"""Attention of recurrent decoders on a source, and an LSTM that attends before each step."""

import keras
import tensorflow as tf

from modelzoo.models.layers.linear import linear
from modelzoo.models.layers.precision import at_least_float32


def weigh(
    scores: tf.Tensor, values: tf.Tensor, real: tf.Tensor, dtype: tf.DType
) -> tuple[tf.Tensor, tf.Tensor]:
    """The mean of `values` under the softmax of the scores of real steps, and that softmax.

    scores: `[batch, queries, length]`.
    values: `[batch, length, dim]`.
    real: bool `[batch, length]`. A source without any real step gets some finite mean.
    dtype: of the softmax, which is float32 at least. The mean has the dtype of `values`.
    """
    weights = tf.nn.softmax(tf.where(real[:, None], tf.cast(scores, dtype), -1e9))
    return tf.cast(weights, values.dtype) @ values, weights


def lstm_step(x: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The output and the cell after a step, of what its gates see, `[..., 4 * units]`."""
    i, f, g, o = tf.split(x, 4, axis=-1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c


def advance_lstm(layer: keras.layers.LSTM, x: tf.Tensor, h: tf.Tensor, c: tf.Tensor):
    """The states of an LSTM layer after one more input, as its loop computes them.

    x: `[..., features]`; h, c: `[..., units]`, float32 at least.
    """
    cell = layer.cell
    seen = linear(x, cell.kernel, cell.bias) + linear(tf.cast(h, x.dtype), cell.recurrent_kernel)
    return lstm_step(tf.cast(seen, c.dtype), c)


@keras.saving.register_keras_serializable(package="modelzoo")
class LuongAttention(keras.layers.Layer):
    """Global attention by products of queries and keys (Luong et al., 2015, equations 7 and 8).

    Queries `[batch, queries, dim]`, keys `[batch, length, dim]`, values `[batch, length, other]`
    and which steps are real, bool `[batch, length]`, give the values' means
    `[batch, queries, other]` and the weights `[batch, queries, length]`, float32 at least.
    """

    def call(self, queries, keys, values, real):
        wide = at_least_float32(self.compute_dtype)
        return weigh(tf.matmul(queries, keys, transpose_b=True), values, real, wide)

    def compute_output_spec(self, queries, keys, values, real):
        shape = (*queries.shape[:2], values.shape[-1])
        weights = (*queries.shape[:2], keys.shape[1])
        wide = at_least_float32(self.compute_dtype)
        return keras.KerasTensor(shape, self.compute_dtype), keras.KerasTensor(weights, wide)


@keras.saving.register_keras_serializable(package="modelzoo")
class AttendingLSTM(keras.layers.Layer):
    """An LSTM whose cell sees its input and the mean of a source that its last output attends to.

    The weight of a source's step is the softmax of `scale @ tanh(query_kernel @ h + key)` over the
    real steps (Bahdanau et al., 2015, appendix A.1.2; with an LSTM in the gated unit's place).

    Inputs `[batch, steps, features]`, keys `[batch, length, units]`, values `[batch, length, dim]`,
    which steps of the source are real, bool `[batch, length]`, and the states before the first step
    `[batch, units]` give the outputs `[batch, steps, units]`, the means `[batch, steps, dim]` and
    the weights `[batch, steps, length]`, float32 at least, which pass no gradient.

    recurrent_dropout: share of the values dropped of the last output, the same at all steps.
    """

    def __init__(self, units: int, recurrent_dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.recurrent_dropout = recurrent_dropout
        self.drop = keras.layers.Dropout(recurrent_dropout, name="recurrent_dropout")

    def build(self, x_shape, keys_shape, values_shape, *_):
        units, keys = self.units, keys_shape[-1]
        self.kernel = self.add_weight(shape=(x_shape[-1], 4 * units), name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(units, 4 * units), initializer="orthogonal", name="recurrent_kernel"
        )
        self.context_kernel = self.add_weight(
            shape=(values_shape[-1], 4 * units), name="context_kernel"
        )
        self.bias = self.add_weight(shape=(4 * units,), initializer=_open_gate, name="bias")
        self.query_kernel = self.add_weight(shape=(units, keys), name="query_kernel")
        self.scale = self.add_weight(shape=(keys, 1), name="scale")

    def call(self, x, keys, values, real, h, c, training=False):
        wide = at_least_float32(self.compute_dtype)
        drop = None
        if training and self.recurrent_dropout:
            drop = self.drop(tf.ones_like(h), training=True)
        kernel, bias, *weights = self._weights()
        x = linear(tf.transpose(x, [1, 0, 2]), kernel, bias)
        h, c = tf.cast(h, wide), tf.cast(c, wide)
        results = attending_scan(x, *weights, keys, values, h, c, real=real, drop=drop)
        return tuple(tf.transpose(result, [1, 0, 2]) for result in results)

    def step(self, x, keys, values, real, h, c):
        """The states after one more input of each of `k` sequences, the means and the weights.

        x is `[batch, k, features]`; the states are `[batch, k, units]`, float32 at least.
        """
        kernel, bias, recurrent, *weights = self._weights()
        x = linear(x, kernel, bias)
        seen = linear(tf.cast(h, x.dtype), recurrent)
        return _advance(x, seen, c, *weights, keys, values, real)

    def compute_output_spec(self, x, keys, values, real, h, c, training=False):
        wide = at_least_float32(self.compute_dtype)
        sizes = (self.units, self.compute_dtype), (values.shape[-1], self.compute_dtype)
        sizes += ((keys.shape[1], wide),)
        return tuple(keras.KerasTensor((*x.shape[:2], size), dtype) for size, dtype in sizes)

    def _weights(self):
        """In the dtype of the arithmetic; what sees the last output is one matrix."""
        names = ("kernel", "bias", "recurrent_kernel", "query_kernel", "context_kernel", "scale")
        arrays = (tf.cast(getattr(self, name), self.compute_dtype) for name in names)
        kernel, bias, recurrent, query, context, scale = arrays
        return kernel, bias, tf.concat([recurrent, query], axis=1), context, scale


def _open_gate(shape, dtype=None):
    """Zeros, but 1 for the forget gate."""
    zeros = keras.ops.zeros(shape[0] // 4, dtype)
    return keras.ops.concatenate([zeros, zeros + 1, zeros, zeros])


def _advance(x, seen, c, context_kernel, scale, keys, values, real):
    """One step of `k` sequences: the states, the means of the values and the weights.

    x: `[batch, k, 4 * units]`, what the input gives to the gates.
    seen: `[batch, k, 4 * units + dim]`, what the last output gives to the gates and to the query.
    """
    more, query = tf.split(seen, [x.shape[-1], seen.shape[-1] - x.shape[-1]], axis=-1)
    hidden = tf.tanh(query[:, :, None] + keys[:, None])
    scores = tf.squeeze(linear(hidden, scale), -1)
    context, weights = weigh(scores, values, real, c.dtype)
    gates = x + more + linear(context, context_kernel)
    return *lstm_step(tf.cast(gates, c.dtype), c), context, weights


@tf.autograph.experimental.do_not_convert
def attending_scan(x, kernel, context_kernel, scale, keys, values, h, c, real, drop=None):
    """Outputs `[steps, batch, units]`, means of the values and weights of an AttendingLSTM.

    x: `[steps, batch, 4 * units]`, what the inputs give to the gates.
    kernel: `[units, 4 * units + dim]`, from the last output to the gates and to the query.
    drop: `[batch, units]`, what the last output is multiplied with before that.

    The loop backwards computes each step anew from the states before it; the gradients of both
    kernels are products over all steps after it.
    """
    length = x.shape[0] or tf.shape(x)[0]
    dtype, wide = x.dtype, c.dtype

    def loop(condition, body, start):
        # XLA differentiates none but loops of a known number of steps at most.
        return tf.while_loop(condition, body, tuple(start), maximum_iterations=x.shape[0])[1:]

    def array(kind, *shape):
        return tf.TensorArray(kind, length, clear_after_read=False, element_shape=shape)

    def advance(x, seen, c, scale, keys, values):
        one = (part[:, None] for part in (x, seen, c))
        new = _advance(*one, context_kernel, scale, keys, values, real)
        return [part[:, 0] for part in new]

    def dropped(h):
        return h if drop is None else h * drop

    @tf.custom_gradient
    def run(x, kernel, context_kernel, scale, keys, values, h, c):
        def body(t, h, c, arrays):
            new_h, new_c, context, weights = advance(
                x[t], dropped(h) @ kernel, c, scale, keys, values
            )
            new_h = tf.cast(new_h, dtype)
            written = zip(arrays, (new_h, context, weights, c), strict=True)
            return t + 1, new_h, new_c, [a.write(t, value) for a, value in written]

        sizes = ((dtype, h), (dtype, values), (wide, keys[..., 0]), (wide, c))
        arrays = [array(kind, x.shape[1], like.shape[-1]) for kind, like in sizes]
        arrays = loop(lambda t, *_: t < length, body, [0, tf.cast(h, dtype), c, arrays])[-1]
        outputs, contexts, weights, cells = (a.stack() for a in arrays)

        def gradient(d_outputs, d_contexts, _):
            before = dropped(tf.concat([tf.cast(h, dtype)[None], outputs[:-1]], axis=0))
            seen = linear(before, kernel)
            back = tf.transpose(kernel)

            def body(t, d_h, d_c, sums, arrays):
                sources = [x[t], seen[t], cells[t], scale, keys, values]
                with tf.GradientTape() as tape:
                    tape.watch(sources)
                    results = advance(*sources)[:3]
                d_results = [tf.cast(d_outputs[t], wide) + d_h, d_c, d_contexts[t]]
                d_x, d_seen, d_c, *more = tape.gradient(results, sources, d_results)
                sums = [s + tf.cast(d, wide) for s, d in zip(sums, more, strict=True)]
                d_h = tf.cast(dropped(d_seen @ back), wide)
                written = zip(arrays, (d_x, d_seen), strict=True)
                return t - 1, d_h, d_c, sums, [a.write(t, value) for a, value in written]

            arrays = [array(dtype, *part.shape[1:]) for part in (x, seen)]
            none = [tf.zeros_like(part, wide) for part in (h, c, scale, keys, values)]
            start = [length - 1, *none[:2], none[2:], arrays]
            d_h, d_c, sums, arrays = loop(lambda t, *_: t >= 0, body, start)
            d_x, d_seen = (a.stack() for a in arrays)
            over = [[0, 1], [0, 1]]
            d_kernel = tf.tensordot(before, d_seen, over)
            d_context_kernel = tf.tensordot(contexts, d_x, over)
            return d_x, d_kernel, d_context_kernel, *(tf.cast(s, dtype) for s in sums), d_h, d_c

        return (outputs, contexts, weights), gradient

    return run(x, kernel, context_kernel, scale, keys, values, h, c)
