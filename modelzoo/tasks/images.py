"""What all tasks on images have in common: from raw examples to the model and to what is served."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.augment import Augment, mixing
from modelzoo.data.images import ImageDecoder
from modelzoo.data.spec import ImageSpec, Targets
from modelzoo.errors import UserError
from modelzoo.tasks import names
from modelzoo.tasks.task import Tensors
from modelzoo.tasks.views import Views, mean, views_of

_TASKS = {"class": "ImageClassification", "tags": "ImageTagging", "values": "ImageRegression"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageInputs:
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
        if self.std is not None and not min(self.std, default=0) > 0:
            raise ValueError(f"std must be numbers > 0, got {self.std}")

    def check_lengths(self, wanted: int, things: str, *keys: str) -> None:
        """Raises UserError where a field has not one number for each of the data's things."""
        for key in keys:
            value = getattr(self, key)
            if value is not None and len(value) != wanted:
                raise UserError(
                    f"config.task.{key} must have one number for each of the data's {wanted} "
                    f"{things}, got {len(value)}"
                )


class ImageTask:
    """The shared part of a `modelzoo.tasks.task.Task` on images.

    targets: what is learned, as in `ImageSpec`. things: what the names of these are in words.
    Raises UserError where the data has other targets, or `mean`, `std`, `augment` or `test_views`
    do not fit its images.
    """

    targets: Targets
    things: str
    lower_is_better = ("loss",)

    def __init__(self, config: ImageInputs, spec: ImageSpec):
        if spec.targets != self.targets:
            raise UserError(
                f"config.task is {type(config).__name__}, which learns targets {self.targets!r}, "
                f"but those of the data are {spec.targets!r}: choose {_TASKS[spec.targets]} or "
                "other data in the config file"
            )
        config.check_lengths(spec.channels, "channels", "mean", "std")
        if refused := config.augment.refused(spec.channels):
            raise UserError(f"config.task.augment.{refused}")
        if config.test_views == "flip_shift" and min(spec.height, spec.width) < 2:
            raise UserError(
                "config.task.test_views=flip_shift needs images of at least 2x2, the data's are "
                f"{spec.height}x{spec.width}"
            )
        self.config = config
        self.spec = spec
        self._decoder = ImageDecoder(spec)
        mean = np.full(spec.channels, 0.5) if config.mean is None else np.array(config.mean)
        std = np.full(spec.channels, 0.5) if config.std is None else np.array(config.std)
        self._scale = (1.0 / (255.0 * std)).astype(np.float32)
        self._offset = (-mean / std).astype(np.float32)
        self._fill = np.clip(np.round(255 * mean), 0, 255).astype(np.uint8)

    @property
    def crop(self) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None:
        """Makes a training image of one as the source has it and its seed; None for no crop."""
        if self.config.augment.crop_area is None:
            return None
        return functools.partial(self.config.augment.crop, spec=self.spec)

    def describe(self) -> str:
        """Such as `10 classes, images 8x8x1`."""
        size = "x".join(map(str, self.spec.shape))
        return f"{self.spec.num_classes} {self.things}, images {size}"

    def build_model(self, model_config: Any) -> keras.Model:
        """Builds `model_config` for the data's images and targets: `[batch, H, W, C]` -> logits.

        Every build of one config gives the same variable paths.
        """
        inputs = keras.InputSpec(shape=(None, *self.spec.shape), dtype="float32")
        with names.counted_from_zero():
            return model_config.build(inputs, self.spec.num_classes)

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
        """`logits` `[n, outputs]`, float64 under a float64 policy and else float32."""
        shares, logits = [], []
        for share, image in views_of(batch["image"], "one" if training else self.config.test_views):
            output = model(image, training=training)
            shares.append(share)
            logits.append(output if output.dtype == tf.float64 else tf.cast(output, tf.float32))
        return {"logits": logits[0] if len(logits) == 1 else self.mean_of_views(shares, logits)}

    def mean_of_views(self, shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
        """The logits of several views, each `[n, ...]`, as one by their shares."""
        return mean(shares, logits)

    def collected(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """Nothing: all scores come from sums."""
        return {}

    def align(self, spec: ImageSpec) -> Callable[[Tensors], Tensors]:
        """A function of raw batches of other data that brings labels into this task's order.

        It goes by the names. Raises UserError where the data has other targets, or a name that is
        none of this task's.
        """
        if spec.targets != self.targets:
            raise UserError(
                f"the model learned targets {self.targets!r}, but those of the data are "
                f"{spec.targets!r}"
            )
        known = self.spec.class_names
        unknown = [name for name in spec.class_names if name not in set(known)]
        if unknown:
            raise UserError(
                f"the data has {len(unknown)} of its {self.things} that the model does not know, "
                f"the first {unknown[0]!r}: it knows {', '.join(known[:10])}"
                f"{', ...' if known[10:] else ''}"
            )
        return lambda raw: {**raw, "label": self._aligned(raw["label"], spec.class_names)}

    def _aligned(self, labels: tf.Tensor, given: tuple[str, ...]) -> tf.Tensor:
        """Labels of columns of these names, of which one that is missing is 0, in this order."""
        order = [given.index(n) if n in given else len(given) for n in self.spec.class_names]
        return tf.gather(tf.pad(labels, [[0, 0], [0, 1]]), order, axis=1)

    def served(self, outputs: Tensors) -> Tensors:
        """What the signatures give for `outputs`, each `[n, ...]`."""
        raise NotImplementedError

    def signatures(self, model: keras.Model) -> dict[str, Callable]:
        """`serving_default` (`images`: uint8 `[n, H, W, C]`), `image_bytes` (`encoded`: string).

        Both give what `served` does. `image_bytes` takes encoded images of any size; one that
        cannot be decoded fails the request as an invalid argument.
        """

        def answer(raw: Tensors) -> Tensors:
            batch = self.features(raw, training=False)
            n = tf.shape(batch["image"])[0]
            # oneDNN's fused convolution fails on an empty batch: there a blank image runs along.
            # (Not by tf.pad: that is fused into the convolution, which drops the batch's part.)
            blank = tf.zeros([tf.maximum(1 - n, 0), *self.spec.shape])
            batch["image"] = tf.concat([batch["image"], blank], axis=0)
            outputs = self.outputs(model, batch)
            return self.served({name: value[:n] for name, value in outputs.items()})

        @tf.function(
            input_signature=[tf.TensorSpec([None, *self.spec.shape], tf.uint8, name="images")]
        )
        def serving_default(images):
            return answer({"image": images})

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="encoded")])
        def image_bytes(encoded):
            return answer({"encoded": encoded})

        return {"serving_default": serving_default, "image_bytes": image_bytes}
