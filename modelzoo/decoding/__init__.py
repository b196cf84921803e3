"""Greedy search, sampling and beam search for sequences of tokens."""

from typing import TYPE_CHECKING

from modelzoo.fields.lazy import lazy_names

if TYPE_CHECKING:
    from modelzoo.decoding.config import Decoding as Decoding
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
