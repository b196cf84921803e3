"""Greedy search, sampling and beam search of many examples at once, inside one graph."""

from typing import NamedTuple

import tensorflow as tf

from modelzoo.decoding import beam, sampling
from modelzoo.decoding.config import Decoding
from modelzoo.decoding.decoder import Decoder, State

_SHARE = 8  # One of so many must be done before they leave, for that copies the caches of the rest.
_NONE = -float("inf")


class Found(NamedTuple):
    """Sequences of `n` examples, the best first.

    tokens: int32 `[n, n_best, length]`, each ended by the end token; 0 after it.
    scores: float32 `[n, n_best]`; minus infinity where there are fewer sequences than `n_best`.
    lengths: int32 `[n, n_best]`, in tokens, with the end token; 0 where there is no sequence.
    """

    tokens: tf.Tensor
    scores: tf.Tensor
    lengths: tf.Tensor


class _Batch(NamedTuple):
    """The `n` examples that are still searched, with `k` sequences each."""

    who: tf.Tensor  # [n], their numbers.
    tokens: tf.Tensor  # [n, k], the last of each sequence.
    scores: tf.Tensor  # [n, k], its log-probability.
    kept: tf.Tensor  # [n, n_best], the best scores of the sequences that have ended.
    ends: tf.Tensor  # [n, n_best], position * k + sequence where they did; -1 without one.
    ended: tf.Tensor  # [n], how many have.
    done: tf.Tensor  # [n], whether nothing better can come.
    state: State


class _Loop(NamedTuple):
    """What a step is given: the batch, and what it leaves behind of `all` examples."""

    position: tf.Tensor  # how many tokens the sequences have.
    choices: tf.Tensor  # [capacity, all, k], token * k + the sequence that it continues.
    kept: tf.Tensor  # [all, n_best], of the batch, for those that have left.
    ends: tf.Tensor  # [all, n_best], likewise.
    batch: _Batch


def search(
    decoder: Decoder,
    state: State,
    decoding: Decoding,
    *,
    start: int,
    end: int,
    capacity: int,
    source_real: tf.Tensor | None = None,
    leave: bool = True,
) -> Found:
    """The best sequences of each example, or drawn ones.

    A sequence's score is its log-probability / ((5 + length) / 6) ** length_penalty, where all its
    tokens count, the end token too, plus coverage_penalty times the sum over the source of the
    logarithm of the attention that each token got, at most 1 (Wu et al., 2016, equation 14). The
    probability is the decoder's own, whatever temperature the tokens were drawn at.

    In each step the `beams` best continuations of an example are looked at: those with the end
    token have ended. As many others, the best ones, go on. An example is done when `beams`
    sequences have ended, or none that goes on can become better than the worst of the `n_best`
    kept. So a beam of 1 is greedy search, and one as wide as the space finds the best sequence.
    The last place is for the end token alone; padding (0) stands nowhere.

    state: of each example, for `decoding.beams` sequences and `capacity` tokens.
    start: the token that is read first.
    capacity: most tokens of a sequence, with the end token.
    source_real: bool `[n, source]`, False at padding; for a coverage penalty.
    leave: whether examples that are done leave the batch, whose size is dynamic then; tokens are as
        long as the longest search. Without, all shapes are as static as the state's, so that XLA
        can compile the search; tokens are `capacity` long.

    Raises ValueError where `min_length` has no room, or the coverage penalty no coverage.
    """
    steps = capacity
    if decoding.max_length is not None:
        steps = min(capacity, decoding.max_length + 1)
    if decoding.min_length >= steps:
        raise ValueError(f"min_length must be below {steps}, got {decoding.min_length}")
    covers = decoding.coverage_penalty > 0
    if covers and (source_real is None or "coverage" not in state["rows"]):
        raise ValueError(
            "coverage_penalty must be 0 where the decoder tells no coverage, "
            f"got {decoding.coverage_penalty}"
        )
    beams, n_best = decoding.beams, decoding.n_best
    leaf = tf.nest.flatten([state["shared"], state["rows"]])[0]
    total = tf.shape(leaf)[0] if leaf.shape[0] is None else leaf.shape[0]
    if decoding.temperature is not None:
        draws = sampling.uniform(decoding.seed, total, capacity)

    def step(*loop) -> _Loop:
        now = _Loop(*loop)
        batch = now.batch
        logits, state = decoder.step(batch.tokens, batch.state)
        may_end = now.position >= decoding.min_length
        may_go_on = now.position < steps - 1
        if decoding.temperature is None:
            chosen = beam.choose(logits, batch.scores, end, may_end, may_go_on)
        else:
            draw = tf.gather(draws[:, now.position], batch.who)
            chosen = sampling.choose(logits, batch.scores, end, may_end, may_go_on, draw, decoding)

        new = chosen.ended / _penalty(tf.cast(now.position + 1, tf.float32), decoding)
        if covers:
            term = _coverage(state["rows"]["coverage"], tf.gather(source_real, batch.who))
            new += decoding.coverage_penalty * tf.gather(term, chosen.ended_rows, batch_dims=1)
        new = tf.where(batch.done[:, None], _NONE, new)
        kept, order = tf.math.top_k(tf.concat([batch.kept, new], 1), n_best)
        ends = tf.concat([batch.ends, now.position * beams + chosen.ended_rows], 1)
        ended = batch.ended + tf.math.count_nonzero(new > _NONE, axis=1, dtype=tf.int32)
        bound = chosen.scores[:, 0] / _penalty(float(steps), decoding)
        if beams > 1:
            rows = tf.nest.map_structure(
                lambda rows: tf.gather(rows, chosen.rows, batch_dims=1), state["rows"]
            )
            state = {**state, "rows": rows}

        places = tf.stack([tf.fill(tf.shape(batch.who), now.position), batch.who], axis=1)
        choices = tf.tensor_scatter_nd_update(
            now.choices, places, chosen.tokens * beams + chosen.rows
        )
        batch = _Batch(
            who=batch.who,
            tokens=chosen.tokens,
            scores=chosen.scores,
            kept=kept,
            ends=tf.gather(ends, order, batch_dims=1),
            ended=ended,
            done=batch.done | (ended >= beams) | (kept[:, -1] >= bound),
            state=state,
        )
        after = _Loop(now.position + 1, choices, now.kept, now.ends, batch)
        # A loop wants to be told what it knows of the shapes.
        tf.nest.map_structure(lambda tensor, shape: tensor.set_shape(shape), after, shapes)
        return _smaller(after) if leave else after

    kept = tf.fill([total, n_best], _NONE)
    ends = tf.fill([total, n_best], -1)
    batch = _Batch(
        who=tf.range(total),
        tokens=tf.fill([total, beams], start),
        scores=tf.tile([[0.0] + [_NONE] * (beams - 1)], [total, 1]),
        kept=kept,
        ends=ends,
        ended=tf.zeros([total], tf.int32),
        done=tf.zeros([total], tf.bool),
        state=state,
    )
    first = _Loop(tf.constant(0), tf.zeros([capacity, total, beams], tf.int32), kept, ends, batch)
    shapes = tf.nest.map_structure(lambda tensor: tensor.shape, first)
    if leave:
        shapes = shapes._replace(batch=tf.nest.map_structure(_any_number, batch))

    def goes_on(position, choices, kept, ends, batch) -> tf.Tensor:
        return (position < steps) & ~tf.reduce_all(batch.done)

    last = _Loop(*tf.while_loop(goes_on, step, first, shapes))
    # At the last step no sequence goes on: in the end all examples have left.
    kept, ends = (last.kept, last.ends) if leave else (last.batch.kept, last.batch.ends)
    # No examples need no step, of which nothing could be stacked.
    length = tf.maximum(last.position, 1) if leave else capacity
    tokens = _tokens(last.choices, ends, length, end)
    return Found(tokens, kept, ends // beams + 1)


def _penalty(length, decoding: Decoding):
    """What the log-probability of a sequence of so many tokens is divided by."""
    return ((5.0 + length) / 6.0) ** decoding.length_penalty


def _coverage(coverage: tf.Tensor, source_real: tf.Tensor) -> tf.Tensor:
    """The term `[n, k]` of attention `[n, k, source]`."""
    coverage = tf.where(source_real[:, None], coverage, 1.0)
    # Attention that has underflowed must not make all sequences equally bad.
    return tf.reduce_sum(tf.math.log(tf.clip_by_value(coverage, 1e-30, 1.0)), -1)


def _any_number(tensor: tf.Tensor) -> tf.TensorShape:
    """Its shape where examples leave; scalars belong to none."""
    return tf.TensorShape([None, *tensor.shape[1:]]) if tensor.shape.rank else tensor.shape


def _settled(loop: _Loop) -> tuple[tf.Tensor, tf.Tensor]:
    """`kept` and `ends` of all examples."""
    places = loop.batch.who[:, None]
    return (
        tf.tensor_scatter_nd_update(loop.kept, places, loop.batch.kept),
        tf.tensor_scatter_nd_update(loop.ends, places, loop.batch.ends),
    )


def _smaller(loop: _Loop) -> _Loop:
    """Without the examples that are done, if they are enough to be worth it."""
    done = loop.batch.done

    def leaving() -> _Loop:
        kept, ends = _settled(loop)
        stay = tf.where(~done)[:, 0]
        batch = tf.nest.map_structure(
            lambda tensor: tf.gather(tensor, stay) if tensor.shape.rank else tensor, loop.batch
        )
        return loop._replace(kept=kept, ends=ends, batch=batch)

    enough = tf.math.count_nonzero(done, dtype=tf.int32) * _SHARE >= tf.size(done)
    return tf.cond(enough, leaving, lambda: loop)


def _tokens(choices: tf.Tensor, ends: tf.Tensor, steps: tf.Tensor | int, end: int) -> tf.Tensor:
    """The sequences `[all, n_best, steps]` that end at `ends`, followed back from there."""
    beams = choices.shape[2]

    def step(position, rows, tokens):
        position -= 1
        choice = tf.gather(choices[position], rows, batch_dims=1)
        inside = position < ends // beams
        token = tf.where(inside, choice // beams, tf.where(position == ends // beams, end, 0))
        rows = tf.where(inside, choice % beams, rows)
        return position, rows, tokens.write(position, token)

    tokens = tf.TensorArray(tf.int32, steps, element_shape=ends.shape)
    loop = (steps, ends % beams, tokens)
    _, _, tokens = tf.while_loop(lambda position, *_: position > 0, step, loop)
    return tf.transpose(tokens.stack(), [1, 2, 0])
