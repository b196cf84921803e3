"""Classification of images: one label for each."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.augment import Augment
from modelzoo.data.images import ImageDecoder
from modelzoo.data.spec import ImageSpec
from modelzoo.errors import UserError
from modelzoo.tasks import classification, names
from modelzoo.tasks.task import Tensors


@dataclasses.dataclass(frozen=True)
class ImageClassification:
    """Learns one label for each image.

    label_smoothing: share of the target that is spread evenly over all classes, in training only.
    class_weights: a factor for each class, in the order of the classes, on the weight of its
        examples in training; the evaluation is not weighted by class.
    augment: random changes of the training images.
    mean, std: of each channel, one number for each, of pixels in [0, 1]; the model sees
        (pixel - mean) / std. None is 0.5, which gives [-1, 1].
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    augment: Augment = dataclasses.field(default_factory=Augment)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self):
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        weights = self.class_weights
        if weights is not None and (min(weights, default=-1) < 0 or not sum(weights) > 0):
            raise ValueError(
                f"class_weights must be numbers >= 0 and not all of them 0, got {weights}"
            )
        if self.std is not None and not min(self.std, default=0) > 0:
            raise ValueError(f"std must be numbers > 0, got {self.std}")

    def bind(self, spec: ImageSpec) -> "ImageClassificationTask":
        """The task on the data's classes and sizes.

        Raises UserError where `class_weights`, `mean` or `std` do not fit these.
        """
        for key, wanted, things in (
            ("class_weights", spec.num_classes, "classes"),
            ("mean", spec.channels, "channels"),
            ("std", spec.channels, "channels"),
        ):
            value = getattr(self, key)
            if value is not None and len(value) != wanted:
                raise UserError(
                    f"config.task.{key} must have one number for each of the data's {wanted} "
                    f"{things}, got {len(value)}"
                )
        return ImageClassificationTask(self, spec)


class ImageClassificationTask:
    """`ImageClassification` on given data: a `modelzoo.tasks.task.Task`."""

    headline = ("loss", "accuracy")

    def __init__(self, config: ImageClassification, spec: ImageSpec):
        self.config = config
        self.spec = spec
        self._decoder = ImageDecoder(spec)
        mean = np.full(spec.channels, 0.5) if config.mean is None else np.array(config.mean)
        std = np.full(spec.channels, 0.5) if config.std is None else np.array(config.std)
        self._scale = (1.0 / (255.0 * std)).astype(np.float32)
        self._offset = (-mean / std).astype(np.float32)

    def describe(self) -> str:
        """Such as `10 classes, images 8x8x1`."""
        return f"{self.spec.num_classes} classes, images {'x'.join(map(str, self.spec.shape))}"

    def build_model(self, model_config: Any) -> keras.Model:
        """Builds `model_config` for the data's images and classes: `[batch, H, W, C]` -> logits.

        Every build of one config gives the same variable paths.
        """
        inputs = keras.InputSpec(shape=(None, *self.spec.shape), dtype="float32")
        with names.counted_from_zero():
            return model_config.build(inputs, self.spec.num_classes)

    def features(self, raw: Tensors, training: bool, seeds: tf.Tensor | None = None) -> Tensors:
        """Decodes where needed, augments in training, normalises: `image` float32 `[n, H, W, C]`.

        `raw` holds `image` (uint8 `[n, H, W, C]`) or `encoded` (string `[n]`: PNG, JPEG and the
        like, any size); what else it holds passes through. `seeds` (int64 `[n, 2]`) are needed in
        training.
        """
        rest = {key: value for key, value in raw.items() if key not in ("image", "encoded")}
        image = raw["image"] if "image" in raw else self._decoder.decode_batch(raw["encoded"])
        if training:
            image = self.config.augment(image, seeds)
        image = tf.cast(image, tf.float32) * self._scale + self._offset
        return {"image": image, **rest}

    def outputs(self, model: keras.Model, batch: Tensors, training: bool = False) -> Tensors:
        """`logits` `[n, classes]`, float64 under a float64 policy and else float32."""
        logits = model(batch["image"], training=training)
        return {"logits": logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)}

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Smoothed, class-weighted cross-entropy: its sum and the sum of the weights, scalars."""
        return classification.loss(
            outputs["logits"],
            batch["label"],
            batch["weight"],
            self.config.label_smoothing,
            self.config.class_weights,
        )

    def sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """The counts of `modelzoo.tasks.classification.sums`."""
        return classification.sums(outputs["logits"], batch["label"], batch["weight"], training)

    def scores(self, sums: dict[str, np.ndarray]) -> dict[str, Any]:
        """The scores of `modelzoo.tasks.classification.scores`."""
        return classification.scores(sums, self.spec.class_names)

    def signatures(self, model: keras.Model) -> dict[str, Callable]:
        """`serving_default` (`images`: uint8 `[n, H, W, C]`), `image_bytes` (`encoded`: string).

        Both give `classes` (string `[n]`: the name of the best class) and `scores` (float32
        `[n, classes]`: probabilities in the order of the classes). `image_bytes` takes encoded
        images of any size; one that cannot be decoded fails the request as an invalid argument.
        """

        def classify(raw):
            batch = self.features(raw, training=False)
            n = tf.shape(batch["image"])[0]
            # oneDNN's fused convolution fails on an empty batch: there a blank image runs along.
            # (Not by tf.pad: that is fused into the convolution, which drops the batch's part.)
            blank = tf.zeros([tf.maximum(1 - n, 0), *self.spec.shape])
            batch["image"] = tf.concat([batch["image"], blank], axis=0)
            logits = self.outputs(model, batch)["logits"][:n]
            classes = tf.gather(tf.constant(self.spec.class_names), tf.argmax(logits, axis=-1))
            return {"classes": classes, "scores": tf.cast(tf.nn.softmax(logits), tf.float32)}

        @tf.function(
            input_signature=[tf.TensorSpec([None, *self.spec.shape], tf.uint8, name="images")]
        )
        def serving_default(images):
            return classify({"image": images})

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="encoded")])
        def image_bytes(encoded):
            return classify({"encoded": encoded})

        return {"serving_default": serving_default, "image_bytes": image_bytes}
