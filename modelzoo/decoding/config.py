"""Config of the search for sequences."""

import dataclasses

from modelzoo.fields.checks import check_at_least, check_positive
from modelzoo.fields.errors import FieldError


@dataclasses.dataclass(frozen=True)
class Decoding:
    """Greedy search, sampling or beam search.

    One beam without a temperature is greedy search, which always takes the best next token.

    beams: number of beams; 1 is greedy search or sampling.
    n_best: number of sequences that beam search returns, best first.
    temperature: divisor of the logits in sampling; None does not sample.
    top_k: sample from this number of best tokens; None samples from all.
    top_p: sample from the smallest set of best tokens with at least this probability (Holtzman et
        al., 2020); None samples from all.
    seed: seed of sampling; a text's draws follow from it and the number of the text in the data, in
        the texts to predict or in the request.
    length_penalty: exponent alpha of a sequence's length in its score (Wu et al., 2016, equation
        14); 0 scores by log-probability alone.
    coverage_penalty: weight beta of source tokens with too little attention in the score (ibid.).
    min_length: minimum number of tokens before the end token.
    max_length: maximum number of tokens before the end token; None is the longest target length of
        the data.
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
        check_at_least(
            1, beams=self.beams, n_best=self.n_best, top_k=self.top_k, max_length=self.max_length
        )
        check_at_least(
            0,
            length_penalty=self.length_penalty,
            coverage_penalty=self.coverage_penalty,
            min_length=self.min_length,
        )
        check_positive(temperature=self.temperature)
        if self.n_best > self.beams:
            raise FieldError("n_best", f"must be at most beams, {self.beams}, got {self.n_best}")
        if self.max_length is not None and self.min_length > self.max_length:
            raise FieldError(
                "min_length",
                f"must be at most max_length, {self.max_length}, got {self.min_length}",
            )
        if self.temperature is not None and self.beams > 1:
            raise FieldError("beams", f"must be 1 with a temperature, got {self.beams}")
        for name in ("top_k", "top_p"):
            value = getattr(self, name)
            if self.temperature is None and value is not None:
                raise FieldError(name, f"must be None without a temperature, got {value}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise FieldError("top_p", f"must be above 0 and at most 1, got {self.top_p}")
