"""Texts as the inputs of a task, and the tasks on them."""

import dataclasses

import tensorflow as tf

from modelzoo.data.text_source import ends
from modelzoo.fields.input_specs import TokenSpec
from modelzoo.tasks.base import BoundTask
from modelzoo.tasks.classification import ClassificationHead, ClassTargets
from modelzoo.tasks.labelling import LabellingHead
from modelzoo.tasks.regression import RegressionHead, ValueTargets
from modelzoo.tasks.tagging import TaggingHead, TagTargets
from modelzoo.tasks.task import Tensors


class TextTask(BoundTask):
    """The part of a task that is about texts."""

    kind = "text"
    feed = "tokens"
    arguments = "TEXT_FILE"

    def input_words(self) -> str:
        """Such as `texts of up to 256 tokens, 30000 words`."""
        return f"texts of up to {self.spec.lengths[-1]} tokens, {self.spec.tokenizer.describe()}"

    def model_inputs(self) -> TokenSpec:
        """Int32 `[batch, length]`, both of any size."""
        size = self.spec.tokenizer.vocab_size
        return TokenSpec(shape=(None, None), dtype="int32", vocab_size=size)

    def features(self, raw: Tensors, training: bool, seeds: tf.Tensor | None = None) -> Tensors:
        """`tokens` int32 `[n, length]`, 0 in the padding; the texts themselves are left out.

        `raw` holds `tokens`, as a source gives them, or `text` (string `[n]`), which is cut to the
        longest of the spec's lengths and padded to the longest of its texts; what else it holds
        passes through.
        """
        rest = {key: value for key, value in raw.items() if key not in ("text", "tokens")}
        return {"tokens": raw["tokens"] if "tokens" in raw else self._tokens(raw["text"]), **rest}

    def _tokens(self, texts: tf.Tensor) -> tf.Tensor:
        head, tail = ends(self.spec.lengths[-1], self.spec.keep)
        ids = self.spec.tokenizer.ids(texts)
        last = ids[:, head:]
        last = last[:, -tail:] if tail else last[:, :0]
        tokens = tf.concat([ids[:, :head], last], axis=1).to_tensor()
        # A text without any token has one of padding.
        return tf.pad(tokens, [[0, 0], [0, tf.maximum(1 - tf.shape(tokens)[1], 0)]])

    def real(self, tokens: tf.Tensor) -> tf.Tensor:
        """Which tokens are no padding: bool `[n, length]`."""
        return tokens != 0

    def serves(self) -> dict[str, tuple[str, tf.TensorSpec]]:
        """`serving_default` (`text`: string `[n]`); bytes that are not UTF-8 are U+FFFD."""
        return {"text": ("serving_default", tf.TensorSpec([None], tf.string, name="text"))}


class TextClassificationTask(ClassificationHead, TextTask):
    """`TextClassification` on given data: a `modelzoo.tasks.task.Task`."""


class TextTaggingTask(TaggingHead, TextTask):
    """`TextTagging` on given data: a `modelzoo.tasks.task.Task`."""


class TextRegressionTask(RegressionHead, TextTask):
    """`TextRegression` on given data: a `modelzoo.tasks.task.Task`."""


class SequenceLabellingTask(LabellingHead, TextTask):
    """`SequenceLabelling` on given data: a `modelzoo.tasks.task.Task`."""


@dataclasses.dataclass(frozen=True)
class TextClassification(ClassTargets):
    """Learns one class for each text; fields in `ClassTargets`."""

    bound = TextClassificationTask


@dataclasses.dataclass(frozen=True)
class TextTagging(TagTargets):
    """Learns which tags each text has; fields in `TagTargets`."""

    bound = TextTaggingTask


@dataclasses.dataclass(frozen=True)
class TextRegression(ValueTargets):
    """Learns numbers for each text; fields in `ValueTargets`."""

    bound = TextRegressionTask


@dataclasses.dataclass(frozen=True)
class SequenceLabelling(ClassTargets):
    """Learns one class for each token of a text; fields in `ClassTargets`."""

    bound = SequenceLabellingTask
