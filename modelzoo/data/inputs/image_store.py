"""Opened images of a split: decoded into memory at once, or read and decoded with each batch."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modelzoo.data.columns import BadExample, Column, Rows, Tensors, View
from modelzoo.data.inputs.decode import (
    PALETTE,
    Resize,
    Shape,
    decode,
    fit_batch,
    read_header,
    to_shape,
)
from modelzoo.data.inputs.input import Store
from modelzoo.fields.errors import UserError

MEMORY_LIMIT = 2**30
"""A split whose decoded pixels take no more bytes is decoded into memory when it is opened."""

_PIECE = 256
# A long colour profile or a preview may come before the shape.
_HEADER_BYTES = (2**12, 2**16, -1)


class Expected(NamedTuple):
    """What an image input makes of stored images.

    Attributes:
        shape: height, width and channels of its images.
        resize: how others are brought to the size.
        same_size: whether another size is an error of the data.
        same_channels: whether an image with another number of channels is a bad example.
        key: the input's key behind `config.data.`.
    """

    shape: Shape
    resize: Resize
    same_size: bool
    same_channels: bool
    key: str


def stored_shape(view: View, key: str) -> Shape:
    """The shape of all images, or of the first that can be decoded.

    Raises:
        UserError: none can be decoded, or arrays are no images.
    """
    rows, column = view.rows, view.column(key)
    if column.form == "array":
        return _array_shape(rows, column)
    height, width, channels = column.shape or (None, None, None)
    if height is not None and width is not None and channels is not None:
        return height, width, channels
    cells = _Cells(view, column)
    for example in range(len(view)):
        try:
            return tuple(decode(cells.read_one(example)).shape)
        except (tf.errors.OpError, OSError):
            continue
    raise UserError(f"{rows.where}: none of the {len(view):,} images can be decoded")


def open_images(view: View, expected: Expected, on_bad: str, whole: bool) -> Store:
    """Opens the images of a view.

    Args:
        view: the examples.
        expected: what the input makes of them.
        on_bad: "skip" searches for bad images; "error" reports those that come up.
        whole: whether images that would be resized keep all their pixels.

    Raises:
        UserError: an image has another size than all must have.
    """
    column = view.column(expected.key)
    if column.form == "array":
        return _open_arrays(view, column, expected, whole)
    cells = _Cells(view, column)
    pixels = len(view) * int(np.prod(expected.shape))
    if pixels <= MEMORY_LIMIT and (expected.same_size or not whole):
        images = np.zeros((len(view), *expected.shape), np.uint8)
        return _Pixels(images, *_decode_all(cells, expected, images))
    good: np.ndarray | None = None
    reasons: dict[int, str] = {}
    if on_bad == "skip":
        good, reasons = _decode_all(cells, expected, None)
    elif column.form == "file":
        # If all images are brought to one shape, a bad one is reported when its batch is read.
        if expected.same_size or expected.same_channels:
            good, reasons = _check_headers(cells, expected)
    elif expected.same_size and (column.shape is None or None in column.shape):
        raise UserError(
            f"{view.rows.where}: images may have any size; set config.data.{expected.key}.size to "
            "bring all to one"
        )
    return _Encoded(cells, expected, good, reasons)


class _Cells:
    """The encoded images of a view, in files, in memory or in records."""

    def __init__(self, view: View, column: Column):
        self.view, self.column = view, column
        self.stored: tf.Tensor | None = None
        with tf.device("CPU:0"):
            if column.values is not None:
                self.stored = tf.constant(view.rows.values(column, view.last), tf.string)
            self._rows = tf.constant(view.last, tf.int64)

    @property
    def lazy(self) -> bool:
        """Whether `read` needs the columns of `Rows.read`."""
        return self.stored is None

    def read(self, examples: tf.Tensor, raw: Tensors | None = None) -> tf.Tensor:
        """Encoded images of examples, string `[n]`; reads records itself without `raw`."""
        if self.stored is None:
            if raw is None:
                assert self.view.rows.read is not None  # The column has no values.
                raw = self.view.rows.read(tf.gather(self._rows, examples))
            return raw[self.column.name]
        found = tf.gather(self.stored, examples)
        return tf.map_fn(tf.io.read_file, found) if self.column.form == "file" else found

    def read_one(self, example: int) -> tf.Tensor:
        """One encoded image, a scalar string."""
        return self.read(tf.constant([example], tf.int64))[0]

    def place(self, example: int) -> str:
        """Where an example is, for a message."""
        return self.view.rows.place(int(self.view.last[example]))

    def named(self, example: int, reason: str) -> str:
        """A reason with the name of the file, unless the example is called by it."""
        keys, row = self.column.keys, int(self.view.last[example])
        if keys is None or keys[row] == self.view.rows.ids[row]:
            return reason
        return f"the image {keys[row]} {reason}"

    def check_shape(self, example: int, shape: Shape, expected: Expected) -> None:
        """Raises UserError for another size than all must have, BadExample for other channels."""
        if expected.same_size and shape[:2] != expected.shape[:2]:
            raise _size_error(self.place(example), shape, expected)
        if expected.same_channels and shape[2] != expected.shape[2]:
            channels = expected.shape[2]
            reason = (
                f"has {shape[2]} channels, not {channels} (config.data.{expected.key}.channels="
                f"{channels} converts)"
            )
            raise BadExample(self.named(example, reason))

    def decode_one(self, example: int, expected: Expected) -> np.ndarray:
        """The pixels of one example.

        Raises:
            BadExample: it cannot be read or decoded.
            UserError: it has another size than all must have.
        """
        try:
            image = decode(self.read_one(example))
        except (tf.errors.OpError, OSError) as error:
            raise BadExample(self.named(example, _reason(error))) from None
        self.check_shape(example, tuple(image.shape), expected)
        return to_shape(image, expected.shape, expected.resize).numpy()


class _Pixels(Store):
    """Images in memory: the raw tensor `image`, uint8 `[n, height, width, channels]`."""

    def __init__(self, images: np.ndarray, good=None, reasons=None):
        # On the host whatever accelerator there is: the pipeline reads them there.
        with tf.device("CPU:0"):
            self._images = tf.constant(images)
        self.good, self.reasons = good, reasons or {}

    def read(self, examples: tf.Tensor, raw: Tensors, width=None) -> Tensors:
        return {"image": tf.gather(self._images, examples)}


class _Encoded(Store):
    """Encoded images that are read with a batch: the raw tensor `encoded`, string `[n]`."""

    def __init__(self, cells: _Cells, expected: Expected, good, reasons):
        self._cells, self._expected = cells, expected
        self.good, self.reasons, self.lazy = good, reasons, cells.lazy

    def read(self, examples: tf.Tensor, raw: Tensors, width=None) -> Tensors:
        return {"encoded": self._cells.read(examples, raw)}

    def examine(self, example: int) -> None:
        self._cells.decode_one(example, self._expected)


class _LazyArrays(Store):
    """Arrays that are read with a batch: the raw tensor `image`."""

    lazy = True

    def __init__(self, name: str, shape: Shape, resize: Resize):
        self._name, self._shape, self._resize = name, shape, resize

    def read(self, examples: tf.Tensor, raw: Tensors, width=None) -> Tensors:
        return {"image": fit_batch(raw[self._name], self._shape, self._resize)}


def _open_arrays(view: View, column: Column, expected: Expected, whole: bool) -> Store:
    shape = _array_shape(view.rows, column)
    if expected.same_size and shape[:2] != expected.shape[:2]:
        raise _size_error(view.rows.where, shape, expected)
    if expected.same_channels and shape[2] != expected.shape[2]:
        raise UserError(
            f"{view.rows.where}: the images have {shape[2]} channels but the training images have "
            f"{expected.shape[2]}; set config.data.{expected.key}.channels to convert all"
        )
    fitted = shape if whole else expected.shape
    if column.values is None:
        return _LazyArrays(column.name, fitted, expected.resize)
    images = np.asarray(view.rows.values(column, view.last))
    if shape == fitted:
        return _Pixels(images.reshape(-1, *shape))
    pieces = [images[first : first + _PIECE] for first in range(0, len(images), _PIECE)]
    fit = tf.function(
        lambda piece: fit_batch(piece, fitted, expected.resize), reduce_retracing=True
    )
    return _Pixels(np.concatenate([fit(tf.constant(piece)).numpy() for piece in pieces]))


def _array_shape(rows: Rows, column: Column) -> Shape:
    """Height, width and channels of the arrays of a column.

    Raises:
        UserError: they are no images.
    """
    first = np.asarray(rows.values(column, np.arange(1)))
    if first.dtype != np.uint8 or first.ndim not in (3, 4):
        raise UserError(
            f"{rows.where}: {column.name} must be uint8 [n, height, width] or [n, height, width, "
            f"channels], got {first.dtype} {list(first.shape[1:])}; store pixels as 0 to 255"
        )
    height, width, *channels = first.shape[1:]
    if channels and not 1 <= channels[0] <= 4:
        raise UserError(f"{rows.where}: {column.name} must have 1 to 4 channels, got {channels[0]}")
    return height, width, *(channels or [1])


def _decode_all(
    cells: _Cells, expected: Expected, images: np.ndarray | None
) -> tuple[np.ndarray, dict[int, str]]:
    """Decodes all examples, into `images` if given.

    Returns:
        Which can be used, bool `[n]`, and the reasons of the others.
    """
    good, reasons = np.zeros(len(cells.view), bool), {}
    for examples, found in _decoded(cells, expected, keep=images is not None):
        good[examples] = True
        if images is not None:
            images[examples] = found
    for example in np.flatnonzero(~good).tolist():
        try:
            image = cells.decode_one(example, expected)
        except BadExample as error:
            reasons[example] = str(error)
        else:
            good[example] = True
            if images is not None:
                images[example] = image
    return good, reasons


def _decoded(
    cells: _Cells, expected: Expected, keep: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields examples and their images in batches; leaves out those that cannot be decoded."""

    def decode_one(example: tf.Tensor, encoded: tf.Tensor):
        size = expected.shape[:2] if expected.same_size else (None, None)
        channels = expected.shape[2] if expected.same_channels else None
        image = tf.ensure_shape(decode(encoded), (*size, channels))
        if not (expected.same_size and expected.same_channels):
            image = to_shape(image, expected.shape, expected.resize)
        # Return one pixel at least, or TensorFlow would prune the decoding.
        return example, image if keep else image[0, 0, 0]

    dataset = tf.data.Dataset.range(len(cells.view)).batch(_PIECE)
    dataset = dataset.map(
        lambda examples: (examples, cells.read(examples)), num_parallel_calls=tf.data.AUTOTUNE
    )
    dataset = dataset.prefetch(2).unbatch()
    dataset = dataset.map(decode_one, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
    return iter(dataset.batch(_PIECE).prefetch(2).as_numpy_iterator())


def _check_headers(cells: _Cells, expected: Expected) -> tuple[np.ndarray, dict[int, str]]:
    """The first file that cannot be used by its first bytes, as `_decode_all` returns it."""

    def header(file: bytes) -> Shape | str:
        try:
            with open(file, "rb", buffering=0) as opened:
                data = b""
                for size in _HEADER_BYTES:
                    data += opened.read(size)
                    try:
                        return read_header(data)
                    except ValueError as error:
                        reason = str(error)
                return reason
        except OSError as error:
            return f"cannot be read ({error.strerror})"

    assert cells.stored is not None  # Files are in memory, by their paths.
    good = np.ones(len(cells.view), bool)
    with ThreadPoolExecutor(16) as pool:
        for example, found in enumerate(pool.map(header, cells.stored.numpy())):
            try:
                if isinstance(found, str):
                    raise BadExample(cells.named(example, found))
                cells.check_shape(example, found, expected)
            except BadExample as error:
                good[example] = False
                return good, {example: str(error)}
    return good, {}


def _size_error(place: str, shape: Shape, expected: Expected) -> UserError:
    height, width, _ = expected.shape
    return UserError(
        f"{place}: an image is {shape[0]}x{shape[1]} (height x width) but the training images are "
        f"{height}x{width}; set config.data.{expected.key}.size to bring all to one size"
    )


def _reason(error: Exception) -> str:
    """What an error of reading or decoding means for the image."""
    if isinstance(error, (OSError, tf.errors.NotFoundError)):
        return f"cannot be read ({error})"
    if PALETTE in str(error):
        return PALETTE
    if "is empty" in str(error):
        return "is empty"
    if "Unknown image file format" in str(error):
        return "is no PNG, JPEG, GIF or BMP"
    return "is corrupt or truncated"
