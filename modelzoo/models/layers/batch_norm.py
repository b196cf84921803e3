"""Batch normalization by TensorFlow's fused kernel, or synchronized over replicas."""

import keras
import tensorflow as tf

from modelzoo.models.layers.precision import at_least_float32


@keras.saving.register_keras_serializable(package="modelzoo")
class BatchNorm(keras.layers.Layer):
    """Batch normalization: statistics over all axes but the last (Ioffe and Szegedy, 2015).

    Inputs and outputs are `[..., channels]` in the compute dtype. Gain, offset and statistics are
    float32 under any policy, except float64 under a float64 policy. As in
    `keras.layers.BatchNormalization`, the variances of the batch and the moving variance are
    biased, and a layer with `trainable = False` uses the moving statistics in training too.

    momentum: share of the old value that the moving statistics keep in each step.
    epsilon: added to the variance.
    synchronized: compute statistics over all replicas of a `tf.distribute` strategy, by one
        all-reduce that gradients pass through. Otherwise each replica computes its own, and the
        train step must reduce the moving statistics.
    zero_gamma: start the gain at zero, which makes a residual block the identity (Goyal et al.,
        2017).
    """

    def __init__(
        self,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        synchronized: bool = True,
        zero_gamma: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon
        self.synchronized = synchronized
        self.zero_gamma = zero_gamma

    def build(self, input_shape):
        def add(name, initializer, trainable):
            return self.add_weight(
                name=name,
                shape=(input_shape[-1],),
                initializer=initializer,
                dtype=at_least_float32(self.compute_dtype),
                trainable=trainable,
                autocast=False,
            )

        self.gamma = add("gamma", "zeros" if self.zero_gamma else "ones", True)
        self.beta = add("beta", "zeros", True)
        self.moving_mean = add("moving_mean", "zeros", False)
        self.moving_variance = add("moving_variance", "ones", False)

    def call(self, inputs, training=None):
        if not (training and self.trainable):
            mean = tf.convert_to_tensor(self.moving_mean)
            variance = tf.convert_to_tensor(self.moving_variance)
            if self.compute_dtype == "float64":
                return self._normalize(inputs, mean, variance)
            return self._fused(inputs, mean, variance)[0]
        context = tf.distribute.get_replica_context()
        if self.synchronized and context and context.num_replicas_in_sync > 1:
            mean, variance = self._moments(inputs, lambda sums: context.all_reduce("SUM", sums))
            outputs = self._normalize(inputs, mean, variance)
        elif self.compute_dtype == "float64":
            mean, variance = self._moments(inputs)
            outputs = self._normalize(inputs, mean, variance)
        else:
            outputs, mean, variance = self._fused(inputs)
        for statistic, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            statistic.assign(statistic * self.momentum + value * (1.0 - self.momentum))
        return outputs

    def _fused(self, inputs, mean=None, variance=None):
        """Outputs, mean and variance by the fused kernel, from given statistics or the batch's."""
        # The kernel supports rank 4 only; other ranks become a column of pixels.
        channels = inputs.shape[-1]
        pixels = inputs if inputs.shape.rank == 4 else tf.reshape(inputs, (-1, 1, 1, channels))
        of_batch = mean is None
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=pixels,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.zeros((0,)) if of_batch else mean,
            variance=tf.zeros((0,)) if of_batch else variance,
            epsilon=self.epsilon,
            is_training=of_batch,
        )
        if of_batch:
            # The kernel returns the unbiased variance, n / (n - 1) times the one it used.
            count = tf.cast(tf.size(pixels), "float32") / channels
            variance *= (count - 1.0) / count
        if inputs.shape.rank != 4:
            outputs = tf.reshape(outputs, tf.shape(inputs))
            outputs.set_shape(inputs.shape)
        return outputs, mean, variance

    def _moments(self, inputs, reduce=lambda sums: sums):
        """Mean and biased variance `[channels]`; `reduce` adds the sums of all replicas."""
        shift = tf.convert_to_tensor(self.moving_mean)
        # Shifting by the moving mean avoids cancellation in the variance and changes no result.
        centred = tf.cast(inputs, shift.dtype) - tf.stop_gradient(shift)
        axes = list(range(inputs.shape.rank - 1))
        count = tf.cast(tf.size(inputs), shift.dtype) / inputs.shape[-1]
        sums = [tf.reduce_sum(centred, axes), tf.reduce_sum(tf.square(centred), axes), count[None]]
        sums = reduce(tf.concat(sums, axis=0))
        mean, square = tf.split(sums[:-1] / sums[-1], 2)
        return mean + shift, tf.maximum(square - tf.square(mean), 0.0)

    def _normalize(self, inputs, mean, variance):
        """Normalizes by given statistics, with plain operations in the dtype of the statistics."""
        scale = tf.math.rsqrt(variance + self.epsilon) * self.gamma
        outputs = tf.cast(inputs, scale.dtype) * scale + (self.beta - mean * scale)
        return tf.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "synchronized": self.synchronized,
            "zero_gamma": self.zero_gamma,
        }
