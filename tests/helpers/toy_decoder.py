"""A tiny recurrent decoder with attention, and the same by itself in NumPy."""

import itertools

import numpy as np
import tensorflow as tf

from modelzoo.decoding.config import Decoding
from modelzoo.decoding.search import Found, search

DIM = 4


class Toy:
    """Its logits depend on all tokens so far and on the example's source."""

    def __init__(self, vocabulary: int, seed: int = 4, scale: float = 2.0):
        rng = np.random.default_rng(seed)
        self.vocabulary = vocabulary
        self.end = vocabulary - 1
        self.embedding = rng.normal(size=(vocabulary, DIM))
        self.recurrent = rng.normal(size=(DIM, DIM))
        self.output = scale * rng.normal(size=(DIM, vocabulary))
        self.bias = np.zeros(vocabulary)
        self.rows_read = tf.Variable(0)

    def sources(self, examples: int, length: int = 3, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).normal(size=(examples, length, DIM))

    def start(self, sources: np.ndarray, rows: int, coverage: bool = False, dtype=tf.float32):
        examples, length = tf.shape(sources)[0], tf.shape(sources)[1]
        if sources.shape[0] is not None:
            examples, length, _ = sources.shape
        state = {
            "shared": {"source": tf.cast(sources, dtype)},
            "rows": {"hidden": tf.zeros([examples, rows, DIM], dtype)},
            "position": tf.constant(0),
        }
        if coverage:
            state["rows"]["coverage"] = tf.zeros([examples, rows, length])
        return state

    def step(self, tokens, state):
        source, rows = state["shared"]["source"], dict(state["rows"])
        self.rows_read.assign_add(tf.size(tokens))
        dtype = source.dtype
        hidden = tf.tensordot(rows["hidden"], tf.constant(self.recurrent, dtype), 1)
        hidden = tf.tanh(hidden + tf.gather(tf.constant(self.embedding, dtype), tokens))
        attention = tf.nn.softmax(tf.einsum("nkd,nsd->nks", hidden, source))
        context = tf.einsum("nks,nsd->nkd", attention, source)
        rows["hidden"] = hidden = tf.tanh(hidden + context)
        if "coverage" in rows:
            rows["coverage"] += tf.cast(attention, tf.float32)
        logits = tf.tensordot(hidden, tf.constant(self.output, dtype), 1)
        logits += tf.constant(self.bias, dtype)
        return logits, {**state, "rows": rows, "position": state["position"] + 1}

    def read(self, source: np.ndarray, tokens: tuple[int, ...]):
        """Logits of what follows the tokens after the start, and attention, `[steps, source]`."""
        hidden, attentions = np.zeros(DIM), []
        for token in (self.end, *tokens):
            hidden = np.tanh(hidden @ self.recurrent + self.embedding[token])
            attention = np.exp(source @ hidden)
            attention /= attention.sum()
            attentions.append(attention)
            hidden = np.tanh(hidden + attention @ source)
        return hidden @ self.output + self.bias, np.stack(attentions)

    def log_probs(self, source: np.ndarray, tokens: tuple[int, ...]) -> np.ndarray:
        logits, _ = self.read(source, tokens)
        return logits - np.log(np.exp(logits).sum())

    def score(self, source, tokens, length_penalty=0.0, coverage_penalty=0.0, real=True) -> float:
        """Of tokens that end with the end token; Wu et al. (2016), equation 14."""
        total = sum(
            self.log_probs(source, tokens[:place])[token] for place, token in enumerate(tokens)
        )
        _, attention = self.read(source, tokens[:-1])
        coverage = (np.log(np.minimum(attention.sum(0), 1)) * real).sum()
        return total / ((5 + len(tokens)) / 6) ** length_penalty + coverage_penalty * coverage

    def all_sequences(self, least: int, most: int) -> list[tuple[int, ...]]:
        """Each with `least` to `most` tokens and the end token."""
        body = range(1, self.end)
        return [
            (*tokens, self.end)
            for length in range(least, most + 1)
            for tokens in itertools.product(body, repeat=length)
        ]


def beam_search(log_probs, end, beams, n_best, capacity, length_penalty=0.0, least=0):
    """Scores and tokens, the best first: a search over Python lists.

    log_probs: gives those of the next token after a tuple of tokens.
    """
    alive, kept, ended = [(0.0, ())], [], 0
    for position in range(capacity):
        going, every = [], []
        for total, tokens in alive:
            for token, log_prob in enumerate(log_probs(tokens)):
                candidate = (total + log_prob, (*tokens, token))
                if token == end:
                    every += [candidate] * (position >= least)
                elif token != 0 and position < capacity - 1:
                    going.append(candidate)
        for total, tokens in sorted(every + going, reverse=True)[:beams]:
            if tokens[-1] == end:
                kept.append((total / ((5 + len(tokens)) / 6) ** length_penalty, tokens))
                ended += 1
        kept = sorted(kept, reverse=True)[:n_best]
        alive = sorted(going, reverse=True)[:beams]
        if ended >= beams or not alive:
            break
        bound = alive[0][0] / ((5 + capacity) / 6) ** length_penalty
        if len(kept) == n_best and kept[-1][0] >= bound:
            break
    return kept


def lists(found: Found) -> list[list[tuple[int, ...]]]:
    """The sequences found, without what pads them."""
    return [
        [tuple(tokens[:length]) for tokens, length in zip(*example, strict=True)]
        for example in zip(found.tokens.numpy().tolist(), found.lengths.numpy(), strict=True)
    ]


def find(
    toy,
    sources,
    decoding: Decoding,
    capacity,
    *,
    leave=True,
    xla=False,
    dtype=tf.float32,
    real=None,
) -> Found:
    """What the search finds for the sources, in a graph of its own."""
    covers = decoding.coverage_penalty > 0

    @tf.function(jit_compile=xla, autograph=False)
    def go(sources):
        return search(
            toy,
            toy.start(sources, decoding.beams, covers, dtype),
            decoding,
            start=toy.end,
            end=toy.end,
            capacity=capacity,
            source_real=real,
            leave=leave,
        )

    return go(sources)
