"""Images as the inputs of a task: from raw examples to what the model takes and what is served."""

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.augment import Augment, mixing
from modelzoo.data.images import ImageDecoder
from modelzoo.data.spec import ImageSpec
from modelzoo.fields.errors import UserError
from modelzoo.tasks.base import BoundTask, TaskConfig, numbers_of
from modelzoo.tasks.task import Tensors
from modelzoo.tasks.views import Views, mean, views_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageInputs(TaskConfig):
    """Fields that every task on images takes.

    augment: random changes of the training images.
    mean, std: of each channel, one number for each, of pixels in [0, 1]; the model sees
        (pixel - mean) / std. None is 0.5, which gives [-1, 1].
    test_views: the views of each image whose predictions are averaged, in evaluation, prediction
        and the exported graph alike, never in training; see `modelzoo.tasks.views`.
    """

    augment: Augment = dataclasses.field(default_factory=Augment)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    test_views: Views = "one"

    @property
    def wants_encoded(self) -> bool:
        """Whether training takes the images as they are on disk, to take parts of them."""
        return self.augment.crop_area is not None

    @property
    def pairs_examples(self) -> bool:
        """Whether a training batch is made of pairs of examples, so that it must be even."""
        return self.augment.mixes

    def __post_init__(self):
        super().__post_init__()
        if self.std is not None and not min(self.std, default=0) > 0:
            raise ValueError(f"std must be numbers > 0, got {self.std}")


class ImageTask(BoundTask):
    """The part of a task that is about images.

    Raises UserError where `mean`, `std`, `augment` or `test_views` do not fit the data's.
    """

    kind = "image"
    feed = "image"
    arguments = "IMAGE_OR_FOLDER"
    more_scores = False

    def __init__(self, config: ImageInputs, spec: ImageSpec):
        super().__init__(config, spec)
        config.check_lengths(spec.channels, "channels", "mean", "std")
        if refused := config.augment.refused(spec.channels):
            raise UserError(f"config.task.augment.{refused}")
        if config.test_views == "flip_shift" and min(spec.height, spec.width) < 2:
            raise UserError(
                "config.task.test_views=flip_shift needs images of at least 2x2, the data's are "
                f"{spec.height}x{spec.width}"
            )
        self._decoder = ImageDecoder(spec)
        mean = numbers_of(config.mean, 0.5, spec.channels)
        std = numbers_of(config.std, 0.5, spec.channels)
        self._scale = (1.0 / (255.0 * std)).astype(np.float32)
        self._offset = (-mean / std).astype(np.float32)
        self._fill = np.clip(np.round(255 * mean), 0, 255).astype(np.uint8)

    @property
    def crop(self) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None:
        """Makes a training image of one as the source has it and its seed; None for no crop."""
        if self.config.augment.crop_area is None:
            return None
        return functools.partial(self.config.augment.crop, spec=self.spec)

    def input_words(self) -> str:
        """Such as `images 8x8x1`."""
        return f"images {'x'.join(map(str, self.spec.shape))}"

    def model_inputs(self) -> keras.InputSpec:
        """Float32 `[batch, height, width, channels]`."""
        return keras.InputSpec(shape=(None, *self.spec.shape), dtype="float32")

    def features(self, raw: Tensors, training: bool, seeds: tf.Tensor | None = None) -> Tensors:
        """Decodes where needed, augments in training, normalises: `image` float32 `[n, H, W, C]`.

        `raw` holds `image` (uint8 `[n, H, W, C]`) or `encoded` (string `[n]`: PNG, JPEG and the
        like, any size); what else it holds passes through. `seeds` (int64 `[n, 2]`) are needed in
        training. There the images are as `crop` made them, and where they are mixed with each
        other, `label` is what `mixed_targets` says.
        """
        rest = {key: value for key, value in raw.items() if key not in ("image", "encoded")}
        image = raw["image"] if "image" in raw else self._decoder.decode_batch(raw["encoded"])
        if training:
            image = self.config.augment(image, seeds, self._fill)
        image = tf.cast(image, tf.float32) * self._scale + self._offset
        batch = {"image": image, **rest}
        if training and self.config.augment.mixes:
            batch = self.mixed_targets(self.config.augment.mix(batch, seeds))
        return batch

    def mixed_targets(self, batch: Tensors) -> Tensors:
        """The batch of `Augment.mix` with its targets: `label`, floats, in the shares of `mix`."""
        return {**batch, "label": mixing.blend(batch["label"], batch["mix"])}

    def outputs(self, model: keras.Model, batch: Tensors, training: bool = False) -> Tensors:
        """`logits` `[n, outputs]`; outside of training of all views of the images, as one."""
        views = views_of(batch["image"], "one" if training else self.config.test_views)
        logits = [self.logits(model, image, training) for _, image in views]
        shares = [share for share, _ in views]
        return {"logits": logits[0] if len(logits) == 1 else self.mean_of_views(shares, logits)}

    def mean_of_views(self, shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
        """The logits of several views, each `[n, ...]`, as one by their shares."""
        return mean(shares, logits)

    def serves(self) -> dict[str, tuple[str, tf.TensorSpec]]:
        """`serving_default` (`images`: uint8 `[n, H, W, C]`), `image_bytes` (`encoded`: string).

        `image_bytes` takes encoded images of any size; one that cannot be decoded fails the request
        as an invalid argument.
        """
        images = tf.TensorSpec([None, *self.spec.shape], tf.uint8, name="images")
        encoded = tf.TensorSpec([None], tf.string, name="encoded")
        return {"image": ("serving_default", images), "encoded": ("image_bytes", encoded)}
