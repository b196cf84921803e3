"""Opened images of a split: decoded into memory at once, or read and decoded with each batch."""

import functools
import itertools
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from modelzoo.data.columns import BadExample, Column, Rows, Tensors, View
from modelzoo.data.inputs.decode import decode
from modelzoo.data.inputs.image_headers import explain, read_shape
from modelzoo.data.inputs.input import Store
from modelzoo.data.inputs.resize import Shape, fit_batch, to_shape
from modelzoo.fields.errors import UserError, format_error

if TYPE_CHECKING:
    from modelzoo.data.inputs.image import BoundImage

MEMORY_LIMIT = 2**30
"""A split whose decoded pixels take no more bytes is decoded into memory when it is opened."""

_PIECE = _SAMPLE = 256
# A long colour profile or a preview may come before the shape.
_HEADER_BYTES = (2**12, 2**16, -1)


def stored_shape(view: View, key: str, max_pixels: int) -> Shape:
    """The shape of all images, or of the first that can be decoded; UserError if none can."""
    rows, column = view.rows, view.column(key)
    if column.form == "array":
        return _array_shape(rows, column)
    height, width, channels = column.shape or (None, None, None)
    if height is not None and width is not None and channels is not None:
        return height, width, channels
    read = _reader(view, column)
    for example in range(len(view)):
        try:
            image = decode(read(tf.constant([example], tf.int64))[0], max_pixels)
            return tuple(image.shape)
        except (tf.errors.OpError, OSError):
            continue
    raise UserError(f"{rows.where}: none of the {len(view):,} images can be decoded")


def stored_bit_depth(view: View, key: str, max_pixels: int) -> int | None:
    """The bits that hold the values of PNGs with 16 bits per channel, of at most 256 images.

    At least 8; None if there is no such image. Images that cannot be used do not count.
    """
    column, depths = view.column(key), []
    if column.form == "array":
        return None
    read = _reader(view, column)
    for example in np.unique(np.linspace(0, len(view) - 1, _SAMPLE).astype(np.int64)):
        try:
            encoded = read(tf.constant([example]))[0]
            header = encoded.numpy()[:25]
            if header[:4] == b"\x89PNG" and header[24:] == b"\x10":
                width, height = struct.unpack(">II", header[16:24])
                if width * height > max_pixels:
                    continue
                values = tf.io.decode_png(encoded, dtype=tf.uint16).numpy()
                depths.append(int(values.max()).bit_length())
        except (tf.errors.OpError, OSError):
            continue
    return max(8, *depths) if depths else None


def open_images(view: View, key: str, bound: "BoundImage", on_bad: str, whole: bool) -> Store:
    """Opens the images of a view.

    `on_bad` "skip" searches for bad images; "error" reports those that come up. With `whole`,
    images that would be resized keep all their pixels.
    """
    column, same_size = view.column(key), bound.config.size is None
    if column.form == "array":
        return _open_arrays(view, key, bound, whole)
    encoded = _Encoded(view, key, bound)
    pixels = len(view) * int(np.prod(bound.shape))
    if pixels <= MEMORY_LIMIT and (same_size or not whole):
        images = np.zeros((len(view), *bound.shape), np.uint8)
        return _Pixels(images, encoded.decode_all(images))
    if on_bad == "skip":
        encoded.reasons = encoded.decode_all(None)
    elif column.form == "file":
        # If all images are brought to one shape, a bad one is reported when its batch is read.
        if same_size or bound.config.channels is None:
            encoded.reasons = encoded.check_headers()
    elif same_size and (column.shape is None or None in column.shape):
        raise UserError(
            f"{view.rows.where}: images may have any size; set config.data.{key}.size to bring all "
            "to one"
        )
    return encoded


def _reader(view: View, column: Column) -> Callable[..., tf.Tensor]:
    """Reads encoded images of examples, string `[n]`; records too, if they are not given."""
    with tf.device("CPU:0"):
        if column.values is not None:
            values = view.rows.values(column, view.last)
            if column.form == "file":
                values = list(map(os.fsencode, values))  # Names need not be UTF-8.
            stored = tf.constant(values, tf.string)
        rows = tf.constant(view.last, tf.int64)

    def read(examples: tf.Tensor, raw: Tensors | None = None) -> tf.Tensor:
        if column.values is None:
            if raw is None:
                assert view.rows.read is not None  # The column has no values.
                raw = view.rows.read(tf.gather(rows, examples))
            return raw[column.name]
        found = tf.gather(stored, examples)
        return tf.map_fn(tf.io.read_file, found) if column.form == "file" else found

    return read


class _Pixels(Store):
    """Images in memory: the raw tensor `image`, uint8 `[n, height, width, channels]`."""

    def __init__(self, images: np.ndarray, reasons: Mapping[int, str]):
        # On the host whatever accelerator there is: the pipeline reads them there.
        with tf.device("CPU:0"):
            self._images = tf.constant(images)
        self.reasons = reasons

    def read(self, examples: tf.Tensor, raw: Tensors, width=None) -> Tensors:
        return {"image": tf.gather(self._images, examples)}


class _LazyArrays(Store):
    """Arrays that are read with a batch: the raw tensor `image`."""

    lazy = True

    def __init__(self, fit: Callable[[tf.Tensor], tf.Tensor], name: str):
        self._fit, self._name = fit, name

    def read(self, examples: tf.Tensor, raw: Tensors, width=None) -> Tensors:
        return {"image": self._fit(raw[self._name])}


class _Encoded(Store):
    """Encoded images that are read with a batch: the raw tensor `encoded`, string `[n]`."""

    def __init__(self, view: View, key: str, bound: "BoundImage"):
        self._view, self._key, self._bound = view, key, bound
        self._column = view.column(key)
        self._read = _reader(view, self._column)
        self.lazy = self._column.values is None

    def read(self, examples: tf.Tensor, raw: Tensors, width=None) -> Tensors:
        return {"encoded": self._read(examples, raw)}

    def examine(self, example: int) -> None:
        self._decode_one(example)

    def _bad(self, example: int, reason: str) -> BadExample:
        """The reason, with the name of the file unless the example is called by it."""
        keys, row = self._column.keys, int(self._view.last[example])
        if keys is None or keys[row] == self._view.rows.ids[row]:
            return BadExample(reason)
        return BadExample(f"the image {keys[row]} {reason}")

    def _check_shape(self, example: int, shape: Shape) -> None:
        """Raises UserError for another size than all must have, BadExample for other channels.

        Channels may be 0, for not known.
        """
        config, expected = self._bound.config, self._bound.shape
        if config.size is None and shape[:2] != expected[:2]:
            place = self._view.rows.place(int(self._view.last[example]))
            raise _size_error(place, shape, self._key, expected)
        if config.channels is None and shape[2] not in (0, expected[2]):
            raise self._bad(
                example,
                f"has {shape[2]} channels, not {expected[2]} (config.data.{self._key}.channels="
                f"{expected[2]} converts)",
            )

    def _decode_one(self, example: int) -> np.ndarray:
        """The pixels of one example; raises BadExample, or UserError for a wrong size."""
        try:
            encoded = self._read(tf.constant([example], tf.int64))[0]
        except (tf.errors.OpError, OSError) as error:
            raise self._bad(
                example, f"cannot be read ({format_error(error).split('; ')[-1]})"
            ) from None
        try:
            image = self._bound.decode(encoded)
        except tf.errors.OpError as error:
            raise self._bad(example, explain(error)) from None
        self._check_shape(example, tuple(image.shape))
        return to_shape(image, self._bound.shape, self._bound.config.resize).numpy()

    def decode_all(self, images: np.ndarray | None) -> dict[int, str]:
        """Decodes all examples, into `images` if given; returns the reasons of the bad ones."""
        left = np.ones(len(self._view), bool)
        for examples, found in self._decoded(keep=images is not None):
            left[examples] = False
            if images is not None:
                images[examples] = found
        reasons = {}
        for example in np.flatnonzero(left).tolist():
            try:
                image = self._decode_one(example)
                if images is not None:
                    images[example] = image
            except BadExample as error:
                reasons[example] = str(error)
        return reasons

    def _decoded(self, keep: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields examples and their images in batches, without those that cannot be decoded."""
        config, shape = self._bound.config, self._bound.shape

        def decode_one(example: tf.Tensor, encoded: tf.Tensor):
            size = shape[:2] if config.size is None else (None, None)
            channels = shape[2] if config.channels is None else None
            image = tf.ensure_shape(self._bound.decode(encoded), (*size, channels))
            if config.size is not None or config.channels is not None:
                image = to_shape(image, shape, config.resize)
            # Return one pixel at least, or TensorFlow would prune the decoding.
            return example, image if keep else image[0, 0, 0]

        dataset = tf.data.Dataset.range(len(self._view)).batch(_PIECE)
        dataset = dataset.map(
            lambda examples: (examples, self._read(examples)), num_parallel_calls=tf.data.AUTOTUNE
        )
        dataset = dataset.prefetch(2).unbatch()
        dataset = dataset.map(decode_one, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
        return iter(dataset.batch(_PIECE).prefetch(2).as_numpy_iterator())

    def check_headers(self) -> dict[int, str]:
        """The reason of the first file that cannot be used by its first bytes."""
        paths = self._view.rows.values(self._column, self._view.last)
        with ThreadPoolExecutor(16) as pool:
            found = pool.map(self._check_header, range(len(paths)), paths)
            reasons = ((example, reason) for example, reason in enumerate(found) if reason)
            return dict(itertools.islice(reasons, 1))

    def _check_header(self, example: int, path: str) -> str | None:
        """Why a file cannot be used; only all of its bytes can say so."""
        try:
            with open(path, "rb", buffering=0) as opened:
                data = b""
                for size in _HEADER_BYTES:
                    data += opened.read(size)
                    try:
                        height, width, channels = _shape_reader()(tf.constant(data)).numpy()
                        self._check_shape(example, (height, width, channels))
                        return None
                    except (tf.errors.OpError, BadExample, UserError) as error:
                        failure = error
        except OSError as error:
            failure = self._bad(example, f"cannot be read ({error.strerror})")
        if isinstance(failure, UserError):
            raise failure
        if isinstance(failure, BadExample):
            return str(failure)
        return str(self._bad(example, explain(failure)))


@functools.cache
def _shape_reader() -> tf.types.experimental.PolymorphicFunction:
    return tf.function(read_shape, input_signature=[tf.TensorSpec([], tf.string)])


def _open_arrays(view: View, key: str, bound: "BoundImage", whole: bool) -> Store:
    config, column = bound.config, view.column(key)
    shape = _array_shape(view.rows, column)
    if config.size is None and shape[:2] != bound.shape[:2]:
        raise _size_error(view.rows.where, shape, key, bound.shape)
    if config.channels is None and shape[2] != bound.shape[2]:
        raise UserError(
            f"{view.rows.where}: the images have {shape[2]} channels but the training images have "
            f"{bound.shape[2]}; set config.data.{key}.channels to convert all"
        )
    fitted = shape if whole else bound.shape

    def fit(images: tf.Tensor) -> tf.Tensor:
        return fit_batch(images, fitted, config.resize)

    if column.values is None:
        return _LazyArrays(fit, column.name)
    images = np.asarray(view.rows.values(column, view.last))
    if shape == fitted:
        return _Pixels(images.reshape(-1, *shape), {})
    pieces = [images[first : first + _PIECE] for first in range(0, len(images), _PIECE)]
    fit_piece = tf.function(fit, reduce_retracing=True)
    found = [fit_piece(tf.constant(piece)).numpy() for piece in pieces]
    return _Pixels(np.concatenate(found), {})


def _array_shape(rows: Rows, column: Column) -> Shape:
    """Height, width and channels of the arrays of a column; UserError if they are no images."""
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


def _size_error(place: str, shape: Shape, key: str, expected: Shape) -> UserError:
    return UserError(
        f"{place}: an image is {shape[0]}x{shape[1]} (height x width) but the training images are "
        f"{expected[0]}x{expected[1]}; set config.data.{key}.size to bring all to one size"
    )
