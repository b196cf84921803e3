"""Greedy search, sampling and beam search for a batch of examples, inside one graph."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from modelzoo.decoding import beam, sampling
from modelzoo.decoding.config import Decoding
from modelzoo.decoding.decoder import Decoder, State

# Finished examples are removed once they are one in so many: it copies the caches of the others.
_REMOVED_SHARE = 8
_NONE = -float("inf")


class SearchResult(NamedTuple):
    """The best sequences of `n` examples, best first.

    tokens: int32 `[n, n_best, length]`; each sequence ends with the end token, followed by padding.
    scores: float32 `[n, n_best]`; minus infinity if fewer than `n_best` sequences were found.
    lengths: int32 `[n, n_best]`, tokens with the end token; 0 if there is no sequence.
    """

    tokens: tf.Tensor
    scores: tf.Tensor
    lengths: tf.Tensor


class _Batch(NamedTuple):
    """The `n` examples that are still searched, with `k` beams each."""

    example_ids: tf.Tensor  # [n], their numbers among all examples.
    tokens: tf.Tensor  # [n, k], the last token of each beam.
    scores: tf.Tensor  # [n, k], its log-probability.
    best_scores: tf.Tensor  # [n, n_best], scores of the best ended sequences.
    best_ends: tf.Tensor  # [n, n_best], position * k + beam of their ends; -1 if there is none.
    ended: tf.Tensor  # [n], number of sequences that have ended.
    done: tf.Tensor  # [n], whether no better sequence can follow.
    state: State


class _Loop(NamedTuple):
    """The loop's variables: the batch, and the results of all examples."""

    position: tf.Tensor  # Number of tokens of each beam.
    choices: tf.Tensor  # [capacity, all, k], token * k + the beam that it continues.
    best_scores: tf.Tensor  # [all, n_best], as in the batch, of the removed examples.
    best_ends: tf.Tensor  # [all, n_best], likewise.
    batch: _Batch


def search(
    decoder: Decoder,
    state: State,
    decoding: Decoding,
    *,
    start: int,
    end: int,
    pad: int,
    forbidden: Sequence[int] = (),
    capacity: int,
    memory_mask: tf.Tensor | None = None,
    numbers: tf.Tensor | None = None,
    remove_finished: bool = True,
) -> SearchResult:
    """Finds the best sequences of each example, or samples sequences.

    The score of a sequence is its log-probability / ((5 + length) / 6) ** length_penalty, plus
    coverage_penalty times the sum over the memory of the log of the attention to each token, at
    most 1 (Wu et al., 2016, equation 14). The length counts the end token. The log-probability is
    the decoder's own, at any temperature and with any forbidden tokens.

    In each step, the search looks at the `beams` best continuations of an example. Those with the
    end token have ended, and the best `beams` others continue. An example is done when `beams`
    sequences have ended, or when no beam can become better than the worst of its `n_best`
    sequences. So one beam is greedy search, and as many beams as sequences are an exact search. The
    last position is always the end token.

    Args:
        decoder: the model.
        state: its state before the first token, for `decoding.beams` beams and `capacity` tokens.
        decoding: kind of search and its settings.
        start: id of the token that is read first.
        end: id of the token that ends a sequence.
        pad: id that fills the positions after the end.
        forbidden: ids that no sequence may hold, such as padding.
        capacity: maximum number of tokens of a sequence, with the end token.
        memory_mask: bool `[n, memory_length]`, True for real tokens; for a coverage penalty.
        numbers: int64 `[n]`, the numbers of the examples, which sampling draws by; None counts
            them from 0.
        remove_finished: remove examples that are done from the batch. Batch size and length of the
            tokens are dynamic then, as long as the longest search. With False, all shapes are as
            static as the state's, so that XLA can compile the search, and the tokens are
            `capacity` long.

    Raises:
        ValueError: if `min_length` does not fit into `capacity`, if there is a coverage penalty but
            no coverage, or if the end token is forbidden.
    """
    start, end, pad = int(start), int(end), int(pad)  # Not NumPy's, whose tensors are int64.
    steps = capacity
    if decoding.max_length is not None:
        steps = min(capacity, decoding.max_length + 1)
    if decoding.min_length >= steps:
        raise ValueError(f"min_length must be below {steps}, got {decoding.min_length}")
    if end in forbidden:
        raise ValueError(f"forbidden must not hold the end token, {end}, got {tuple(forbidden)}")
    has_coverage = decoding.coverage_penalty > 0
    if has_coverage and (memory_mask is None or "coverage" not in state["beams"]):
        raise ValueError(
            "coverage_penalty must be 0 without a memory mask and a decoder with coverage, "
            f"got {decoding.coverage_penalty}"
        )
    beams, n_best = decoding.beams, decoding.n_best
    leaf = tf.nest.flatten([state["shared"], state["beams"]])[0]
    total = tf.shape(leaf)[0] if leaf.shape[0] is None else leaf.shape[0]
    if decoding.temperature is not None:
        own = tf.range(total) if numbers is None else numbers
        draws = sampling.uniform(decoding.seed, own, capacity)

    def step(*variables) -> _Loop:
        loop = _Loop(*variables)
        batch = loop.batch
        logits, state = decoder.step(batch.tokens, batch.state)
        may_end = loop.position >= decoding.min_length
        may_continue = loop.position < steps - 1
        arguments = (logits, batch.scores, end, forbidden, may_end, may_continue)
        if decoding.temperature is None:
            chosen = beam.choose(*arguments)
        else:
            draw = tf.gather(draws[:, loop.position], batch.example_ids)
            chosen = sampling.choose(*arguments, draw, decoding)

        new_scores = chosen.ended_scores / _penalty(
            tf.cast(loop.position + 1, tf.float32), decoding
        )
        if has_coverage:
            mask = tf.gather(memory_mask, batch.example_ids)
            term = _coverage_term(state["beams"]["coverage"], mask)
            new_scores += decoding.coverage_penalty * tf.gather(
                term, chosen.ended_beams, batch_dims=1
            )
        new_scores = tf.where(batch.done[:, None], _NONE, new_scores)
        best_scores, order = tf.math.top_k(tf.concat([batch.best_scores, new_scores], 1), n_best)
        ends = tf.concat([batch.best_ends, loop.position * beams + chosen.ended_beams], 1)
        ended = batch.ended + tf.math.count_nonzero(new_scores > _NONE, axis=1, dtype=tf.int32)
        bound = chosen.scores[:, 0] / _penalty(float(steps), decoding)
        if beams > 1:
            of_beams = tf.nest.map_structure(
                lambda tensor: tf.gather(tensor, chosen.beams, batch_dims=1), state["beams"]
            )
            state = {**state, "beams": of_beams}

        positions = tf.fill(tf.shape(batch.example_ids), loop.position)
        choices = tf.tensor_scatter_nd_update(
            loop.choices,
            tf.stack([positions, batch.example_ids], axis=1),
            chosen.tokens * beams + chosen.beams,
        )
        batch = _Batch(
            example_ids=batch.example_ids,
            tokens=chosen.tokens,
            scores=chosen.scores,
            best_scores=best_scores,
            best_ends=tf.gather(ends, order, batch_dims=1),
            ended=ended,
            done=batch.done | (ended >= beams) | (best_scores[:, -1] >= bound),
            state=state,
        )
        after = _Loop(loop.position + 1, choices, loop.best_scores, loop.best_ends, batch)
        # `tf.while_loop` requires shapes that do not change.
        tf.nest.map_structure(lambda tensor, shape: tensor.set_shape(shape), after, shapes)
        return _remove_finished(after) if remove_finished else after

    best_scores = tf.fill([total, n_best], _NONE)
    best_ends = tf.fill([total, n_best], -1)
    batch = _Batch(
        example_ids=tf.range(total),
        tokens=tf.fill([total, beams], start),
        scores=tf.tile([[0.0] + [_NONE] * (beams - 1)], [total, 1]),
        best_scores=best_scores,
        best_ends=best_ends,
        ended=tf.zeros([total], tf.int32),
        done=tf.zeros([total], tf.bool),
        state=state,
    )
    choices = tf.zeros([capacity, total, beams], tf.int32)
    first = _Loop(tf.constant(0), choices, best_scores, best_ends, batch)
    shapes = tf.nest.map_structure(lambda tensor: tensor.shape, first)
    if remove_finished:
        shapes = shapes._replace(batch=tf.nest.map_structure(_dynamic_batch, batch))

    def unfinished(position, choices, best_scores, best_ends, batch) -> tf.Tensor:
        return (position < steps) & ~tf.reduce_all(batch.done)

    last = _Loop(*tf.while_loop(unfinished, step, first, shapes))
    # No beam continues after the last step, so all examples have been removed in the end.
    best = last if remove_finished else last.batch
    # A batch without examples takes no step, and an empty TensorArray cannot be stacked.
    length = tf.maximum(last.position, 1) if remove_finished else capacity
    tokens = _trace_back(last.choices, best.best_ends, length, end, pad)
    return SearchResult(tokens, best.best_scores, best.best_ends // beams + 1)


def _penalty(length, decoding: Decoding):
    """Returns the divisor of the log-probability of a sequence of this length."""
    return ((5.0 + length) / 6.0) ** decoding.length_penalty


def _coverage_term(coverage: tf.Tensor, memory_mask: tf.Tensor) -> tf.Tensor:
    """Returns the sum of logs `[n, k]` of the coverage `[n, k, memory_length]`."""
    coverage = tf.where(memory_mask[:, None], coverage, 1.0)
    # Without the lower bound, attention that underflows would make all sequences equally bad.
    return tf.reduce_sum(tf.math.log(tf.clip_by_value(coverage, 1e-30, 1.0)), -1)


def _dynamic_batch(tensor: tf.Tensor) -> tf.TensorShape:
    """Returns the tensor's shape with a dynamic first axis; scalars have no batch axis."""
    return tf.TensorShape([None, *tensor.shape[1:]]) if tensor.shape.rank else tensor.shape


def _remove_finished(loop: _Loop) -> _Loop:
    """Removes the examples that are done, if they are enough."""
    done = loop.batch.done

    def remove() -> _Loop:
        places = loop.batch.example_ids[:, None]
        best_scores, best_ends = (
            tf.tensor_scatter_nd_update(getattr(loop, name), places, getattr(loop.batch, name))
            for name in ("best_scores", "best_ends")
        )
        remaining = tf.where(~done)[:, 0]
        batch = tf.nest.map_structure(
            lambda tensor: tf.gather(tensor, remaining) if tensor.shape.rank else tensor,
            loop.batch,
        )
        return loop._replace(best_scores=best_scores, best_ends=best_ends, batch=batch)

    enough = tf.math.count_nonzero(done, dtype=tf.int32) * _REMOVED_SHARE >= tf.size(done)
    return tf.cond(enough, remove, lambda: loop)


def _trace_back(
    choices: tf.Tensor, ends: tf.Tensor, steps: tf.Tensor | int, end: int, pad: int
) -> tf.Tensor:
    """Returns the tokens `[all, n_best, steps]` of the sequences with these ends."""
    beams = choices.shape[2]

    def step(position, beam_ids, tokens):
        position -= 1
        choice = tf.gather(choices[position], beam_ids, batch_dims=1)
        inside = position < ends // beams
        after = tf.where(position == ends // beams, end, pad)
        token = tf.where(inside, choice // beams, after)
        beam_ids = tf.where(inside, choice % beams, beam_ids)
        return position, beam_ids, tokens.write(position, token)

    tokens = tf.TensorArray(tf.int32, steps, element_shape=ends.shape)
    loop = (steps, ends % beams, tokens)
    _, _, tokens = tf.while_loop(lambda position, *_: position > 0, step, loop)
    return tf.transpose(tokens.stack(), [1, 2, 0])
