"""MixUp (Zhang et al. 2018) and CutMix (Yun et al. 2019) of neighbours in the planned order.

Rows 2k and 2k + 1 of the order are each other's partner, so that no way of splitting a batch into
even parts changes what any row becomes. Each row has a share of its own, drawn from its own seed.
"""

import functools

import numpy as np
import tensorflow as tf

from modelzoo.data.augment import hashing
from modelzoo.data.augment.boxes import inside
from modelzoo.data.augment.hashing import random_integers, random_uniform

_QUANTILES = 4096


def partners(values: tf.Tensor) -> tf.Tensor:
    """Rows 2k and 2k + 1 of `[n, ...]` exchanged; n is even."""
    pairs = tf.reshape(values, [-1, 2, *values.shape[1:]])
    return tf.reshape(pairs[:, ::-1], [-1, *values.shape[1:]])


def blend(values: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """`share * own + (1 - share) * partner` of floats `[n, ...]`, such as targets that are mixed.

    `share` is `[n]` or of the rank of the values; 1 gives the row's own bits, 0 the partner's.
    """
    share = tf.cast(share, values.dtype)
    missing = len(values.shape) - len(share.shape)
    share = tf.reshape(share, [*tf.unstack(tf.shape(share)), *[1] * missing])
    return share * values + (1 - share) * partners(values)


def mix_rows(
    batch: dict[str, tf.Tensor], seeds: tf.Tensor, mixup: float, cutmix: float, cutmix_share: float
) -> dict[str, tf.Tensor]:
    """Mixes `image` (float `[n, height, width, channels]`) and `weight` (float32 `[n]`) by pairs.

    The own share of a row is drawn from Beta(alpha, alpha), where `mixup` and `cutmix` are alphas
    and 0 is never. MixUp adds the images in these shares; CutMix puts a box of the partner's
    pixels, at its place there, over as large a part of the image, cut at the borders, and the
    share is then that of the area. Where both are asked for, each row is cut with the chance
    `cutmix_share`.

    Returns the batch with these changed and `mix` (float32 `[n]`) added, the part of the row's new
    weight that belongs to its own target; the rest belongs to its partner's. An example's weight
    so follows its target: `weight` is the mean of both by their shares.
    """
    image, weight = batch["image"], batch["weight"]
    height, width = image.shape[1:3]
    if mixup:
        share = _beta(seeds, hashing.MIXING, mixup)
        mask = share[:, None, None]
    if cutmix:
        boxes = _cut_boxes(seeds, _beta(seeds, hashing.MIXING + 1, cutmix), height, width)
        kept = tf.cast(~inside(boxes, height, width), tf.float32)
        cut_share = tf.reduce_mean(kept, axis=[1, 2])
        if mixup:
            cut = random_uniform(seeds, hashing.MIXING + 2, 1)[:, 0] < cutmix_share
            share = tf.where(cut, cut_share, share)
            mask = tf.where(cut[:, None, None], kept, mask)
        else:
            share, mask = cut_share, kept
    other = partners(weight)
    # The sum has the weight's own bits where both weigh the same.
    mixed_weight = other + share * (weight - other)
    own = tf.minimum(tf.math.divide_no_nan(share * weight, mixed_weight), 1.0)
    mixed = blend(image, mask[..., None])
    return {**batch, "image": mixed, "weight": mixed_weight, "mix": own}


def _beta(seeds: tf.Tensor, stream: int, alpha: float) -> tf.Tensor:
    """Draws of Beta(alpha, alpha) by seeds (int64 `[n, 2]`): float32 `[n]`."""
    table = tf.constant(_beta_quantiles(alpha))
    return tf.gather(table, random_integers(seeds, stream, _QUANTILES))


@functools.cache
def _beta_quantiles(alpha: float) -> np.ndarray:
    """The middles of equally likely parts of Beta(alpha, alpha), ascending."""
    from scipy.special import betaincinv  # Late: few runs need it.

    middles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return betaincinv(alpha, alpha, middles).astype(np.float32)


def _cut_boxes(seeds: tf.Tensor, share: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Boxes (top, left, height, width) of about `1 - share` of the area: int32 `[n, 4]`.

    They have the image's proportions before those whose centre is near a border are cut.
    """
    side = tf.sqrt(1.0 - share)
    edges = []
    for number, size in enumerate((height, width)):
        length = tf.cast(side * size, tf.int32)
        centre = random_integers(seeds, hashing.MIXING + 3 + number, size)
        start = tf.maximum(centre - length // 2, 0)
        edges.append((start, tf.minimum(centre + length // 2, size) - start))
    (top, rows), (left, columns) = edges
    return tf.stack([top, left, rows, columns], axis=1)
