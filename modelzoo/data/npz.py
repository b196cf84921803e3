"""Images and their targets in one `.npz` file."""

import dataclasses
import os
import zipfile
import zlib
from typing import Literal

import numpy as np
import tensorflow as tf

from modelzoo.data.config import ImageData
from modelzoo.data.images import ImageDecoder
from modelzoo.data.source import Source, source_from_arrays
from modelzoo.data.splits import MissingSplitError, split_name, split_slice
from modelzoo.fields.errors import UserError


@dataclasses.dataclass(frozen=True)
class NpzImages(ImageData):
    """Arrays `x_SPLIT` and `y_SPLIT`, such as `x_train`, `y_train`, `x_test`, `y_test`.

    Images are uint8 `[n, height, width]` or `[n, height, width, channels]`. Optional: `w_SPLIT`,
    weights of the examples; `class_names`, strings: of the classes, tags or values.

    Attributes:
        path: the file.
        targets: what `y_SPLIT` holds: "class", integers `[n]` from 0 on; "tags", 0 or 1 for each
            tag `[n, tags]`; "values", numbers `[n]` or `[n, values]`.
    """

    path: str
    targets: Literal["class", "tags", "values"] = "class"

    def _open(self, split: str, encoded: bool = False) -> Source:
        path = os.path.expanduser(self.path)
        try:
            file = np.load(path, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise UserError(f"{path} is no .npz file but a single array")
            with file:
                return self._read(path, file, split)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from None
        except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path} is no .npz file of plain arrays: {reason}") from None

    def _read(self, path: str, file: np.lib.npyio.NpzFile, split: str) -> Source:
        name = split_name(split)
        splits = sorted(key[2:] for key in file.files if key.startswith("x_"))
        if name not in splits:
            raise MissingSplitError(
                f"{path} has no array x_{name} for the split {split!r}; "
                f"its arrays are {', '.join(file.files)}"
            )
        images = file[f"x_{name}"]
        if images.dtype != np.uint8 or images.ndim not in (3, 4):
            raise UserError(
                f"{path}: x_{name} must be uint8 [n, height, width] or [n, height, width, "
                f"channels], it is {images.dtype} {list(images.shape)}; store pixels as 0 to 255"
            )
        images = images if images.ndim == 4 else images[..., None]
        if not 1 <= images.shape[3] <= 4:
            raise UserError(f"{path}: x_{name} has {images.shape[3]} channels, not 1 to 4")
        labels = {other: self._labels(path, file, other) for other in splits}
        _same_length(path, f"x_{name}", images, f"y_{name}", labels[name])
        rows = split_slice(split, len(images))
        arrays = {"image": images[rows], "label": labels[name][rows]}
        if f"w_{name}" in file:
            weights = file[f"w_{name}"]
            _same_length(path, f"x_{name}", images, f"w_{name}", weights)
            if weights.ndim != 1 or not (np.isfinite(weights) & (weights >= 0)).all():
                raise UserError(f"{path}: w_{name} must be [n] finite weights of at least 0")
            arrays["weight"] = weights[rows].astype(np.float32)
        class_names = self._class_names(path, file, labels)
        spec = self._spec(path, images.shape[1:], class_names, self.targets)
        if images.shape[1:] != spec.shape:
            arrays["image"] = _fit(arrays["image"], ImageDecoder(spec))
        ids = [f"{name}/{row}" for row in range(rows.start, rows.stop)]
        return source_from_arrays(spec, ids, arrays)

    def _labels(self, path: str, file: np.lib.npyio.NpzFile, split: str) -> np.ndarray:
        if f"y_{split}" not in file:
            raise UserError(f"{path} has x_{split} and no labels y_{split} for it")
        labels = file[f"y_{split}"]

        def refused(wanted: str) -> UserError:
            got = f"{labels.dtype} {list(labels.shape)}"
            return UserError(
                f"{path}: y_{split} must be {wanted} for config.data.targets={self.targets}, "
                f"it is {got}"
            )

        if self.targets == "class":
            # Keras's own archives hold labels as [n, 1].
            labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
            if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
                raise refused("integers [n]")
            if len(labels) and labels.min() < 0:
                raise UserError(f"{path}: y_{split} has the negative label {labels.min()}")
            return labels.astype(np.int64)
        if self.targets == "tags":
            if labels.ndim != 2 or labels.dtype.kind not in "biuf":
                raise refused("0 or 1 for each tag [n, tags]")
            wrong = labels[(labels != 0) & (labels != 1)]
            if wrong.size:
                raise UserError(f"{path}: y_{split} must be 0 or 1 for each tag, it has {wrong[0]}")
            return labels.astype(np.float32)
        labels = labels[:, None] if labels.ndim == 1 else labels
        if labels.ndim != 2 or labels.dtype.kind not in "biuf":
            raise refused("numbers [n] or [n, values]")
        with np.errstate(over="ignore"):
            labels = labels.astype(np.float32)
        if not np.isfinite(labels).all():
            raise UserError(f"{path}: y_{split} has values that are not finite in float32")
        return labels

    def _class_names(
        self, path: str, file: np.lib.npyio.NpzFile, labels: dict[str, np.ndarray]
    ) -> tuple[str, ...]:
        given = None
        if "class_names" in file:
            given = tuple(str(name) for name in np.atleast_1d(file["class_names"]).tolist())
        if self.targets == "class":
            number = 1 + max(int(values.max()) for values in labels.values() if len(values))
            if given is not None and len(given) < number:
                raise UserError(
                    f"{path}: class_names has {len(given)} names and the labels go up to "
                    f"{number - 1}"
                )
        else:
            columns = {f"y_{split}": values.shape[1] for split, values in labels.items()}
            number = next(iter(columns.values()))
            if given is not None:
                columns["class_names"] = len(given)
            other = next((key for key, count in columns.items() if count != number), None)
            if other is not None:
                raise UserError(
                    f"{path}: {next(iter(columns))} has {number} {self.targets} and {other} has "
                    f"{columns[other]}"
                )
        return given if given is not None else tuple(str(label) for label in range(number))


def _same_length(path: str, name: str, array: np.ndarray, other: str, values: np.ndarray) -> None:
    if len(array) != len(values):
        raise UserError(f"{path}: {name} has {len(array)} rows and {other} has {len(values)}")


def _fit(images: np.ndarray, decoder: ImageDecoder) -> np.ndarray:
    """Brings images to the spec's channels and size, in pieces."""

    @tf.function(input_signature=[tf.TensorSpec([None, *images.shape[1:]], tf.uint8)])
    def fit(piece: tf.Tensor) -> tf.Tensor:
        signature = tf.TensorSpec(decoder.spec.shape, tf.uint8)
        return tf.map_fn(decoder.fit, piece, fn_output_signature=signature)

    pieces = [images[first : first + 256] for first in range(0, len(images), 256)]
    return np.concatenate([fit(tf.constant(piece)).numpy() for piece in pieces])
