"""An opened split of texts, tokenized once and read at any length."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from modelzoo.data.source import Source
from modelzoo.data.spec import TextSpec
from modelzoo.fields.errors import UserError


def text_source(
    spec: TextSpec,
    ids: Sequence[str],
    texts: Sequence[str | bytes],
    labels: np.ndarray | Sequence[np.ndarray],
    weights: np.ndarray | None = None,
    skipped: Sequence[tuple[str, str]] = (),
    groups: Sequence[str] | None = None,
) -> Source:
    """A source of texts in memory; `length` tokens of each are given as `tokens`, int32.

    Rows are cut to the longest of `spec.lengths` and padded with token 0; one without any token
    has the length 1. `text` is the whole text. `labels` are as `spec.targets` says; where that is
    "labels", int64 `[tokens]` for each text, cut and padded like its tokens; another number of them
    is a UserError. `weights` is float32 `[n]`.
    """
    tokens, bounds = spec.tokenizer.encode(texts)
    counts = np.diff(bounds)
    if spec.targets == "labels":
        given = np.array([len(row) for row in labels], np.int64)
        for row in np.flatnonzero(given != counts)[:1]:
            raise UserError(
                f"{ids[row]} has {counts[row]} tokens and {given[row]} labels; "
                "choose config.data.tokenizer so that it has one for each token"
            )
    longest = spec.lengths[-1]
    kept = _kept(counts, longest, spec.keep)
    counts = np.minimum(counts, longest)
    starts = np.cumsum(counts) - counts
    # On the host whatever accelerator there is: the pipeline reads them there.
    with tf.device("CPU:0"):
        whole = tf.constant(list(texts), tf.string)
        # One more each, so that there is something to read where no text has a token.
        columns = {"tokens": (tf.constant(np.append(tokens[kept], np.int32(0))), 0)}
        if spec.targets == "labels":
            flat = np.concatenate([np.zeros(0, np.int64), *labels]).astype(np.int64)
            columns["label"] = (tf.constant(np.append(flat[kept], -1)), -1)
        else:
            labels = tf.constant(labels)
        first, count = tf.constant(starts), tf.constant(counts)
        weights = None if weights is None else tf.constant(weights, tf.float32)

    def read(rows: tf.Tensor, length: int | tf.Tensor | None) -> dict[str, tf.Tensor]:
        steps = tf.range(longest if length is None else length, dtype=tf.int64)
        inside = steps < tf.gather(count, rows)[:, None]
        # What lies beyond a row's end is another's, and is not read.
        places = tf.where(inside, tf.gather(first, rows)[:, None] + steps, 0)
        raw = {
            name: tf.where(inside, tf.gather(flat, places), tf.cast(padding, flat.dtype))
            for name, (flat, padding) in columns.items()
        }
        if "label" not in raw:
            raw["label"] = tf.gather(labels, rows)
        if weights is not None:
            raw["weight"] = tf.gather(weights, rows)
        return {**raw, "text": tf.gather(whole, rows)}

    return Source(spec, ids, read, skipped, lengths=np.maximum(counts, 1), groups=groups)


def _kept(counts: np.ndarray, longest: int, keep: str) -> np.ndarray:
    """Which of all tokens on end, `counts` of each text, are left of texts that are cut."""
    places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    from_end = np.repeat(counts, counts) - places
    head, tail = ends(longest, keep)
    return (places < head) | (from_end <= tail)


def ends(longest: int, keep: str) -> tuple[int, int]:
    """How many tokens from the start and from the end are kept of a text that is longer."""
    tail = {"start": 0, "end": longest, "ends": longest // 2}[keep]
    return longest - tail, tail
