"""What a model's `build` is told of its input, where `keras.InputSpec` does not say it all."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class TokenSpec:
    """Tokens `[batch, length]`, numbers below `vocab_size`; 0 is padding."""

    shape: tuple[int | None, ...]
    dtype: str
    vocab_size: int
