import numpy as np
import pytest
import tensorflow as tf
import torch

from modelzoo.tasks.cross_entropy import cross_entropy


def both(dtype, smoothing, xla=False, spread=3.0):
    """Losses and gradients, ours and PyTorch's in float64, of losses that weigh differently."""
    rng = np.random.default_rng(1)
    logits = tf.cast(rng.normal(0, spread, [3, 5, 11]), dtype)
    labels, weights = rng.integers(0, 11, [3, 5]), rng.uniform(0, 2, [3, 5])

    @tf.function(jit_compile=xla)
    def ours(logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses, _ = cross_entropy(logits, labels, smoothing)
            total = tf.reduce_sum(losses * tf.cast(weights, losses.dtype))
        return losses, tape.gradient(total, logits)

    wide = torch.tensor(tf.cast(logits, tf.float64).numpy(), requires_grad=True)
    theirs = torch.nn.functional.cross_entropy(
        wide.reshape(-1, 11),
        torch.tensor(labels.ravel()),
        label_smoothing=smoothing,
        reduction="none",
    ).reshape(3, 5)
    (theirs * torch.tensor(weights)).sum().backward()
    return ours(logits), (theirs.detach().numpy(), wide.grad.numpy())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize(
    ("dtype", "loss_tolerance", "gradient_tolerance"),
    [("float64", 1e-12, 1e-12), ("float32", 2e-6, 1e-6), ("bfloat16", 2e-6, 8e-3)],
)
def test_losses_and_gradients_equal_pytorch(
    dtype, loss_tolerance, gradient_tolerance, smoothing, xla
):
    (losses, gradient), (their_losses, their_gradient) = both(dtype, smoothing, xla)
    # Of bfloat16 only the gradient is rounded, at the very end.
    assert losses.dtype == ("float64" if dtype == "float64" else "float32")
    assert gradient.dtype == dtype
    np.testing.assert_allclose(losses, their_losses, rtol=loss_tolerance, atol=loss_tolerance)
    rounded = tf.cast(gradient, tf.float64)
    np.testing.assert_allclose(
        rounded, their_gradient, rtol=gradient_tolerance, atol=gradient_tolerance
    )


def test_logits_far_apart_do_not_overflow():
    (losses, gradient), (their_losses, _) = both("float32", 0.1, spread=3e4)
    np.testing.assert_allclose(losses, their_losses, rtol=1e-6)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("magnitude, xla", [(1e4, False), (1e4, True), (-1e6, False), (1e7, False)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_large_logits_lose_no_digits(magnitude, xla, smoothing):
    # Each logit is exact in float32, so float64 gives the loss of the same numbers.
    logits = np.float32(magnitude + np.random.default_rng(0).integers(0, 9, [20, 7]))
    labels = np.arange(20) % 7
    compute = tf.function(cross_entropy, jit_compile=xla, autograph=False)
    with tf.GradientTape() as tape:
        given = tf.constant(logits)
        tape.watch(given)
        losses = compute(given, labels, smoothing)[0]
    wide = np.float64(logits)
    wide -= wide.max(axis=1, keepdims=True)
    log_shares = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    targets = (1 - smoothing) * np.eye(7)[labels] + smoothing / 7
    np.testing.assert_allclose(losses, -(targets * log_shares).sum(axis=1), rtol=2e-6, atol=1e-7)
    gradient = tape.gradient(losses, given)
    np.testing.assert_allclose(gradient, np.exp(log_shares) - targets, rtol=2e-6, atol=2e-7)


def test_a_label_is_hit_if_no_class_is_more_likely():
    logits = tf.constant([[1.0, 2.0, 0.0], [1.0, 2.0, 2.0], [3.0, 2.0, 0.0]])
    _, hits = cross_entropy(logits, tf.constant([1, 2, 1]))
    assert hits.numpy().tolist() == [1, 1, 0]


def test_an_empty_batch_has_no_loss():
    losses, hits = cross_entropy(tf.zeros([0, 7, 4]), tf.zeros([0, 7], tf.int64), 0.1)
    assert losses.shape == hits.shape == (0, 7)


def test_logits_that_are_not_finite_give_losses_that_are_not():
    losses, _ = cross_entropy(tf.constant([[np.nan, 1.0], [np.inf, 0.0]]), tf.constant([1, 1]))
    assert not np.isfinite(losses).any()
