"""Tasks: the objective of training, and the inputs and outputs of a served model."""

from typing import TYPE_CHECKING

from modelzoo.fields.lazy import lazy_names

if TYPE_CHECKING:
    from modelzoo.tasks.classification import Classification as Classification
    from modelzoo.tasks.regression import Regression as Regression
    from modelzoo.tasks.tagging import Tagging as Tagging
    from modelzoo.tasks.text_to_text import TextToText as TextToText
    from modelzoo.tasks.token_classification import TokenClassification as TokenClassification
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
