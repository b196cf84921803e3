"""Image data sets of TensorFlow Datasets, read from their prepared files by row."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.data.config import EncodedImageData
from modelzoo.data.images import decode
from modelzoo.data.source import EncodedRows, Source, fits_in_memory, open_encoded
from modelzoo.data.tfds import Tfds
from modelzoo.fields.errors import UserError


@dataclasses.dataclass(frozen=True)
class TfdsImages(Tfds, EncodedImageData):
    """A prepared TFDS data set of images and what they show, see `Tfds`.

    The digits of scikit-learn, name "digits", need no preparing.
    """

    def _open(self, split: str, encoded: bool = False) -> Source:
        builder = self._builder()
        image_key = _image_key(builder)
        feature = builder.info.features[image_key]
        found = self._prepared(builder, split, (image_key,))

        def read(rows: tf.Tensor) -> dict[str, tf.Tensor]:
            parsed = found.parse(rows)
            return {"encoded": parsed[image_key], "label": found.target.label(parsed)}

        shape = feature.shape
        if None in shape:
            first = found.parse(tf.constant([0], tf.int64))[image_key][0]
            try:
                shape = tuple(decode(first).shape)
            except tf.errors.OpError:
                raise UserError(
                    f"{self.name}: the first image of {split!r} is corrupt; "
                    "set config.data.image_size and config.data.channels"
                ) from None
        rows = EncodedRows(
            where=f"data set {self.name}",
            ids=found.ids,
            read=read,
            fixed_size=self.image_size is None,
            fixed_channels=self.channels is None,
        )
        spec = self._spec(rows.where, shape, found.target.names, found.target.targets)
        if rows.fixed_size and None in feature.shape and not fits_in_memory(spec, len(rows.ids)):
            raise UserError(
                f"the images of {self.name} may be of any size; "
                "set config.data.image_size=(H, W) to bring all to one"
            )
        return open_encoded(spec, rows, self.on_bad_image, encoded)


def _image_key(builder: Any) -> str:
    """Name of the one image, by the supervised keys where there are several."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    images = [key for key, value in features.items() if isinstance(value, tfds.features.Image)]
    supervised = builder.info.supervised_keys or ()
    if len(supervised) == 2 and supervised[0] in images:
        images = [supervised[0]]
    if len(images) != 1:
        raise UserError(
            f"the data set {builder.name} is not one of one image in each example; its features "
            f"are {', '.join(features)}"
        )
    if features[images[0]].np_dtype != np.uint8:
        raise UserError(
            f"the images of {builder.name} are {features[images[0]].np_dtype}, not uint8"
        )
    return images[0]
