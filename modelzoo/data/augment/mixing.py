"""MixUp (Zhang et al. 2018) and CutMix (Yun et al. 2019) of neighbours in the planned order.

Rows 2k and 2k + 1 of the order are partners, so that splitting a batch into even parts changes no
result. Each row draws its own share from its own seed.
"""

import functools

import numpy as np
import tensorflow as tf

from modelzoo.data.augment.boxes import inside
from modelzoo.fields import hashing
from modelzoo.fields.hashing import random_integers, random_uniform

_QUANTILES = 4096


def partners(values: tf.Tensor) -> tf.Tensor:
    """Swaps rows 2k and 2k + 1 of `[n, ...]`; n is even."""
    pairs = tf.reshape(values, [-1, 2, *values.shape[1:]])
    return tf.reshape(pairs[:, ::-1], [-1, *values.shape[1:]])


def blend(values: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """`share * own + (1 - share) * partner` of floats `[n, ...]`, such as targets.

    `share` is `[n]` or has the rank of the values; 1 keeps the row's own bits, 0 the partner's.
    """
    share = tf.cast(share, values.dtype)
    missing = len(values.shape) - len(share.shape)
    share = tf.reshape(share, [*tf.unstack(tf.shape(share)), *[1] * missing])
    return share * values + (1 - share) * partners(values)


def mix_rows(
    images: tf.Tensor,
    weight: tf.Tensor,
    seeds: tf.Tensor,
    mixup: float,
    cutmix: float,
    cutmix_share: float,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mixes images (float `[n, height, width, channels]`) and their weights by pairs.

    The share of a row itself is drawn from Beta(alpha, alpha); `mixup` and `cutmix` are the alphas,
    0 for none. MixUp adds both images by their shares. CutMix replaces a box by the partner's
    pixels at the same place; the box has as large a part of the image as the partner's share, is
    clipped at the borders, and the share becomes that of the remaining area. With both, CutMix
    changes each row with the probability `cutmix_share`.

    Returns:
        The mixed images; the new weights, float32 `[n]`, each the mean of both by their shares, so
        that an example's weight follows its target; and the part of a new weight that belongs to
        the row's own target, float32 `[n]`. The rest belongs to its partner's.
    """
    height, width = images.shape[1:3]
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
    # This sum keeps the bits of a weight that both have.
    mixed_weight = other + share * (weight - other)
    own = tf.minimum(tf.math.divide_no_nan(share * weight, mixed_weight), 1.0)
    return blend(images, mask[..., None]), mixed_weight, own


def _beta(seeds: tf.Tensor, stream: int, alpha: float) -> tf.Tensor:
    """Draws of Beta(alpha, alpha) by seeds (int64 `[n, 2]`): float32 `[n]`."""
    table = tf.constant(_beta_quantiles(alpha))
    return tf.gather(table, random_integers(seeds, stream, _QUANTILES))


@functools.cache
def _beta_quantiles(alpha: float) -> np.ndarray:
    """Medians of equally likely parts of Beta(alpha, alpha), ascending."""
    from scipy.special import betaincinv  # Late: few runs need it.

    middles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    return betaincinv(alpha, alpha, middles).astype(np.float32)


def _cut_boxes(seeds: tf.Tensor, share: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Boxes (top, left, height, width) of about `1 - share` of the area: int32 `[n, 4]`.

    They have the image's proportions before they are clipped at its borders.
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
