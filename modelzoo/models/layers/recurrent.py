"""LSTM, GRU and simple recurrent layers with the large matrix products outside the time loop."""

import keras
import tensorflow as tf

from modelzoo.models.layers.precision import at_least_float32


class _Recurrent:
    """What comes before a Keras recurrent layer's own class: another loop, equal in what it gives.

    The inputs of all steps are projected by one matrix product before the loop; the loop backwards
    yields each step's gradient before the gates, and the gradients of kernels and bias are products
    over all steps after it. Keras's loop runs on a GPU alone, where it is cuDNN's if that can do
    what is asked, unless `use_cudnn` is False.

    Where the mask (`[batch, length]`) is False, states and output stay as they were. States are
    float32 whatever the compute dtype (float64 under float64). All gates see one recurrent dropout
    mask, the same at every step (Gal and Ghahramani, 2016), where Keras draws one for each gate.

    In a graph under bfloat16, both halves of a batch of at least 32 examples have their own loop,
    which two cores run side by side: each uses one better than two share products so small. A layer
    beside another, as in a bidirectional pair, does without by `halves=False`.
    """

    def __init__(self, *args, halves=True, **kwargs):
        super().__init__(*args, **kwargs)
        self.halves = halves
        self.cell.implementation = 2
        self.cell.dropout_mask_count = None
        if not getattr(self.cell, "reset_after", True):
            raise ValueError("reset_after must be True, got False")

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """`[batch, length, features]` to the last output, all outputs and the last states."""
        mask = mask[0] if isinstance(mask, list | tuple) else mask
        dropped = bool(training and self.cell.recurrent_dropout)
        theirs = super().inner_loop
        arguments = (sequences, initial_state, mask, training)
        if not on_gpu() or dropped or not getattr(self, "use_cudnn", False):
            return self._own_loop(*arguments)
        if mask is None:
            return theirs(*arguments)
        # What cuDNN takes: padding at the right alone, of sequences that are not all padding.
        fits = tf.reduce_all(mask[:, 0]) & tf.reduce_all(mask[:, :-1] | ~mask[:, 1:])
        results = tf.cond(
            fits,
            lambda: tf.nest.flatten(theirs(*arguments)),
            lambda: tf.nest.flatten(self._own_loop(*arguments)),
        )
        return results[0], results[1], results[2:]

    def _own_loop(self, sequences, initial_state, mask, training):
        cell = self.cell
        if training and cell.dropout:
            sequences *= cell.get_dropout_mask(sequences[:, 0])[:, None]
        dropout = None
        if training and cell.recurrent_dropout:
            dropout = cell.get_recurrent_dropout_mask(initial_state[0])
        kernel, within = map(tf.convert_to_tensor, (cell.kernel, cell.recurrent_kernel))
        bias = tf.zeros([2, kernel.shape[-1]], kernel.dtype)
        if cell.bias is not None:
            bias = tf.reshape(tf.convert_to_tensor(cell.bias), [-1, kernel.shape[-1]])

        def run(sequences, *others):
            """All outputs, and the last states, of some examples."""
            *states, mask, dropout = others
            x = tf.transpose(sequences, [1, 0, 2])
            mask = None if mask is None else tf.transpose(tf.cast(mask, bool))[..., None]
            if self.go_backwards:
                x = tf.reverse(x, [0])
                mask = None if mask is None else tf.reverse(mask, [0])
            x = project(x, kernel, bias[0])
            inner = None if self._summed else bias[1]
            outputs, *states = scan(self._step, x, within, inner, states, mask, dropout, training)
            outputs = tf.transpose(outputs, [1, 0, 2])
            if self.zero_output_for_mask and mask is not None:
                outputs *= tf.cast(tf.transpose(mask, [1, 0, 2]), outputs.dtype)
            return outputs, *(tf.cast(state, x.dtype) for state in states)

        given = [sequences, *initial_state, mask, dropout]
        batch = sequences.shape[0] or 0
        # Products in float32 take so long that sharing them is as good.
        short = sequences.dtype == tf.bfloat16 and not (tf.executing_eagerly() or on_gpu())
        if self.halves and short and batch >= 32:
            sizes = [batch // 2, batch - batch // 2]
            given = [[None] * 2 if value is None else tf.split(value, sizes) for value in given]
            outputs, *states = (tf.concat(v, 0) for v in zip(*map(run, *given), strict=True))
        else:
            outputs, *states = run(*given)
        return states[0], outputs, states

    def get_config(self):
        return super().get_config() | {"halves": self.halves}


@keras.saving.register_keras_serializable(package="modelzoo")
class LSTM(_Recurrent, keras.layers.LSTM):
    """Long short-term memory, with the arguments, weights and values of `keras.layers.LSTM`."""

    _summed = True

    def _step(self, x, states):
        sigmoid, tanh = self.cell.recurrent_activation, self.cell.activation
        i, f, g, o = parts(x, 4, states[0].dtype)
        c = sigmoid(f) * states[1] + sigmoid(i) * tanh(g)
        return [sigmoid(o) * tanh(c), c]


@keras.saving.register_keras_serializable(package="modelzoo")
class GRU(_Recurrent, keras.layers.GRU):
    """Gated recurrent units, with the arguments, weights and values of `keras.layers.GRU`.

    The reset gate follows the matrix product (`reset_after`), as in cuDNN and PyTorch.
    """

    _summed = False

    def _step(self, x, seen, states):
        sigmoid, tanh = self.cell.recurrent_activation, self.cell.activation
        (xz, xr, xh), (z, r, h) = (parts(value, 3, states[0].dtype) for value in (x, seen))
        z = sigmoid(xz + z)
        return [z * states[0] + (1.0 - z) * tanh(xh + sigmoid(xr + r) * h)]


@keras.saving.register_keras_serializable(package="modelzoo")
class SimpleRNN(_Recurrent, keras.layers.SimpleRNN):
    """Elman's network, with the arguments, weights and values of `keras.layers.SimpleRNN`."""

    _summed = True

    def _step(self, x, states):
        return [self.cell.activation(tf.cast(x, states[0].dtype))]


def parts(x, count, dtype):
    """`count` equal parts of each row, in another type."""
    # Cast or joined one by one, they are too small for TensorFlow to share each among threads.
    return [tf.cast(part, dtype) for part in tf.split(x, count, axis=1)]


def on_gpu() -> bool:
    """Whether TensorFlow has a GPU to place operations on."""
    return bool(tf.config.list_logical_devices("GPU"))


@tf.custom_gradient
def project(x, kernel, bias):
    """`x @ kernel + bias` of `x` `[length, batch, features]`."""
    rows = tf.reshape(x, [-1, x.shape[-1]])

    def gradient(d):
        d = tf.reshape(d, [-1, d.shape[-1]])
        d_x = tf.reshape(tf.matmul(d, kernel, transpose_b=True), tf.shape(x))
        return d_x, tf.matmul(rows, d, transpose_a=True), sum_of(d)

    # Next to each other, product and sum become one operation.
    y = tf.nn.bias_add(rows @ kernel, bias)
    return tf.reshape(y, tf.concat([tf.shape(x)[:-1], y.shape[-1:]], axis=0)), gradient


def sum_of(rows):
    """The sum over the rows as a product with ones, which is several times as fast."""
    return (tf.ones_like(rows[None, :, 0]) @ rows)[0]


@tf.autograph.experimental.do_not_convert
def scan(step, x, kernel, bias, states, mask=None, dropout=None, keep=True):
    """Outputs `[length, batch, units]` of a recurrent cell and its last states `[batch, units]`.

    step: `(x, seen, states)` to new states, of which the first is the output; `seen` is
        `states[0] @ kernel + bias`. It treats each example alone, and is differentiated as it is.
    x: `[length, batch, gates * units]`, what the inputs give to each gate.
    bias: if None, there is none and `step` is `(x + seen, states)`, which saves work.
    states: those before the first step.
    mask: bool `[length, batch, 1]`; where False, the states stay as they are.
    dropout: `[batch, units]`, what the output is multiplied with where `kernel` sees it.
    keep: keep what a fast gradient needs; without, the gradient is TensorFlow's.
    """
    length = x.shape[0] or tf.shape(x)[0]
    summed = bias is None
    dtype, wide = x.dtype, at_least_float32(x.dtype.name)

    def loop(condition, body, start):
        # XLA differentiates none but loops of a known number of steps at most.
        return tf.while_loop(condition, body, tuple(start), maximum_iterations=x.shape[0])[1:]

    def advance(t, given, states):
        new = step(*given, states)
        if mask is None:
            return new
        return [tf.where(mask[t], a, b) for a, b in zip(new, states, strict=True)]

    def array(like, kind):
        return tf.TensorArray(kind, length, clear_after_read=False, element_shape=like.shape[-2:])

    def forward(x, kernel, bias, states, keep):
        """The last states, and arrays: outputs, what gates see, all states but the first."""

        def body(t, output, states, arrays):
            seen = (output if dropout is None else output * dropout) @ kernel
            seen = x[t] + seen if summed else tf.nn.bias_add(seen, bias)
            given = [seen] if summed else [x[t], seen]
            new = advance(t, given, states)
            output = tf.cast(new[0], dtype)
            kept = zip(arrays, [output, seen, *states[1:]], strict=False)
            return t + 1, output, new, [a.write(t, value) for a, value in kept]

        arrays = [array(states[0], dtype)]
        if keep:
            arrays += [array(x, dtype), *(array(s, wide) for s in states[1:])]
        wider = [tf.cast(state, wide) for state in states]
        start = [0, tf.cast(states[0], dtype), wider, arrays]
        return loop(lambda t, *_: t < length, body, start)[1:]

    if not keep:
        last, arrays = forward(x, kernel, bias, states, keep)
        return arrays[0].stack(), *last

    @tf.custom_gradient
    def run(x, kernel, *others):
        bias, states = (None, others) if summed else (others[0], others[1:])
        last, arrays = forward(x, kernel, bias, states, keep)
        outputs = arrays[0].stack()

        def gradient(d_outputs, *d_last):
            _, seen, *kept = arrays
            before = tf.concat([tf.cast(states[0], dtype)[None], outputs[:-1]], axis=0)
            back = tf.transpose(kernel)

            def body(t, d_states, d_arrays):
                given = [seen.read(t)] if summed else [x[t], seen.read(t)]
                olds = [tf.cast(before[t], wide), *(array.read(t) for array in kept)]
                d_states[0] += tf.cast(d_outputs[t], wide)
                with tf.GradientTape() as tape:
                    tape.watch([given, olds])
                    new = advance(t, given, olds)
                d_given, d_olds = tape.gradient(new, [given, olds], d_states, "zero")
                d_output = d_given[-1] @ back
                d_output = d_output if dropout is None else d_output * dropout
                d_olds[0] += tf.cast(d_output, wide)
                written = zip(d_arrays, d_given, strict=True)
                return t - 1, d_olds, [a.write(t, value) for a, value in written]

            d_arrays = [array(x, dtype) for _ in range(1 if summed else 2)]
            start = [length - 1, list(d_last), d_arrays]
            d_states, d_arrays = loop(lambda t, *_: t >= 0, body, start)
            d_x, *_, d_seen = [d.stack() for d in d_arrays] * 2
            before = before if dropout is None else before * dropout
            rows = tf.reshape(d_seen, [-1, d_seen.shape[-1]])
            d_kernel = tf.matmul(tf.reshape(before, [-1, before.shape[-1]]), rows, transpose_a=True)
            d_bias = [] if summed else [sum_of(rows)]
            d_states = [tf.cast(d, s.dtype) for d, s in zip(d_states, states, strict=True)]
            return d_x, d_kernel, *d_bias, *d_states

        return [outputs, *last], gradient

    return run(x, kernel, *([] if summed else [bias]), *states)
