"""What a model's `build` is told of its input, where `keras.InputSpec` does not say it all."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class TokenSpec:
    """Tokens `[batch, length]`, numbers below `vocab_size`; 0 is padding."""

    shape: tuple[int | None, ...]
    dtype: str
    vocab_size: int


@dataclasses.dataclass(frozen=True)
class PairTokens:
    """Two sequences of tokens, 0 where padded: `source` `[batch, source_length]` and `target`.

    `source` ends with the last id of its vocabulary. `target` `[batch, target_length]` is what a
    decoder reads: the last id of its vocabulary, then the tokens; the logits at each place are of
    the token that follows. With `shared` both vocabularies are one. The lengths are the longest
    that are trained on; a model may be asked for others.
    """

    source_vocab: int
    target_vocab: int
    shared: bool
    source_length: int
    target_length: int
