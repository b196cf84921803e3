"""How sequences are searched for."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Decoding:
    """Greedy search, sampling, or beam search.

    One beam without a temperature is greedy search: always the best next token.

    beams: partial sequences that beam search keeps; 1 is greedy search or sampling.
    n_best: how many sequences of a beam search are given, the best first.
    temperature: what logits are divided by before a token is drawn; None does not draw.
    top_k: draw from that many of the best tokens; None from all.
    top_p: draw from the fewest best tokens that have this share of the probability (Holtzman et
        al., 2020); None from all.
    seed: of what is drawn.
    length_penalty: the exponent alpha of a sequence's length in its score, Wu et al. (2016),
        equation 14; 0 scores by log-probability alone.
    coverage_penalty: the weight beta of source tokens that got too little attention, ibid.
    min_length: least number of tokens before the end.
    max_length: most of them; None is what the longest of the data's lengths has room for.
    """

    beams: int = 1
    n_best: int = 1
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    length_penalty: float = 0.0
    coverage_penalty: float = 0.0
    min_length: int = 0
    max_length: int | None = None

    def __post_init__(self):
        for name, least in (("beams", 1), ("n_best", 1), ("top_k", 1), ("max_length", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        for name in ("length_penalty", "coverage_penalty", "min_length"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.n_best > self.beams:
            raise ValueError(f"n_best must be at most beams, {self.beams}, got {self.n_best}")
        if self.max_length is not None and self.min_length > self.max_length:
            raise ValueError(
                f"min_length must be at most max_length, {self.max_length}, got {self.min_length}"
            )
        if self.temperature is not None:
            if not self.temperature > 0:
                raise ValueError(f"temperature must be above 0, got {self.temperature}")
            if self.beams > 1:
                raise ValueError(f"beams must be 1 where temperature draws, got {self.beams}")
        else:
            for name in ("top_k", "top_p"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{name} must be None where temperature is, got {getattr(self, name)}"
                    )
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")
