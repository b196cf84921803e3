"""Attention of recurrent decoders, and an LSTM that attends to a memory at each step."""

import keras
import tensorflow as tf

from modelzoo.fields.checks import check_rate
from modelzoo.models.layers.linear import linear
from modelzoo.models.layers.precision import at_least_float32


def attend(
    scores: tf.Tensor, values: tf.Tensor, memory_mask: tf.Tensor, dtype: tf.DType
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the means of the values, weighted by a softmax of the scores, and the weights.

    Args:
        scores: `[batch, queries, length]`.
        values: `[batch, length, dim]`.
        memory_mask: bool `[batch, length]`, True for real tokens. The means of a memory without a
            real token are finite.
        dtype: dtype of the softmax, at least float32.

    Returns:
        Context vectors `[batch, queries, dim]` in the dtype of `values`, and weights
        `[batch, queries, length]`.
    """
    weights = tf.nn.softmax(tf.where(memory_mask[:, None], tf.cast(scores, dtype), -1e9))
    return tf.cast(weights, values.dtype) @ values, weights


def lstm_step(x: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns output and cell state of a step, from the sums of its gates `[..., 4 * units]`."""
    i, f, g, o = tf.split(x, 4, axis=-1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c


def advance_lstm(layer: keras.layers.LSTM, x: tf.Tensor, h: tf.Tensor, c: tf.Tensor):
    """Returns the states of an LSTM layer after one more input, as its loop computes them.

    Args:
        layer: the layer.
        x: the input, `[..., features]`.
        h: last output, `[..., units]`, at least float32.
        c: last cell state, `[..., units]`, at least float32.
    """
    cell = layer.cell
    gates = linear(x, cell.kernel, cell.bias) + linear(tf.cast(h, x.dtype), cell.recurrent_kernel)
    return lstm_step(tf.cast(gates, c.dtype), c)


@keras.saving.register_keras_serializable(package="modelzoo")
class LuongAttention(keras.layers.Layer):
    """Global attention with dot-product scores (Luong et al., 2015, equations 7 and 8).

    A call takes queries `[batch, queries, dim]`, keys `[batch, length, dim]`, values
    `[batch, length, value_dim]` and `memory_mask`, bool `[batch, length]`, True for real tokens. It
    returns context vectors `[batch, queries, value_dim]` and the attention weights
    `[batch, queries, length]`, at least float32.
    """

    def call(self, queries, keys, values, memory_mask):
        wide = at_least_float32(self.compute_dtype)
        return attend(tf.matmul(queries, keys, transpose_b=True), values, memory_mask, wide)

    def compute_output_spec(self, queries, keys, values, memory_mask):
        shape = (*queries.shape[:2], values.shape[-1])
        weights = (*queries.shape[:2], keys.shape[1])
        wide = at_least_float32(self.compute_dtype)
        return keras.KerasTensor(shape, self.compute_dtype), keras.KerasTensor(weights, wide)


@keras.saving.register_keras_serializable(package="modelzoo")
class AttentionLSTM(keras.layers.Layer):
    """LSTM that attends to a memory at each step (Bahdanau et al., 2015, appendix A.1.2).

    The query is the last output `h`. The weights are the softmax of
    `scale @ tanh(query_kernel @ h + key)` over the real tokens of the memory, and the cell reads
    its input and the weighted mean of the values. The paper has a gated unit instead of an LSTM.

    A call takes inputs `[batch, steps, features]`, keys `[batch, length, units]`, values
    `[batch, length, dim]`, `memory_mask`, bool `[batch, length]`, True for real tokens, and the
    states `h` and `c` before the first step, `[batch, units]`. It returns the outputs
    `[batch, steps, units]`, the context vectors `[batch, steps, dim]` and the attention weights
    `[batch, steps, length]`, at least float32, which pass no gradient.

    units: size of the states.
    recurrent_dropout: dropout rate of the last output; all steps drop the same values.
    """

    def __init__(self, units: int, recurrent_dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        check_rate(recurrent_dropout=recurrent_dropout)
        self.units = units
        self.recurrent_dropout = recurrent_dropout
        self.drop = keras.layers.Dropout(
            recurrent_dropout, dtype=self.dtype_policy, name="recurrent_dropout"
        )

    def build(
        self, x_shape, keys_shape, values_shape, memory_mask_shape=None, h_shape=None, c_shape=None
    ):
        units, keys = self.units, keys_shape[-1]
        self.kernel = self.add_weight(shape=(x_shape[-1], 4 * units), name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(units, 4 * units), initializer="orthogonal", name="recurrent_kernel"
        )
        self.context_kernel = self.add_weight(
            shape=(values_shape[-1], 4 * units), name="context_kernel"
        )
        self.bias = self.add_weight(shape=(4 * units,), initializer=_open_forget_gate, name="bias")
        self.query_kernel = self.add_weight(shape=(units, keys), name="query_kernel")
        self.scale = self.add_weight(shape=(keys, 1), name="scale")

    def call(self, x, keys, values, memory_mask, h, c, training=False):
        wide = at_least_float32(self.compute_dtype)
        drop = None
        if training and self.recurrent_dropout:
            drop = self.drop(tf.ones_like(h), training=True)
        kernel, bias, *weights = self._weights()
        x = linear(tf.transpose(x, [1, 0, 2]), kernel, bias)
        h, c = tf.cast(h, wide), tf.cast(c, wide)
        results = attention_lstm_scan(
            x, *weights, keys, values, h, c, memory_mask=memory_mask, drop=drop
        )
        return tuple(tf.transpose(result, [1, 0, 2]) for result in results)

    def step(self, x, keys, values, memory_mask, h, c):
        """Processes one more input of `k` beams of each example.

        Args:
            x: `[batch, k, features]`.
            keys: as in a call.
            values: as in a call.
            memory_mask: as in a call.
            h: last outputs, `[batch, k, units]`, at least float32.
            c: last cell states, `[batch, k, units]`, at least float32.

        Returns:
            The new `h` and `c`, context vectors `[batch, k, dim]` and weights `[batch, k, length]`.
        """
        kernel, bias, recurrent_kernel, context_kernel, scale = self._weights()
        x = linear(x, kernel, bias)
        recurrent = linear(tf.cast(h, x.dtype), recurrent_kernel)
        return _advance(x, recurrent, c, context_kernel, scale, keys, values, memory_mask)

    def compute_output_spec(self, x, keys, values, memory_mask, h, c, training=False):
        wide = at_least_float32(self.compute_dtype)
        sizes = [(self.units, self.compute_dtype), (values.shape[-1], self.compute_dtype)]
        sizes.append((keys.shape[1], wide))
        return tuple(keras.KerasTensor((*x.shape[:2], size), dtype) for size, dtype in sizes)

    def _weights(self):
        """Returns weights in the compute dtype, both kernels of the last output as one matrix."""
        names = ("kernel", "bias", "recurrent_kernel", "query_kernel", "context_kernel", "scale")
        arrays = (tf.cast(getattr(self, name), self.compute_dtype) for name in names)
        kernel, bias, recurrent, query, context, scale = arrays
        return kernel, bias, tf.concat([recurrent, query], axis=1), context, scale


def _open_forget_gate(shape, dtype=None):
    """Initial bias: 1 for the forget gate, else 0."""
    zeros = keras.ops.zeros(shape[0] // 4, dtype)
    return keras.ops.concatenate([zeros, zeros + 1, zeros, zeros])


def _advance(x, recurrent, c, context_kernel, scale, keys, values, memory_mask):
    """Computes one step of `k` beams: states, context vectors and weights.

    Args:
        x: `[batch, k, 4 * units]`, the projected input.
        recurrent: `[batch, k, 4 * units + dim]`, the last output projected for the gates and the
            query.
        c: last cell states.
        context_kernel: from the context vector to the gates.
        scale: from the hidden layer of the scores to the scores.
        keys: see `AttentionLSTM`.
        values: see `AttentionLSTM`.
        memory_mask: see `AttentionLSTM`.
    """
    sizes = [x.shape[-1], recurrent.shape[-1] - x.shape[-1]]
    of_gates, query = tf.split(recurrent, sizes, axis=-1)
    hidden = tf.tanh(query[:, :, None] + keys[:, None])
    scores = tf.squeeze(linear(hidden, scale), -1)
    context, weights = attend(scores, values, memory_mask, c.dtype)
    gates = x + of_gates + linear(context, context_kernel)
    return *lstm_step(tf.cast(gates, c.dtype), c), context, weights


@tf.autograph.experimental.do_not_convert
def attention_lstm_scan(
    x, kernel, context_kernel, scale, keys, values, h, c, memory_mask, drop=None
):
    """Runs the time loop of an `AttentionLSTM`, with its own gradient.

    The backward loop recomputes each step from the states before it; products over all steps
    compute the gradients of both kernels after the loop.

    Args:
        x: `[steps, batch, 4 * units]`, the projected inputs.
        kernel: `[units, 4 * units + dim]`, from the last output to the gates and the query.
        context_kernel: `[dim, 4 * units]`, from the context vector to the gates.
        scale: `[units, 1]`, from the hidden layer of the scores to the scores.
        keys: see `AttentionLSTM`.
        values: see `AttentionLSTM`.
        h: output before the first step, `[batch, units]`.
        c: cell state before the first step, `[batch, units]`.
        memory_mask: see `AttentionLSTM`.
        drop: `[batch, units]`, factors of the last output before `kernel`.

    Returns:
        Outputs, context vectors and weights, each `[steps, batch, ...]`.
    """
    length = x.shape[0] or tf.shape(x)[0]
    dtype, wide = x.dtype, c.dtype

    def loop(condition, body, start):
        # XLA differentiates only loops with a static maximum of iterations.
        return tf.while_loop(condition, body, tuple(start), maximum_iterations=x.shape[0])[1:]

    def array(kind, *shape):
        return tf.TensorArray(kind, length, clear_after_read=False, element_shape=shape)

    def advance(x, recurrent, c, scale, keys, values):
        x, recurrent, c = (part[:, None] for part in (x, recurrent, c))
        new = _advance(x, recurrent, c, context_kernel, scale, keys, values, memory_mask)
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
            recurrent = linear(before, kernel)
            back = tf.transpose(kernel)

            def body(t, d_h, d_c, sums, arrays):
                sources = [x[t], recurrent[t], cells[t], scale, keys, values]
                with tf.GradientTape() as tape:
                    tape.watch(sources)
                    results = advance(*sources)[:3]
                d_results = [tf.cast(d_outputs[t], wide) + d_h, d_c, d_contexts[t]]
                d_x, d_recurrent, d_c, *d_others = tape.gradient(results, sources, d_results)
                sums = [s + tf.cast(d, wide) for s, d in zip(sums, d_others, strict=True)]
                d_h = tf.cast(dropped(d_recurrent @ back), wide)
                written = zip(arrays, (d_x, d_recurrent), strict=True)
                return t - 1, d_h, d_c, sums, [a.write(t, value) for a, value in written]

            arrays = [array(dtype, *part.shape[1:]) for part in (x, recurrent)]
            none = [tf.zeros_like(part, wide) for part in (h, c, scale, keys, values)]
            start = [length - 1, *none[:2], none[2:], arrays]
            d_h, d_c, sums, arrays = loop(lambda t, *_: t >= 0, body, start)
            d_x, d_recurrent = (a.stack() for a in arrays)
            over = [[0, 1], [0, 1]]
            d_kernel = tf.tensordot(before, d_recurrent, over)
            d_context_kernel = tf.tensordot(contexts, d_x, over)
            return d_x, d_kernel, d_context_kernel, *(tf.cast(s, dtype) for s in sums), d_h, d_c

        return (outputs, contexts, weights), gradient

    return run(x, kernel, context_kernel, scale, keys, values, h, c)
