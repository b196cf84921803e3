"""Cross-entropy over classes of any number, such as a vocabulary's, in few passes over the logits.

Nothing of the logits' size is kept for the gradient but the probabilities: there are no one-hot
targets, smoothed or not.
"""

import tensorflow as tf


def cross_entropy(
    logits: tf.Tensor, labels: tf.Tensor, label_smoothing: float = 0.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Losses in nats, and 1 where no class is likelier than the label, else 0.

    Shapes: `logits` `[..., classes]`, `labels` (integers, each a class), losses and hits `[...]`;
    these are float64 where the logits are, else float32. With label smoothing e the target is
    (1 - e) on the label plus e / K on every one of the K classes (Szegedy et al. 2016, section 7).
    The gradient is softmax - target, and no second one can be taken; the hits have none.
    """
    shape, classes = tf.shape(labels), logits.shape[-1]
    labels = tf.reshape(labels, [-1])
    kept = 1.0 - label_smoothing

    @tf.custom_gradient
    def of(logits: tf.Tensor):
        wide = logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)
        shares = tf.nn.softmax(wide)
        best, own = tf.reduce_max(wide, axis=-1), tf.gather(wide, labels, batch_dims=1)
        # The largest share is at least 1 / K, whose logarithm is exact: no other exponentials.
        log_sum = best - tf.math.log(tf.reduce_max(shares, axis=-1))
        losses = log_sum - kept * own
        if label_smoothing:
            losses -= label_smoothing * tf.reduce_mean(wide, axis=-1)

        def gradient(upstream: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
            spread = shares - label_smoothing / classes if label_smoothing else shares
            places = tf.stack([tf.range(tf.size(labels)), tf.cast(labels, tf.int32)], axis=-1)
            # In place, for nobody else has the product.
            found = tf.tensor_scatter_nd_sub(spread * upstream[:, None], places, kept * upstream)
            return tf.cast(found, logits.dtype)

        return (losses, tf.cast(own >= best, wide.dtype)), gradient

    losses, hits = of(tf.reshape(logits, [-1, classes]))
    return tf.reshape(losses, shape), tf.reshape(hits, shape)
