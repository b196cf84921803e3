"""Protocols between models that decode and the search."""

from collections.abc import Mapping
from typing import Any, Protocol

import tensorflow as tf

State = dict[str, Any]
"""State of a decoder for `n` examples with `k` beams each: nested dicts of tensors.

`shared` holds tensors `[n, ...]`, one entry per example. `beams` holds tensors `[n, k, ...]`, one
entry per beam. `position`, an int32 scalar, is the number of tokens read. A search gathers along
`n` in both, to remove finished examples, and along `k` in `beams`, to continue a beam from another.
Tensors that are expensive to gather belong in `shared`.
"""


class Decoder(Protocol):
    """A model that computes the logits of the next token; all tensors have static ranks."""

    def step(self, tokens: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Reads one more token of each beam.

        Args:
            tokens: int32 `[n, k]`.
            state: the state before these tokens. If `beams` holds `coverage`, float32
                `[n, k, memory_length]`, the step adds its attention to the memory.

        Returns:
            Logits `[n, k, vocab_size]` of the next token, at least float32, and the new state,
            with the same shapes.
        """


class EncoderDecoder(Decoder, Protocol):
    """A decoder that attends to encoded inputs."""

    encoder_inputs: tuple[str, ...]
    """Names of the inputs of `start`: the tokens and their padding mask."""

    def start(
        self,
        inputs: Mapping[str, tf.Tensor],
        beams: int,
        capacity: int,
        coverage: bool = False,
    ) -> State:
        """Returns the state before the first token.

        Args:
            inputs: the encoder's inputs by name, `[n, memory_length]` each.
            beams: beams per example.
            capacity: maximum number of tokens of a beam.
            coverage: add `coverage` to the state's `beams`.
        """
