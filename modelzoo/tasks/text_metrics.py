"""Metrics of texts against references: BLEU, chrF, ROUGE, exact match, and SQuAD's.

Outputs are texts `[n]`, references tuples of texts `[n]`. Metrics of single texts use the closest
reference of each.
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
Found = tuple[dict[str, float], str | None]
"""Values by name, and the signature that says how they were computed."""

_ROUGE = ("rouge1", "rouge2", "rougeL")


def names(metric: Metric) -> tuple[str, ...]:
    """The names of a metric's values."""
    return {"rouge": _ROUGE, "f1": ("f1", "squad_exact_match")}.get(metric, (metric,))


def compute(
    metrics: Sequence[Metric], outputs: Sequence[str], references: References
) -> tuple[dict[str, float], dict[str, str]]:
    """Values by name, and signatures by metric."""
    values: dict[str, float] = {}
    signatures: dict[str, str] = {}
    for metric in metrics:
        found, signature = _FUNCTIONS[metric](outputs, references)
        values |= found
        if signature is not None:
            signatures[metric] = signature
    return values, signatures


def check(metrics: Sequence[Metric]) -> None:
    """Raises UserError if a metric needs a package that is not installed."""
    if "rouge" in metrics:
        _rouge_package()


def bleu(outputs: Sequence[str], references: References, tokenize: str = "13a") -> Found:
    """Corpus BLEU, 0 to 100, by sacreBLEU (Post, 2018) with its own defaults.

    `tokenize="none"` is for texts whose tokens are separated by spaces.
    """
    from sacrebleu.metrics import BLEU

    # `force` silences the warning about texts that look tokenized.
    name = "bleu" if tokenize != "none" else "bleu_tokenized"
    return _sacrebleu(name, BLEU(tokenize=tokenize, force=True), outputs, references)


def chrf(outputs: Sequence[str], references: References) -> Found:
    """Corpus chrF2, 0 to 100, by sacreBLEU (Popović, 2015)."""
    from sacrebleu.metrics import CHRF

    return _sacrebleu("chrf", CHRF(), outputs, references)


def _sacrebleu(name, metric, outputs, references) -> Found:
    # One stream per reference number; rows with fewer references have None.
    most = max(map(len, references))
    streams = [[row[k] if k < len(row) else None for row in references] for k in range(most)]
    value = float(metric.corpus_score(list(outputs), streams).score)
    return {name: value}, str(metric.get_signature())


def rouge(outputs: Sequence[str], references: References) -> Found:
    """Mean F-measures of ROUGE-1, -2 and -L (Lin, 2004), 0 to 1, on stemmed English words."""
    package = _rouge_package()
    scorer = package.rouge_scorer.RougeScorer(list(_ROUGE), use_stemmer=True)
    each = [scorer.score_multi(r, o) for o, r in zip(outputs, references, strict=True)]
    means = {name: float(np.mean([of[name].fmeasure for of in each])) for name in _ROUGE}
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


def exact_match(outputs: Sequence[str], references: References) -> Found:
    """The share of the outputs that equal a reference, up to runs of white space."""
    pairs = zip(outputs, references, strict=True)
    hits = [_spaced(output) in map(_spaced, texts) for output, texts in pairs]
    return {"exact_match": float(np.mean(hits))}, None


def f1(outputs: Sequence[str], references: References) -> Found:
    """Mean F1 of the words of each output, and share of exact matches, as SQuAD defines them.

    Words are those of lower-cased text without punctuation and English articles (Rajpurkar et al.,
    2016); an output without words is right if the reference has none either.
    """
    best = [
        np.max([_overlap(_words(output), _words(text)) for text in texts], axis=0)
        for output, texts in zip(outputs, references, strict=True)
    ]
    f1, same = np.mean(best, axis=0)
    return {"f1": float(f1), "squad_exact_match": float(same)}, None


def _overlap(found: list[str], wanted: list[str]) -> tuple[float, float]:
    """F1 of two lists of words, and 1 if they are equal, else 0."""
    same = float(found == wanted)
    common = (collections.Counter(found) & collections.Counter(wanted)).total()
    return (2 * common / (len(found) + len(wanted)) if found and wanted else same), same


def _words(text: str) -> list[str]:
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _bleu_tokenized(outputs: Sequence[str], references: References) -> Found:
    return bleu(outputs, references, tokenize="none")


_FUNCTIONS: dict[str, Callable[[Sequence[str], References], Found]] = {
    "bleu": bleu,
    "bleu_tokenized": _bleu_tokenized,
    "chrf": chrf,
    "rouge": rouge,
    "exact_match": exact_match,
    "f1": f1,
}
