"""The protocol between a decoder, such as that of a translation model, and the search."""

from typing import Any, Protocol

import tensorflow as tf

State = dict[str, Any]
"""What a decoder knows of `n` examples and `k` sequences of each: nests of tensors.

`shared` holds tensors `[n, ...]`, one for each example; `rows` tensors `[n, k, ...]`, one for each
sequence; `position` (int32 scalar) is how many tokens were taken. A search may gather along `n` in
both, and along `k` in `rows`: that is how sequences are continued from others, and how examples
leave. What is expensive to gather belongs into `shared`.
"""


class Decoder(Protocol):
    """Gives logits of the next token; all inputs and outputs have static ranks."""

    def step(self, tokens: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Logits `[n, k, vocabulary]` (at least float32) after one more token of each sequence.

        tokens: int32 `[n, k]`. The state returned has the shapes of the one given. Where its `rows`
        hold `coverage` (float32 `[n, k, source]`), that grows by the attention on the source.
        """
