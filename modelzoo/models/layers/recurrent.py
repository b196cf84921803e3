"""LSTM, GRU and simple recurrent layers with the large matrix products outside the time loop."""

import inspect
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from modelzoo.fields.checks import check_rate
from modelzoo.fields.errors import FieldError
from modelzoo.models.layers.precision import at_least_float32

if TYPE_CHECKING:
    from keras.layers import RNN as _KerasLayer  # noqa: N811
else:  # A mixin: the class beside it is the Keras layer.
    _KerasLayer = object


# Values of arguments that Keras takes: its other loops are not those of these layers.
_FIXED = {
    "unroll": (False,),
    "implementation": (2,),
    "reset_after": (True,),
    "use_cudnn": ("auto", False),
}


class _Recurrent(_KerasLayer):
    """Mixin for Keras recurrent layers: a faster time loop with the same results.

    One matrix product projects the inputs of all steps before the loop. The backward loop computes
    the gradients of the gates only; products over all steps compute the gradients of kernels and
    bias after the loop. On a GPU, Keras's own loop runs instead if it can use cuDNN, unless
    `use_cudnn` is False.

    The arguments are Keras's, but for those that choose another loop: `unroll`, `implementation`,
    `reset_after=False` and `use_cudnn=True` raise an error. Integer inputs are cast.

    Where the mask (bool `[batch, length]`) is False, states and output keep their values; before
    the first real step, the output is zero. States
    are float32 under any policy, except float64 under a float64 policy. All gates share one
    recurrent dropout mask for all steps (Gal and Ghahramani, 2016); Keras draws one per gate.

    In a graph under bfloat16, a batch of at least 32 examples is split into two halves, each with a
    loop of its own, which two cores run in parallel: the products are too small to share one among
    two cores. `halves=False` turns this off, for layers that already run beside another one, such
    as the two directions of a bidirectional layer.
    """

    def __init__(self, *args, halves=True, **kwargs):
        given = inspect.signature(super().__init__).bind(*args, **kwargs).arguments
        given = given.pop("kwargs", {}) | given
        # Keras would clip these.
        check_rate(**{name: given.get(name, 0.0) for name in ("dropout", "recurrent_dropout")})
        for name, allowed in _FIXED.items():
            if given.get(name, allowed[0]) not in allowed:
                values = " or ".join(map(repr, allowed))
                raise FieldError(name, f"must be {values}, got {given[name]!r}")
        super().__init__(*args, **kwargs)
        self.halves = halves
        self.cell.dropout_mask_count = None

    def call(self, sequences, initial_state=None, mask=None, training=False):
        sequences = tf.cast(sequences, self.compute_dtype)  # From integers.
        result = super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        mask = mask[0] if isinstance(mask, list | tuple) else mask
        if mask is None or (initial_state is None and not self.stateful):
            return result
        # As in Keras, the output is zero before the first real step, not the given state.
        outputs, *states = result if self.return_state else (result,)
        started = tf.reduce_any(mask, 1)
        if self.return_sequences:
            mask = tf.reverse(mask, [1]) if self.go_backwards else mask
            started = tf.cumsum(tf.cast(mask, tf.int32), 1) > 0
        outputs = tf.where(started[..., None], outputs, tf.zeros([], outputs.dtype))
        return (outputs, *states) if self.return_state else outputs

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Last output, all outputs and last states for inputs `[batch, length, features]`."""
        mask = mask[0] if isinstance(mask, list | tuple) else mask
        dropped = bool(training and self.cell.recurrent_dropout)
        keras_loop = super().inner_loop
        arguments = (sequences, initial_state, mask, training)
        if not on_gpu() or dropped or not getattr(self, "use_cudnn", False):
            return self._own_loop(*arguments)
        if mask is None:
            return keras_loop(*arguments)
        # cuDNN supports padding at the end only, and no sequences of nothing but padding.
        fits = tf.reduce_all(mask[:, 0]) & tf.reduce_all(mask[:, :-1] | ~mask[:, 1:])
        results = tf.cond(
            fits,
            lambda: tf.nest.flatten(keras_loop(*arguments)),
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
            """Computes all outputs and the last states of some examples."""
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
        # In float32 the products are large enough for two cores to share each.
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
    """Long short-term memory: arguments, weights and results as in `keras.layers.LSTM`."""

    _summed = True

    def _step(self, x, states):
        sigmoid, tanh = self.cell.recurrent_activation, self.cell.activation
        i, f, g, o = parts(x, 4, states[0].dtype)
        c = sigmoid(f) * states[1] + sigmoid(i) * tanh(g)
        return [sigmoid(o) * tanh(c), c]


@keras.saving.register_keras_serializable(package="modelzoo")
class GRU(_Recurrent, keras.layers.GRU):
    """Gated recurrent units: arguments, weights and results as in `keras.layers.GRU`.

    The reset gate is applied after the matrix product (`reset_after`), as in cuDNN and PyTorch.
    """

    _summed = False

    def _step(self, x, recurrent, states):
        sigmoid, tanh = self.cell.recurrent_activation, self.cell.activation
        (xz, xr, xh), (z, r, h) = (parts(value, 3, states[0].dtype) for value in (x, recurrent))
        z = sigmoid(xz + z)
        return [z * states[0] + (1.0 - z) * tanh(xh + sigmoid(xr + r) * h)]


@keras.saving.register_keras_serializable(package="modelzoo")
class SimpleRNN(_Recurrent, keras.layers.SimpleRNN):
    """Elman network: arguments, weights and results as in `keras.layers.SimpleRNN`."""

    _summed = True

    def _step(self, x, states):
        return [self.cell.activation(tf.cast(x, states[0].dtype))]


def parts(x, count, dtype):
    """Splits each row into `count` equal parts and casts them."""
    # Cast one by one, the parts are too small for TensorFlow to share each among threads.
    return [tf.cast(part, dtype) for part in tf.split(x, count, axis=1)]


def on_gpu() -> bool:
    """Whether TensorFlow can place operations on a GPU."""
    return bool(tf.config.list_logical_devices("GPU"))


@tf.custom_gradient
def project(x, kernel, bias):
    """`x @ kernel + bias` for `x` `[length, batch, features]`."""
    rows = tf.reshape(x, [-1, x.shape[-1]])

    def gradient(d):
        d = tf.reshape(d, [-1, d.shape[-1]])
        d_x = tf.reshape(tf.matmul(d, kernel, transpose_b=True), tf.shape(x))
        return d_x, tf.matmul(rows, d, transpose_a=True), sum_of(d)

    # TensorFlow fuses a product with a sum that follows it directly.
    y = tf.nn.bias_add(rows @ kernel, bias)
    return tf.reshape(y, tf.concat([tf.shape(x)[:-1], y.shape[-1:]], axis=0)), gradient


def sum_of(rows):
    """Returns the sum over the rows, as a product with ones, which is several times faster."""
    return (tf.ones_like(rows[None, :, 0]) @ rows)[0]


@tf.autograph.experimental.do_not_convert
def scan(step, x, kernel, bias, states, mask=None, dropout=None, keep=True):
    """Computes outputs `[length, batch, units]` and last states `[batch, units]` of a cell.

    Args:
        step: maps `(x, recurrent, states)` to the new states, of which the first is the output;
            `recurrent` is `states[0] @ kernel + bias`. It must treat each example independently;
            TensorFlow differentiates it.
        x: `[length, batch, gates * units]`, the projected inputs.
        kernel: `[units, gates * units]`, from the last output to the gates.
        bias: `[gates * units]`; None has no bias and calls `step(x + recurrent, states)`, which is
            faster.
        states: the states before the first step.
        mask: bool `[length, batch, 1]`; where False, the states keep their values.
        dropout: `[batch, units]`, factors of the last output before `kernel`.
        keep: keep the values that the fast gradient needs; False leaves the gradient to TensorFlow.
    """
    length = x.shape[0] or tf.shape(x)[0]
    summed = bias is None
    dtype, wide = x.dtype, at_least_float32(x.dtype.name)

    def loop(condition, body, start):
        # XLA differentiates only loops with a static maximum of iterations.
        return tf.while_loop(condition, body, tuple(start), maximum_iterations=x.shape[0])[1:]

    def advance(t, given, states):
        new = step(*given, states)
        if mask is None:
            return new
        return [tf.where(mask[t], a, b) for a, b in zip(new, states, strict=True)]

    def array(like, kind):
        return tf.TensorArray(kind, length, clear_after_read=False, element_shape=like.shape[-2:])

    def forward(x, kernel, bias, states, keep):
        """Returns the last states, and arrays of outputs, gate inputs and other states."""

        def body(t, output, states, arrays):
            recurrent = (output if dropout is None else output * dropout) @ kernel
            recurrent = x[t] + recurrent if summed else tf.nn.bias_add(recurrent, bias)
            given = [recurrent] if summed else [x[t], recurrent]
            new = advance(t, given, states)
            output = tf.cast(new[0], dtype)
            written = zip(arrays, [output, recurrent, *states[1:]], strict=False)
            return t + 1, output, new, [a.write(t, value) for a, value in written]

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
            _, recurrent, *state_arrays = arrays
            before = tf.concat([tf.cast(states[0], dtype)[None], outputs[:-1]], axis=0)
            back = tf.transpose(kernel)

            def body(t, d_states, d_arrays):
                given = [recurrent.read(t)] if summed else [x[t], recurrent.read(t)]
                olds = [tf.cast(before[t], wide), *(array.read(t) for array in state_arrays)]
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
            d_x, *_, d_recurrent = [d.stack() for d in d_arrays] * 2
            before = before if dropout is None else before * dropout
            rows = tf.reshape(d_recurrent, [-1, d_recurrent.shape[-1]])
            d_kernel = tf.matmul(tf.reshape(before, [-1, before.shape[-1]]), rows, transpose_a=True)
            d_bias = [] if summed else [sum_of(rows)]
            d_states = [tf.cast(d, s.dtype) for d, s in zip(d_states, states, strict=True)]
            return d_x, d_kernel, *d_bias, *d_states

        return [outputs, *last], gradient

    return run(x, kernel, *([] if summed else [bias]), *states)
