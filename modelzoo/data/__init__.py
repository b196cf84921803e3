"""Data as source x inputs x target: where rows come from, what a model sees, what it learns."""

from typing import TYPE_CHECKING

from modelzoo.fields.lazy import lazy_names

if TYPE_CHECKING:
    from modelzoo.data.augment import Augment as Augment
    from modelzoo.data.dataset import Dataset as Dataset
    from modelzoo.data.inputs.image import Image as Image
    from modelzoo.data.inputs.series import Series as Series
    from modelzoo.data.inputs.text import Text as Text
    from modelzoo.data.presets import cldr_dates as cldr_dates
    from modelzoo.data.presets import cldr_names as cldr_names
    from modelzoo.data.presets import digits as digits
    from modelzoo.data.sources.class_folders import ClassFolders as ClassFolders
    from modelzoo.data.sources.cldr_dates import CldrDates as CldrDates
    from modelzoo.data.sources.cldr_names import CldrNames as CldrNames
    from modelzoo.data.sources.digits import Digits as Digits
    from modelzoo.data.sources.npz import Npz as Npz
    from modelzoo.data.sources.parallel_text import ParallelText as ParallelText
    from modelzoo.data.sources.table import Table as Table
    from modelzoo.data.sources.tfds import Tfds as Tfds
    from modelzoo.data.targets.class_label import ClassLabel as ClassLabel
    from modelzoo.data.targets.tags import Tags as Tags
    from modelzoo.data.targets.text_target import TextTarget as TextTarget
    from modelzoo.data.targets.token_labels import TokenLabels as TokenLabels
    from modelzoo.data.targets.values import Values as Values
    from modelzoo.data.tokenizers.characters import Characters as Characters
    from modelzoo.data.tokenizers.subwords import Subwords as Subwords
    from modelzoo.data.tokenizers.words import Words as Words
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
