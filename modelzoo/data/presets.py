"""Data sets that need no network, as functions that return a config."""

from typing import Any

from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs.image import Image
from modelzoo.data.inputs.text import Text
from modelzoo.data.sources.cldr_dates import LANGUAGES, CldrDates, language_token
from modelzoo.data.sources.cldr_names import CldrNames
from modelzoo.data.sources.digits import Digits
from modelzoo.data.targets.class_label import ClassLabel
from modelzoo.data.targets.text_target import TextTarget
from modelzoo.data.tokenizers import Characters


def digits(**changes: Any) -> Dataset:
    """Handwritten digits, 8x8 grey images of ten classes; `changes` are fields of `Dataset`.

    Example:
        >>> digits(test_split="test[:100]").test_split
        'test[:100]'
    """
    return Dataset(**{"source": Digits(), "inputs": Image(), "target": ClassLabel(), **changes})


def cldr_names(**changes: Any) -> Dataset:
    """Names in 24 languages, as characters, to tell the language; see `CldrNames`.

    Example:
        >>> cldr_names().inputs.lengths
        (8, 12, 16, 24, 32, 64)
    """
    inputs = Text(tokenizer=Characters(), lengths=(8, 12, 16, 24, 32, 64))
    return Dataset(**{"source": CldrNames(), "inputs": inputs, "target": ClassLabel(), **changes})


def cldr_dates(**changes: Any) -> Dataset:
    """Dates to translate between 14 languages, as characters; see `CldrDates`.

    Example:
        >>> cldr_dates().target.shares_vocabulary
        True
    """
    inputs = Text(
        tokenizer=Characters(special=tuple(map(language_token, LANGUAGES))),
        lengths=(12, 16, 20, 24, 32, 40),
    )
    return Dataset(**{"source": CldrDates(), "inputs": inputs, "target": TextTarget(), **changes})
