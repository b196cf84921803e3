"""An opened split of pairs of texts, tokenized once and read at the lengths of their batches."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modelzoo.data.source import Source
from modelzoo.data.spec import PairSpec
from modelzoo.data.tokenizers import Tokenizer
from modelzoo.data.tokenizers.tokenizer import UNKNOWN

_MANY_UNKNOWN = 0.1  # From this share on it is told.


class _Side(NamedTuple):
    """One side of all pairs: tokens on end, each row's first, their number, and what was cut.

    unknown: the share of its tokens that the vocabulary lacks.
    """

    flat: tf.Tensor
    first: tf.Tensor
    count: tf.Tensor
    counts: np.ndarray
    cut: np.ndarray
    unknown: float

    def read(self, rows: tf.Tensor, length: int | tf.Tensor) -> tf.Tensor:
        """Tokens int32 `[n, length]` of rows, padded with 0."""
        steps = tf.range(length, dtype=tf.int64)
        inside = steps < tf.gather(self.count, rows)[:, None]
        # What lies beyond a row's end is another's, and is not read.
        places = tf.where(inside, tf.gather(self.first, rows)[:, None] + steps, 0)
        return tf.where(inside, tf.gather(self.flat, places), 0)


def pair_source(
    spec: PairSpec,
    ids: Sequence[str],
    sources: Sequence[str],
    targets: Sequence[str],
    references: Sequence[tuple[str, ...]] | None = None,
    weights: np.ndarray | None = None,
    skipped: Sequence[tuple[str, str]] = (),
    groups: Sequence[str] | None = None,
    skip_long: bool = False,
) -> Source:
    """A source of pairs in memory: `source` int32 `[n, lengths[k]]`, `target`
    int32 `[n, target_lengths[k]]`, each ended by its end token and then 0, and `text`, the whole
    source text.

    `k` is the least whose two lengths hold both sides; a row's length in the source is
    `lengths[k]`, its tokens those of the target with the end. What exceeds the longest length is
    cut so that the end token stays; with `skip_long` such a pair is left out and counted.
    `references` are the texts that an output is compared with, whole; None for the targets.
    `weights` is float32 `[n]`. The source remarks how many pairs were cut, and where the vocabulary
    lacks many of a side's tokens.
    """
    if references is None:
        references = [(target,) for target in targets]
    # On the host whatever accelerator there is: the pipeline reads them there.
    with tf.device("CPU:0"):
        source = _side(spec.tokenizer, sources, spec.source_end, spec.lengths[-1])
        target = _side(spec.target_tokenizer, targets, spec.target_end, spec.target_lengths[-1])
        whole = tf.constant(list(sources), tf.string)
        known = tf.constant(spec.lengths, tf.int64)
        beside = tf.constant(spec.target_lengths, tf.int64)
        weights = None if weights is None else tf.constant(weights, tf.float32)
    least = np.maximum(
        np.searchsorted(spec.lengths, source.counts),
        np.searchsorted(spec.target_lengths, target.counts),
    )

    def read(rows: tf.Tensor, length: int | tf.Tensor | None) -> dict[str, tf.Tensor]:
        if length is None:
            length, other = spec.lengths[-1], spec.target_lengths[-1]
        else:
            other = tf.gather(beside, tf.searchsorted(known, [tf.cast(length, tf.int64)])[0])
        raw = {"source": source.read(rows, length), "target": target.read(rows, other)}
        if weights is not None:
            raw["weight"] = tf.gather(weights, rows)
        return {**raw, "text": tf.gather(whole, rows)}

    remarks = [
        f"the vocabulary lacks {side.unknown:.0%} of the tokens of the {name} texts"
        for name, side in (("source", source), ("target", target))
        if side.unknown >= _MANY_UNKNOWN
    ]
    long = source.cut | target.cut
    longest = f"{spec.lengths[-1]} and {spec.target_lengths[-1]} tokens"
    skip_long = skip_long and bool(long.any())
    if long.any() and not skip_long:
        remarks.append(f"{long.sum():,} of {len(long):,} pairs are cut to {longest}")
    found = Source(
        spec,
        ids,
        read,
        skipped,
        lengths=np.array(spec.lengths, np.int64)[least],
        groups=groups,
        tokens=target.counts,
        references=references,
        remarks=remarks,
    )
    if not skip_long:
        return found
    reason = f"has more than {longest}"
    found = found.subset(np.flatnonzero(~long))
    found.skipped += [(ids[row], reason) for row in np.flatnonzero(long)]
    return found


def _side(tokenizer: Tokenizer, texts: Sequence[str], end: int, longest: int) -> _Side:
    """Tokens of the texts, each cut to the longest with the end token behind it."""
    tokens, bounds = tokenizer.encode(texts)
    counts = np.diff(bounds)
    places = np.arange(len(tokens)) - np.repeat(bounds[:-1], counts)
    kept = np.minimum(counts, longest - 1)
    flat = np.insert(tokens[places < longest - 1], np.cumsum(kept), np.int32(end))
    count = kept + 1
    return _Side(
        flat=tf.constant(flat),
        first=tf.constant(np.cumsum(count) - count),
        count=tf.constant(count),
        counts=count,
        cut=counts > kept,
        unknown=float(np.mean(tokens == UNKNOWN)) if len(tokens) else 0.0,
    )
