"""Metrics of generated texts: BLEU, chrF, ROUGE, exact match, and the F1 of SQuAD.

Outputs are texts `[n]`, references are tuples of texts `[n]`. Metrics of single texts use the best
reference of each text.
"""

import collections
import importlib.metadata
import re
import string
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from modelzoo.fields.errors import UserError

Metric = Literal["bleu", "bleu_tokenized", "chrf", "rouge", "exact_match", "f1"]
References = Sequence[tuple[str, ...]]
Values = tuple[dict[str, float], str | None]
"""Values by name, and the signature: how they were computed."""

_ROUGE = ("rouge1", "rouge2", "rougeL")


def names(metric: Metric) -> tuple[str, ...]:
    """Returns the names of a metric's values."""
    return {"rouge": _ROUGE, "f1": ("f1", "squad_exact_match")}.get(metric, (metric,))


def compute(
    metrics: Sequence[Metric], outputs: Sequence[str], references: References
) -> tuple[dict[str, float], dict[str, str]]:
    """Computes values by name, and signatures by metric."""
    values: dict[str, float] = {}
    signatures: dict[str, str] = {}
    for metric in metrics:
        computed, signature = _FUNCTIONS[metric](outputs, references)
        values |= computed
        if signature is not None:
            signatures[metric] = signature
    return values, signatures


def check(metrics: Sequence[Metric]) -> None:
    """Raises UserError if a metric needs a package that is not installed."""
    if "rouge" in metrics:
        _rouge_package()


def bleu(outputs: Sequence[str], references: References, tokenize: str = "13a") -> Values:
    """Computes corpus BLEU, 0 to 100, by sacreBLEU (Post, 2018) with its defaults.

    `tokenize="none"` is for texts whose tokens are separated by spaces.
    """
    from sacrebleu.metrics import BLEU

    # `force` silences the warning about texts that look tokenized.
    name = "bleu" if tokenize != "none" else "bleu_tokenized"
    return _sacrebleu(name, BLEU(tokenize=tokenize, force=True), outputs, references)


def chrf(outputs: Sequence[str], references: References) -> Values:
    """Computes corpus chrF2, 0 to 100, by sacreBLEU (Popović, 2015)."""
    from sacrebleu.metrics import CHRF

    return _sacrebleu("chrf", CHRF(), outputs, references)


def _sacrebleu(name, metric, outputs, references) -> Values:
    # One stream per reference number; rows with fewer references have None.
    most = max(map(len, references))
    streams = [[row[k] if k < len(row) else None for row in references] for k in range(most)]
    value = float(metric.corpus_score(list(outputs), streams).score)
    return {name: value}, str(metric.get_signature())


def rouge(outputs: Sequence[str], references: References) -> Values:
    """Computes the mean F1 of ROUGE-1, -2 and -L (Lin, 2004), 0 to 1, on stemmed English words."""
    package = _rouge_package()
    scorer = package.rouge_scorer.RougeScorer(list(_ROUGE), use_stemmer=True)
    each = [scorer.score_multi(r, o) for o, r in zip(outputs, references, strict=True)]
    means = {name: float(np.mean([row[name].fmeasure for row in each])) for name in _ROUGE}
    return means, f"rouge-score:{importlib.metadata.version('rouge-score')}|stemmer:yes"


def _rouge_package():
    try:
        import rouge_score.rouge_scorer
    except ImportError:
        raise UserError(
            "config.task.metrics has 'rouge', which needs the package rouge-score: "
            "pip install 'modelzoo[rouge]'"
        ) from None
    return rouge_score


def exact_match(outputs: Sequence[str], references: References) -> Values:
    """Computes the share of outputs that equal a reference, except for white space."""
    pairs = zip(outputs, references, strict=True)
    hits = [_spaced(output) in map(_spaced, texts) for output, texts in pairs]
    return {"exact_match": float(np.mean(hits))}, None


def f1(outputs: Sequence[str], references: References) -> Values:
    """Computes the mean F1 of words and the share of exact matches, as SQuAD defines them.

    The words are those of lowercased text without punctuation and English articles. As in version
    1.1 (Rajpurkar et al., 2016), an output without words has an F1 of 0, even if it is an exact
    match.
    """
    best = [
        np.max([_overlap(_words(output), _words(text)) for text in texts], axis=0)
        for output, texts in zip(outputs, references, strict=True)
    ]
    f1, same = np.mean(best, axis=0)
    return {"f1": float(f1), "squad_exact_match": float(same)}, None


def _overlap(output: list[str], reference: list[str]) -> tuple[float, float]:
    """Returns the F1 of two lists of words, and 1 if they are equal, else 0."""
    same = float(output == reference)
    common = (collections.Counter(output) & collections.Counter(reference)).total()
    return 2 * common / max(1, len(output) + len(reference)), same


def _words(text: str) -> list[str]:
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _bleu_tokenized(outputs: Sequence[str], references: References) -> Values:
    return bleu(outputs, references, tokenize="none")


_FUNCTIONS: dict[str, Callable[[Sequence[str], References], Values]] = {
    "bleu": bleu,
    "bleu_tokenized": _bleu_tokenized,
    "chrf": chrf,
    "rouge": rouge,
    "exact_match": exact_match,
    "f1": f1,
}
