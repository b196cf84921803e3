"""A tiny recurrent decoder with attention, in TensorFlow and in NumPy."""

import copy
import itertools

import numpy as np
import tensorflow as tf

from modelzoo.decoding.config import Decoding
from modelzoo.decoding.search import SearchResult, search

DIM = 4


class Toy:
    """Its logits depend on all tokens so far and on the example's source.

    Token 0 is padding, and the last id is both start and end.
    """

    def __init__(self, vocabulary: int, seed: int = 4, scale: float = 2.0):
        rng = np.random.default_rng(seed)
        self.vocabulary = vocabulary
        self.pad, self.end = 0, vocabulary - 1
        self.embedding = rng.normal(size=(vocabulary, DIM))
        self.recurrent = rng.normal(size=(DIM, DIM))
        self.output = scale * rng.normal(size=(DIM, vocabulary))
        self.bias = np.zeros(vocabulary)
        self.tokens_read = tf.Variable(0)

    def permuted(self, new_ids: np.ndarray) -> "Toy":
        """The same decoder with another id for each token."""
        other, order = copy.copy(self), np.argsort(new_ids)
        other.embedding = self.embedding[order]
        other.output, other.bias = self.output[:, order], self.bias[order]
        other.pad, other.end = int(new_ids[self.pad]), int(new_ids[self.end])
        return other

    def sources(self, examples: int, length: int = 3, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).normal(size=(examples, length, DIM))

    def start(self, sources: np.ndarray, beams: int, coverage: bool = False, dtype=tf.float32):
        examples, length = tf.shape(sources)[0], tf.shape(sources)[1]
        if sources.shape[0] is not None:
            examples, length, _ = sources.shape
        state = {
            "shared": {"source": tf.cast(sources, dtype)},
            "beams": {"hidden": tf.zeros([examples, beams, DIM], dtype)},
            "position": tf.constant(0),
        }
        if coverage:
            state["beams"]["coverage"] = tf.zeros([examples, beams, length])
        return state

    def step(self, tokens, state):
        source, beams = state["shared"]["source"], dict(state["beams"])
        self.tokens_read.assign_add(tf.size(tokens))
        dtype = source.dtype
        hidden = tf.tensordot(beams["hidden"], tf.constant(self.recurrent, dtype), 1)
        hidden = tf.tanh(hidden + tf.gather(tf.constant(self.embedding, dtype), tokens))
        attention = tf.nn.softmax(tf.einsum("nkd,nsd->nks", hidden, source))
        context = tf.einsum("nks,nsd->nkd", attention, source)
        beams["hidden"] = hidden = tf.tanh(hidden + context)
        if "coverage" in beams:
            beams["coverage"] += tf.cast(attention, tf.float32)
        logits = tf.tensordot(hidden, tf.constant(self.output, dtype), 1)
        logits += tf.constant(self.bias, dtype)
        return logits, {**state, "beams": beams, "position": state["position"] + 1}

    def read(self, source: np.ndarray, tokens: tuple[int, ...]):
        """Logits of the token after the start and these tokens, and attention `[steps, source]`."""
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

    def score(self, source, tokens, length_penalty=0.0, coverage_penalty=0.0, mask=True) -> float:
        """The score of tokens with the end token (Wu et al., 2016, equation 14)."""
        total = sum(
            self.log_probs(source, tokens[:place])[token] for place, token in enumerate(tokens)
        )
        _, attention = self.read(source, tokens[:-1])
        coverage = (np.log(np.minimum(attention.sum(0), 1)) * mask).sum()
        return total / ((5 + len(tokens)) / 6) ** length_penalty + coverage_penalty * coverage

    def all_sequences(self, least: int, most: int) -> list[tuple[int, ...]]:
        """All sequences of `least` to `most` tokens and the end token."""
        body = range(1, self.end)
        return [
            (*tokens, self.end)
            for length in range(least, most + 1)
            for tokens in itertools.product(body, repeat=length)
        ]


def beam_search(log_probs, end, beams, n_best, capacity, length_penalty=0.0, least=0):
    """Scores and tokens, best first, of a search over Python lists.

    log_probs: function of a tuple of tokens to the log-probabilities of the next token.
    """
    alive, best, ended = [(0.0, ())], [], 0
    for position in range(capacity):
        continuing, ending = [], []
        for total, tokens in alive:
            for token, log_prob in enumerate(log_probs(tokens)):
                candidate = (total + log_prob, (*tokens, token))
                if token == end:
                    ending += [candidate] * (position >= least)
                elif token != 0 and position < capacity - 1:
                    continuing.append(candidate)
        for total, tokens in sorted(ending + continuing, reverse=True)[:beams]:
            if tokens[-1] == end:
                best.append((total / ((5 + len(tokens)) / 6) ** length_penalty, tokens))
                ended += 1
        best = sorted(best, reverse=True)[:n_best]
        alive = sorted(continuing, reverse=True)[:beams]
        if ended >= beams or not alive:
            break
        bound = alive[0][0] / ((5 + capacity) / 6) ** length_penalty
        if len(best) == n_best and best[-1][0] >= bound:
            break
    return best


def lists(found: SearchResult) -> list[list[tuple[int, ...]]]:
    """The sequences without padding."""
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
    remove_finished=True,
    xla=False,
    dtype=tf.float32,
    mask=None,
    numbers=None,
) -> SearchResult:
    """Searches in a graph of its own."""
    covers = decoding.coverage_penalty > 0

    @tf.function(jit_compile=xla, autograph=False)
    def go(sources):
        return search(
            toy,
            toy.start(sources, decoding.beams, covers, dtype),
            decoding,
            start=toy.end,
            end=toy.end,
            pad=toy.pad,
            forbidden=(toy.pad,),
            capacity=capacity,
            memory_mask=mask,
            numbers=numbers,
            remove_finished=remove_finished,
        )

    return go(sources)
