"""Regression on images: numbers for each."""

import dataclasses

from modelzoo.tasks.images import ImageInputs, ImageTask
from modelzoo.tasks.regression import RegressionHead, ValueTargets


class ImageRegressionTask(RegressionHead, ImageTask):
    """`ImageRegression` on given data: a `modelzoo.tasks.task.Task`."""


@dataclasses.dataclass(frozen=True)
class ImageRegression(ValueTargets, ImageInputs):
    """Learns numbers for each image; fields in `ValueTargets` and `ImageInputs`."""

    bound = ImageRegressionTask
