"""Classification of images: one label for each."""

import dataclasses

import tensorflow as tf

from modelzoo.data.augment import mixing
from modelzoo.tasks.classification import ClassificationHead, ClassTargets
from modelzoo.tasks.images import ImageInputs, ImageTask
from modelzoo.tasks.task import Tensors
from modelzoo.tasks.views import mean_softmax


class ImageClassificationTask(ClassificationHead, ImageTask):
    """`ImageClassification` on given data: a `modelzoo.tasks.task.Task`."""

    def mixed_targets(self, batch: Tensors) -> Tensors:
        """The batch with `label_2`, the label of each row's partner, which has the other share."""
        return {**batch, "label_2": mixing.partners(batch["label"])}

    def mean_of_views(self, shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
        """Logits of the mean of the views' probabilities."""
        return mean_softmax(shares, logits)


@dataclasses.dataclass(frozen=True)
class ImageClassification(ClassTargets, ImageInputs):
    """Learns one label for each image; fields in `ClassTargets` and `ImageInputs`."""

    bound = ImageClassificationTask
