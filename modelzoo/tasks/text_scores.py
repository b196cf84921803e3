"""Scores of texts against references: BLEU, chrF, ROUGE, exact match, and SQuAD's.

Outputs are texts `[n]`; of each there are references, `[n]` tuples of texts, of which the one most
like it counts where a score is of single texts.
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
"""Scores by name, and the signature that says how they were counted."""

_ROUGE = ("rouge1", "rouge2", "rougeL")


def names(metric: Metric) -> tuple[str, ...]:
    """The names of a metric's scores."""
    return {"rouge": _ROUGE, "f1": ("f1", "squad_exact_match")}.get(metric, (metric,))


def score(
    metrics: Sequence[Metric], outputs: Sequence[str], references: References
) -> tuple[dict[str, float], dict[str, str]]:
    """Scores by name, and signatures by metric."""
    values: dict[str, float] = {}
    signatures: dict[str, str] = {}
    for metric in metrics:
        found, signature = _FUNCTIONS[metric](outputs, references)
        values |= found
        if signature is not None:
            signatures[metric] = signature
    return values, signatures


def check(metrics: Sequence[Metric]) -> None:
    """Raises UserError where a package is missing that a metric needs."""
    if "rouge" in metrics:
        _rouge_package()


def bleu(outputs: Sequence[str], references: References, tokenize: str = "13a") -> Found:
    """BLEU of the corpus, 0 to 100, by sacreBLEU (Post, 2018) with its own defaults.

    `tokenize="none"` is for texts whose tokens are parted by spaces already.
    """
    from sacrebleu.metrics import BLEU

    # Forced, it does not warn of texts that look tokenized.
    name = "bleu" if tokenize != "none" else "bleu_tokenized"
    return _sacrebleu(name, BLEU(tokenize=tokenize, force=True), outputs, references)


def chrf(outputs: Sequence[str], references: References) -> Found:
    """chrF2 of the corpus, 0 to 100, by sacreBLEU (Popović, 2015)."""
    from sacrebleu.metrics import CHRF

    return _sacrebleu("chrf", CHRF(), outputs, references)


def _sacrebleu(name, metric, outputs, references) -> Found:
    # One stream for each number of a reference; a row that has no more is left out of it.
    most = max(map(len, references))
    streams = [[row[k] if k < len(row) else None for row in references] for k in range(most)]
    value = float(metric.corpus_score(list(outputs), streams).score)
    return {name: value}, str(metric.get_signature())


def rouge(outputs: Sequence[str], references: References) -> Found:
    """Mean F-measures of ROUGE-1, -2 and -L (Lin, 2004), 0 to 1, of stemmed English words."""
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
            "config.task.metrics has 'rouge', which rouge-score counts: "
            "pip install 'modelzoo[rouge]'"
        ) from None
    return rouge_score


def exact_match(outputs: Sequence[str], references: References) -> Found:
    """The share of the outputs that are one of their references, but for runs of white space."""
    pairs = zip(outputs, references, strict=True)
    hits = [_spaced(output) in map(_spaced, texts) for output, texts in pairs]
    return {"exact_match": float(np.mean(hits))}, None


def f1(outputs: Sequence[str], references: References) -> Found:
    """Mean F1 of the words of each output, and share of the exact ones, as SQuAD counts them.

    Words are those of lower-cased text without punctuation and English articles (Rajpurkar et al.,
    2016); an output without any is right where the reference has none either.
    """
    best = [
        np.max([_overlap(_words(output), _words(text)) for text in texts], axis=0)
        for output, texts in zip(outputs, references, strict=True)
    ]
    f1, same = np.mean(best, axis=0)
    return {"f1": float(f1), "squad_exact_match": float(same)}, None


def _overlap(found: list[str], wanted: list[str]) -> tuple[float, float]:
    """F1 of two lists of words, and whether they are the same."""
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
