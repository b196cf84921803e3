"""Tagging of images: any number of tags for each."""

import dataclasses

import tensorflow as tf

from modelzoo.tasks.images import ImageInputs, ImageTask
from modelzoo.tasks.tagging import TaggingHead, TagTargets
from modelzoo.tasks.views import mean_sigmoid


class ImageTaggingTask(TaggingHead, ImageTask):
    """`ImageTagging` on given data: a `modelzoo.tasks.task.Task`."""

    def mean_of_views(self, shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
        """The logits of the mean of the views' probabilities."""
        return mean_sigmoid(shares, logits)


@dataclasses.dataclass(frozen=True)
class ImageTagging(TagTargets, ImageInputs):
    """Learns which tags each image has; fields in `TagTargets` and `ImageInputs`."""

    bound = ImageTaggingTask
