"""Cross-entropy over many classes, such as a vocabulary, in few passes over the logits.

The gradient stores the probabilities, but no other tensor of the logits' size, such as one-hot
targets.
"""

import tensorflow as tf


def cross_entropy(
    logits: tf.Tensor, labels: tf.Tensor, label_smoothing: float = 0.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes losses in nats, and hits: 1 if no class is more probable than the label, else 0.

    With label smoothing e and K classes, the target is (1 - e) for the label plus e / K for each
    class (Szegedy et al. 2016, section 7). The losses have no second derivative, the hits no
    gradient.

    Args:
        logits: `[..., classes]`.
        labels: integers `[...]`, from 0 to `classes - 1`.
        label_smoothing: see above.

    Returns:
        Losses and hits `[...]`, float64 if the logits are, else float32.
    """
    shape, classes = tf.shape(labels), logits.shape[-1]
    labels = tf.reshape(labels, [-1])
    label_share = 1.0 - label_smoothing

    @tf.custom_gradient
    def compute(logits: tf.Tensor):
        wide = logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)
        shares = tf.nn.softmax(wide)
        best, own = tf.reduce_max(wide, axis=-1), tf.gather(wide, labels, batch_dims=1)
        # The largest share is at least 1 / K, whose logarithm is exact: no other exponentials. All
        # logits are relative to the best one, since large ones have few digits after the point.
        losses = label_share * (best - own) - tf.math.log(tf.reduce_max(shares, axis=-1))
        if label_smoothing:
            losses += label_smoothing * tf.reduce_mean(best[:, None] - wide, axis=-1)

        def gradient(upstream: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
            spread = shares - label_smoothing / classes if label_smoothing else shares
            places = tf.stack([tf.range(tf.size(labels)), tf.cast(labels, tf.int32)], axis=-1)
            # In place, since nothing else holds the product.
            result = tf.tensor_scatter_nd_sub(
                spread * upstream[:, None], places, label_share * upstream
            )
            return tf.cast(result, logits.dtype)

        return (losses, tf.cast(own >= best, wide.dtype)), gradient

    losses, hits = compute(tf.reshape(logits, [-1, classes]))
    return tf.reshape(losses, shape), tf.reshape(hits, shape)
