"""An opened split: rows by index, inside and outside of a graph."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from modelzoo.data.images import PALETTE, ImageDecoder, decode
from modelzoo.data.spec import ImageSpec, Spec
from modelzoo.fields.errors import UserError

Read = Callable[..., dict[str, tf.Tensor]]
"""Makes raw examples of rows (int64 `[n]`); of rows that have lengths, padded to a length."""

MEMORY_LIMIT = 2**30
"""A split whose decoded pixels take no more bytes is decoded once, when it is opened."""

_PASS_BATCH = 256


class Source:
    """One split, opened.

    Attributes:
        spec: what the data knows: sizes, classes, vocabulary.
        ids: one name per row: a path relative to the folder, or such as "test/17".
        skipped: (name, reason) of the bad examples that were left out.
        lengths: steps of each row, int64 `[n]`, where rows differ in it; else None.
        groups: name of each row's group, of which cross-validation takes all or none; or None.
        tokens: of each row, int64 `[n]`, as the speed of training counts them: those of its target
            text where it has one, else its steps; None without lengths.
        references: the target texts of each row, whole, that an output is compared with; or None.
        remarks: what a person should know of the rows, such as how many were cut.
    """

    def __init__(
        self,
        spec: Spec,
        ids: Sequence[str],
        read: Read,
        skipped: Sequence[tuple[str, str]] = (),
        examine: Callable[[int], object] | None = None,
        lengths: np.ndarray | None = None,
        groups: Sequence[str] | None = None,
        tokens: np.ndarray | None = None,
        references: Sequence[tuple[str, ...]] | None = None,
        remarks: Sequence[str] = (),
    ):
        self.spec = spec
        self.ids = ids
        self.skipped = list(skipped)
        self.lengths = lengths
        self.groups = groups
        self.tokens = lengths if tokens is None else tokens
        self.references = references
        self.remarks = list(remarks)
        self._read = read
        self._examine = examine

    @property
    def num_examples(self) -> int:
        """Number of rows."""
        return len(self.ids)

    def gather(
        self, indices: tf.Tensor, length: int | tf.Tensor | None = None
    ) -> dict[str, tf.Tensor]:
        """Reads rows by index (int64 `[n]`, -1 for padding), in a graph as well.

        Returns what the source holds, such as `image` (uint8 `[n, height, width, channels]`),
        `encoded` (string `[n]`), `tokens` (int32 `[n, length]`) or `source` and `target` (int32,
        see `pair_source`), `label` (as `spec.targets` says), `weight` (float32 `[n]`, 0 for
        padding) and `index`, the indices themselves.
        Where rows have `lengths`, `length` is what they are padded to: the longest of the spec
        where it is None.
        """
        indices = tf.convert_to_tensor(indices, tf.int64)
        raw = self._read(tf.maximum(indices, 0), *([] if self.lengths is None else [length]))
        real = tf.cast(indices >= 0, tf.float32)
        weight = raw["weight"] * real if "weight" in raw else real
        return {**raw, "weight": weight, "index": indices}

    def check(self, indices: np.ndarray) -> None:
        """Raises UserError naming the first of these rows that cannot be read or decoded."""
        for row in np.asarray(indices).ravel():
            if self._examine and row >= 0:
                self._examine(int(row))

    def subset(self, rows: np.ndarray) -> "Source":
        """The source of these rows (int64 `[n]`) alone, in this order."""
        rows = np.asarray(rows, np.int64)
        chosen = tf.constant(rows)

        def read(indices: tf.Tensor, *length: tf.Tensor) -> dict[str, tf.Tensor]:
            return self._read(tf.gather(chosen, indices), *length)

        examine = self._examine
        return Source(
            self.spec,
            [self.ids[row] for row in rows],
            read,
            self.skipped,
            examine and (lambda row: examine(int(rows[row]))),
            None if self.lengths is None else self.lengths[rows],
            None if self.groups is None else [self.groups[row] for row in rows],
            None if self.tokens is None else self.tokens[rows],
            None if self.references is None else [self.references[row] for row in rows],
            self.remarks,
        )


def source_from_arrays(
    spec: ImageSpec,
    ids: Sequence[str],
    arrays: dict[str, np.ndarray],
    skipped: Sequence[tuple[str, str]] = (),
) -> Source:
    """A source in memory over `image` (uint8, of the spec's shape), `label` and maybe `weight`."""
    # On the host whatever accelerator there is: the pipeline reads them there.
    with tf.device("CPU:0"):
        tensors = {name: tf.constant(array) for name, array in arrays.items()}

    def read(rows: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: tf.gather(tensor, rows) for name, tensor in tensors.items()}

    return Source(spec, ids, read, skipped)


@dataclasses.dataclass(frozen=True)
class EncodedRows:
    """Encoded images and labels by row, as they lie on disk.

    Attributes:
        where: how messages name the place, such as a folder.
        ids: one name per row.
        read: rows (int64 `[n]`) to `encoded` (string `[n]`) and `label` (as the spec's `targets`
            say), in a graph.
        fixed_size: an image of another size than the spec's is an error of the data.
        fixed_channels: an image with other channels than the spec's is a bad image.
    """

    where: str
    ids: Sequence[str]
    read: Read
    fixed_size: bool
    fixed_channels: bool


def fits_in_memory(spec: ImageSpec, count: int) -> bool:
    """Whether so many decoded images are few enough to be kept."""
    return count * int(np.prod(spec.shape)) <= MEMORY_LIMIT


def decoded_at_once(spec: ImageSpec, rows: EncodedRows, encoded: bool) -> bool:
    """Whether `open_encoded` decodes all images into memory."""
    return fits_in_memory(spec, len(rows.ids)) and (rows.fixed_size or not encoded)


class _BadImageError(Exception):
    """One image cannot be used; says why."""


def open_encoded(
    spec: ImageSpec, rows: EncodedRows, on_bad_image: str, encoded: bool = False
) -> Source:
    """Makes a source of encoded rows: decoded into memory where that fits, else read when asked.

    With `encoded`, what decoding into memory would resize stays encoded, with all its pixels.
    Raises UserError naming the first bad image, unless `on_bad_image` is "skip"; what is too large
    for memory is only searched for bad images here in order to skip them.
    """
    decoder = ImageDecoder(spec)

    def examine(row: int) -> tuple[np.ndarray, np.ndarray]:
        try:
            raw = rows.read(tf.constant([row], tf.int64))
            image = decode(raw["encoded"][0])
        except (tf.errors.OpError, OSError) as error:
            raise _BadImageError(decode_reason(error)) from None
        size, channels = tuple(image.shape[:2]), image.shape[2]
        if rows.fixed_size and size != (spec.height, spec.width):
            raise UserError(size_mismatch(rows.where, rows.ids[row], size, spec))
        if rows.fixed_channels and channels != spec.channels:
            raise _BadImageError(channel_mismatch(channels, spec))
        return decoder.fit(image).numpy(), raw["label"][0].numpy()

    def examine_or_tell(row: int) -> tuple[np.ndarray, np.ndarray]:
        try:
            return examine(row)
        except _BadImageError as error:
            raise UserError(bad_image(rows.where, rows.ids[row], str(error))) from None

    count = len(rows.ids)
    in_memory = decoded_at_once(spec, rows, encoded)
    if not in_memory and on_bad_image == "error":
        return Source(spec, rows.ids, rows.read, examine=examine_or_tell)

    images = np.empty((count if in_memory else 0, *spec.shape), np.uint8)
    labels = spec.empty_labels(count)
    good = np.zeros(count, bool)
    skipped = []
    for index, image, label in _decoded(rows, decoder, keep=in_memory):
        good[index] = True
        labels[index] = label
        if in_memory:
            images[index] = image
    for row in np.flatnonzero(~good):
        try:
            image, labels[row] = examine(row)
        except _BadImageError as error:
            if on_bad_image == "error":
                raise UserError(bad_image(rows.where, rows.ids[row], str(error))) from None
            skipped.append((rows.ids[row], str(error)))
        else:
            good[row] = True
            if in_memory:
                images[row] = image
    ids = rows.ids if good.all() else [rows.ids[row] for row in np.flatnonzero(good)]
    if not ids:
        raise UserError(f"{rows.where}: none of the {count} images can be decoded")
    if in_memory:
        if not good.all():
            images, labels = images[good], labels[good]
        return source_from_arrays(spec, ids, {"image": images, "label": labels}, skipped)
    kept = np.flatnonzero(good)

    def read_kept(indices: tf.Tensor) -> dict[str, tf.Tensor]:
        return rows.read(tf.gather(tf.constant(kept, tf.int64), indices))

    return Source(spec, ids, read_kept, skipped, lambda row: examine_or_tell(int(kept[row])))


def _decoded(rows: EncodedRows, decoder: ImageDecoder, keep: bool) -> tf.data.NumpyIterator:
    """Yields (row numbers, images, labels) of whatever decodes, in batches; drops the rest."""
    spec = decoder.spec

    def decode_row(row: tf.Tensor, encoded: tf.Tensor, label: tf.Tensor):
        size = spec.shape[:2] if rows.fixed_size else (None, None)
        channels = spec.channels if rows.fixed_channels else None
        image = tf.ensure_shape(decode(encoded), (*size, channels))
        if not (rows.fixed_size and rows.fixed_channels):
            image = decoder.fit(image)
        # One pixel at least, or else the decoding would be pruned as unused.
        return row, image if keep else image[0, 0, 0], label

    def read(numbers: tf.Tensor):
        raw = rows.read(numbers)
        return numbers, raw["encoded"], raw["label"]

    dataset = tf.data.Dataset.range(len(rows.ids)).batch(_PASS_BATCH)
    dataset = dataset.map(read, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2).unbatch()
    dataset = dataset.map(decode_row, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
    return dataset.batch(_PASS_BATCH).prefetch(2).as_numpy_iterator()


def bad_image(where: str, name: str, reason: str) -> str:
    """The message about one image that cannot be used."""
    return (
        f"{where}: the image {name} {reason}; repair or remove it, "
        "or set config.data.on_bad_image='skip' to leave such images out"
    )


def size_mismatch(where: str, name: str, size: tuple[int, int], spec: ImageSpec) -> str:
    """The message about an image of another size where all must be of one."""
    return (
        f"{where}: the image {name} is {size[0]}x{size[1]} but the first is "
        f"{spec.height}x{spec.width} (height x width); "
        "set config.data.image_size to bring all to one size"
    )


def channel_mismatch(channels: int, spec: ImageSpec) -> str:
    """The reason why an image with another number of channels is a bad one."""
    wanted = spec.channels
    return f"has {channels} channels, not {wanted} (config.data.channels={wanted} converts)"


def decode_reason(error: Exception) -> str:
    """What an error of reading or decoding says about the image."""
    if isinstance(error, (OSError, tf.errors.NotFoundError)):
        return f"cannot be read ({error})"
    if PALETTE in str(error):
        return PALETTE
    if "is empty" in str(error):
        return "is empty"
    if "Unknown image file format" in str(error):
        return "is no PNG, JPEG, GIF or BMP"
    return "is corrupt or truncated"
