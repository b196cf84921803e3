"""Headers of image files: format, size and orientation, read in the graph before any decoder."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modelzoo.fields.errors import format_error

_FORMATS = "PNG, JPEG, GIF, BMP or still WebP"
_CORRUPT = "is corrupt or truncated"
_REFUSAL = "could not correctly convert string: "  # What an error of `require` says before.

_GREYS = bytes(value for grey in range(256) for value in (grey, grey, grey, 0))

_WINDOW = 12  # Bytes of a file that are looked at together.
_MAX_SEGMENTS = 1024  # Of a file, in search of its orientation or its first frame.
_MAX_PIECES = 2**16  # Of the first frame of a GIF, of up to 255 bytes each.
_MAX_WHOLE_GIF = 2**17  # Bytes of a GIF whose frames may be decoded to take the first.


@tf.autograph.experimental.do_not_convert
def read_shape(encoded: tf.Tensor) -> tf.Tensor:
    """The shape that `decode` would return, from the first bytes of a file: int32 `[3]`.

    Channels are 0 if the header does not tell them.

    Raises:
        tf.errors.InvalidArgumentError: the image has another format or ends within its header.
    """

    def shape(read: Reader) -> tf.Tensor:
        header = read(encoded, words)
        stored = tf.stack([header.height, header.width, header.channels])
        whole = require(header.encoded, *header.checks)
        if not header.exif:
            return tf.where(tf.strings.length(whole) > 0, stored, 0)
        orientation = read_orientation(whole, number)
        return tf.where(orientation < 5, stored, tf.gather(stored, [1, 0, 2]))

    words, number = recognize(encoded)
    branches = [functools.partial(shape, read) for _, _, read in READERS]
    return tf.switch_case(number, [*branches, lambda: refuse(encoded, tf.zeros([3], tf.int32))])


def explain(error: Exception) -> str:
    """Why an image cannot be used, from an error of `decode`, such as "is empty"."""
    _, found, reason = format_error(error).partition(_REFUSAL)
    return reason if found else _CORRUPT


def _little(start: int, size: int) -> np.ndarray:
    """The weights of bytes that are a little-endian number, for `_Bytes.numbers`."""
    return np.array([256 ** max(k - start, 0) * (0 <= k - start < size) for k in range(_WINDOW)])


def _big(start: int, size: int) -> np.ndarray:
    """The weights of bytes that are a big-endian number."""
    weights = _little(start, size)
    return np.concatenate(
        [weights[:start], weights[start : start + size][::-1], weights[start + size :]]
    )


class _Bytes:
    """The bytes of a file, and numbers in them."""

    def __init__(self, encoded: tf.Tensor):
        data = tf.io.decode_raw(encoded, tf.uint8)
        self.end = tf.size(data, tf.int64)
        self._data = tf.pad(data, [[0, _WINDOW]])

    def numbers(self, at: tf.Tensor | int, *weights: np.ndarray) -> list[tf.Tensor]:
        """Numbers in the bytes after a place, int64; missing bytes are 0."""
        at = tf.clip_by_value(tf.cast(at, tf.int64), 0, self.end)
        window = tf.cast(tf.slice(self._data, at[None], [_WINDOW]), tf.int64)
        return tf.unstack(tf.reduce_sum(window * np.stack(weights), -1))

    def walk(self, start: tf.Tensor | int, step: "_Step", most: int = _MAX_SEGMENTS) -> tf.Tensor:
        """The place of the segment that is looked for, -1 if the first `most` are others."""

        def body(at: tf.Tensor, inside: tf.Tensor, _) -> tuple:
            found, following, inside = step(self, at, inside)
            return tf.where(found, at, following), inside, found

        at, _, found = tf.while_loop(
            lambda at, _, found: (at < self.end) & ~found,
            body,
            (tf.cast(start, tf.int64), tf.constant(False), tf.constant(False)),
            maximum_iterations=most,
        )
        return tf.where(found, at, -1)

    def orientation(self, start: tf.Tensor) -> tf.Tensor:
        """The orientation in EXIF data that begin at a place, 1 to 8: int64."""
        first_byte, *offsets = self.numbers(start, _big(0, 1), _little(4, 4), _big(4, 4))
        choice = tf.where(first_byte == ord("I"), 0, 1)
        first = start + tf.gather(offsets, choice)
        count = tf.gather(self.numbers(first, _little(0, 2), _big(0, 2)), choice)
        places = first + 2 + 12 * tf.range(tf.minimum(count, _MAX_SEGMENTS))
        places = tf.clip_by_value(places, 0, self.end)
        tags = tf.gather(self._data, places[:, None] + [0, 1])
        tag = tf.gather(tf.constant([[0x12, 0x01], [0x01, 0x12]], tf.uint8), choice)
        found = tf.where(tf.reduce_all(tags == tag, -1), places, self.end)
        place = tf.minimum(tf.reduce_min(found), self.end)
        value = tf.gather(self.numbers(place + 8, _little(0, 2), _big(0, 2)), choice)
        return tf.where((value >= 1) & (value <= 8), value, tf.ones_like(value))


_Step = Callable[[_Bytes, tf.Tensor, tf.Tensor], tuple]
"""Whether a segment at a place is looked for, the next place, and a state, False at the start."""


class Header(NamedTuple):
    """What to decode, and what must hold before that.

    Channels are 0 if they are not known. `exif` is a regular expression, without special characters
    but for escapes, that is in every file with EXIF data; "" if the format has none.
    """

    encoded: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    channels: tf.Tensor | int = 0
    checks: Sequence[tuple[tf.Tensor, str]] = ()
    exif: str = ""


Reader = Callable[[tf.Tensor, tf.Tensor], Header]


def read_orientation(encoded: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """The orientation of an image in the format of that number, 1 to 8: int64."""
    kind = tf.gather([0, 0, 1, 1, 1, 2], number)  # PNG, JPEG or WebP.
    layout = (_big(0, 4), _big(4, 4), _little(4, 4), _big(0, 2), _big(2, 2), _big(4, 6))

    def step(data: _Bytes, at: tf.Tensor, inside: tf.Tensor) -> tuple:
        """Chunks of PNG and WebP have a length and a name; segments of JPEG a marker first."""
        first, second, size, marker, length, name = data.numbers(at, *layout)
        is_exif = (marker == 0xFFE1) & (name == _code(b"Exif\0\0"))
        # Any number of fill bytes may come before a marker; the first scan ends the headers.
        segment = tf.where(marker == 0xFFFF, at + 1, at + 2 + length)
        ends = (marker < 0xFF00) | (marker == 0xFFDA) | (marker == 0xFFD9)
        found = tf.stack([second == _code(b"eXIf"), is_exif, first == _code(b"EXIF")])
        following = [at + 12 + first, tf.where(ends, data.end, segment), at + 8 + size + size % 2]
        return tf.gather(found, kind), tf.gather(tf.stack(following), kind), inside

    data = _Bytes(encoded)
    place = data.walk(tf.gather([8, 2, 12], kind), step)
    skipped = tf.gather(tf.constant([8, 10, 8], tf.int64), kind)
    return data.orientation(tf.where(place < 0, data.end, place + skipped))


def require(encoded: tf.Tensor, *checks: tuple[tf.Tensor, str | tf.Tensor]) -> tf.Tensor:
    """What is encoded, if all conditions hold; fails with the text of the first that does not.

    `tf.debugging.Assert` has a state: op determinism would decode one image after the other.
    """
    said: str | tf.Tensor = "0"
    for condition, text in reversed(checks):
        said = tf.where(condition, said, text)
    return tf.gather([encoded], tf.strings.to_number(said, tf.int32))


def read_png(encoded: tf.Tensor, words: tf.Tensor) -> Header:
    """Reads the header of a PNG from its first words, see `recognize`."""
    # By colour type; transparency adds a channel to a palette, 3.
    channels = tf.gather([1, 0, 3, 0, 2, 0, 4, 0], words[6] // 2**16 % 8)
    return Header(encoded, words[5], words[4], channels, exif="eXIf")


def read_jpeg(encoded: tf.Tensor, words: tf.Tensor) -> Header:
    """Reads the header of a JPEG."""
    height, width, channels = tf.unstack(tf.io.extract_jpeg_shape(encoded))
    return Header(encoded, height, width, tf.minimum(channels, 3), exif=r"Exif\x00\x00")


def _gif_step(data: _Bytes, at: tf.Tensor, inside: tf.Tensor) -> tuple:
    """An extension begins, or goes on with a piece that begins with its length."""
    (first,) = data.numbers(at, _big(0, 1))
    following = tf.where(inside, at + 1 + first, tf.where(first == 0x21, at + 2, data.end))
    return ~inside & (first == 0x2C), following, ~inside | (first > 0)


def _gif_piece(data: _Bytes, at: tf.Tensor, inside: tf.Tensor) -> tuple:
    (length,) = data.numbers(at, _big(0, 1))
    return length == 0, at + 1 + length, inside


def _gif(encoded: tf.Tensor, words: tf.Tensor) -> Header:
    data = _Bytes(encoded)

    def size_and_table(at: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
        """Width and height at a place, and the bytes of the colour table that flags announce."""
        width, height, flags = data.numbers(at, _little(0, 2), _little(2, 2), _big(4, 1))
        return tf.stack([height, width]), flags // 128 * 6 * 2 ** (flags % 8)

    screen, colours = size_and_table(6)
    frame = data.walk(13 + colours, _gif_step)
    first, colours = size_and_table(frame + 5)

    def cut() -> tf.Tensor:
        """The file without the frames after the first, all of which TensorFlow would decode."""
        end = tf.cast(data.walk(frame + 11 + colours, _gif_piece, _MAX_PIECES), tf.int32)
        return tf.strings.substr(encoded, 0, end + 1) + b";"

    whole = tf.cond(data.end > _MAX_WHOLE_GIF, cut, lambda: tf.identity(encoded))
    height, width = tf.unstack(tf.cast(tf.maximum(screen, first), tf.int32))
    return Header(whole, height, width, 3, [(frame >= 0, _CORRUPT)])


def _bmp(encoded: tf.Tensor, words: tf.Tensor) -> Header:
    halves = tf.io.decode_raw(encoded, tf.uint16, fixed_length=68)
    numbers = tf.bitcast(tf.reshape(halves[7:33], [13, 2]), tf.int32)
    header_size, width, height, depth, compression = tf.unstack(numbers[:5])
    bits = depth // 2**16
    # TensorFlow would return the indices of a palette, and mix up the channels of other masks.
    place = tf.clip_by_value(14 + header_size, 0, tf.strings.length(encoded))
    greys = tf.strings.substr(encoded, place, len(_GREYS)) == _GREYS
    masks = tf.reduce_all(numbers[10:] == [0xFF0000, 0xFF00, 0xFF])
    checks = [
        (tf.strings.length(encoded) >= 54, _CORRUPT),
        (tf.reduce_any(bits == [8, 24, 32]), "is a BMP with neither 8, 24 nor 32 bits per pixel"),
        ((bits != 8) | greys, "is a BMP with a colour palette"),
        ((compression == 0) | ((compression == 3) & masks), "is a compressed BMP"),
    ]
    return Header(encoded, tf.abs(height), width, bits // 8, checks)


def _webp(encoded: tf.Tensor, words: tf.Tensor) -> Header:
    data = _Bytes(tf.strings.substr(encoded, 0, 32))
    numbers = (
        _big(0, 1),
        _little(4, 3),
        _little(7, 3),
        _little(1, 4),
        _little(6, 2),
        _little(8, 2),
    )
    flags, *canvas, packed, width, height = data.numbers(20, *numbers)
    sizes = [
        [side + 1 for side in canvas],
        [packed % 2**14 + 1, packed // 2**14 % 2**14 + 1],
        [width % 2**14, height % 2**14],
    ]
    kinds = [_code(b"VP8X"), _code(b"VP8L"), _code(b"VP8 ")]
    kind = tf.argmax(tf.cast(words[3] == kinds, tf.int32))
    width, height = tf.unstack(tf.cast(tf.gather(sizes, kind), tf.int32))
    # TensorFlow 2.21 writes beyond the pixels of an animation.
    still = (words[3] != _code(b"VP8X")) | (flags // 2 % 2 == 0)
    version = f"is WebP, which TensorFlow {tf.__version__} cannot decode"
    checks = [
        (still, f"is animated WebP, not {_FORMATS}"),
        (tf.constant(hasattr(tf.io, "decode_webp")), version),
    ]
    return Header(encoded, height, width, 0, checks, exif="EXIF")


def refuse(encoded: tf.Tensor, result: tf.Tensor) -> tf.Tensor:
    """Fails with the name of another format; the result is never returned."""
    head = tf.strings.substr(encoded, 0, 512)
    matches = [tf.strings.regex_full_match(head, f"(?s){pattern}") for pattern in _OTHERS]
    reasons = [f"is {name}, not {_FORMATS}" for name in _OTHERS.values()]
    own = [tf.strings.length(encoded) == 0, tf.strings.regex_full_match(head, r"\CPNG\C*")]
    first = tf.argmax(tf.cast([*own, *matches, True], tf.int32))
    said = tf.gather(["is empty", _CORRUPT, *reasons, f"is no {_FORMATS}"], first)
    return result[: tf.strings.length(require(encoded, (tf.constant(False), said)))]


def recognize(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The first 32 bytes as big-endian int32 `[8]`, and the number of the format in READERS."""
    words = tf.io.decode_raw(encoded, tf.int32, little_endian=False, fixed_length=32)
    rows = [row for *row, _ in READERS] + [[[0] * 3] * 2]  # The last matches anything.
    masks, values = np.array(rows).transpose(1, 0, 2).astype(np.int32)
    matches = tf.reduce_all(
        tf.bitwise.bitwise_and(tf.gather(words, [0, 2, 6]), masks) == values, -1
    )
    return words, tf.argmax(tf.cast(matches, tf.int32), output_type=tf.int32)


def _code(name: bytes) -> int:
    return int.from_bytes(name, "big")


# Masks and values of the big-endian 32-bit words 0, 2 and 6 of a file, and what reads its header;
# the first format that matches decides. The first is PNG with 16 bits per channel.
READERS: tuple[tuple[tuple[int, ...], tuple[int, ...], Reader], ...] = (
    ((-1, -1, 0xFF << 24), (0x89504E47, 13, 16 << 24), read_png),
    ((-1, -1, 0), (0x89504E47, 13, 0), read_png),
    ((-256, 0, 0), (0xFFD8FF00, 0, 0), read_jpeg),
    ((-1, 0, 0), (_code(b"GIF8"), 0, 0), _gif),
    ((-65536, 0, 0), (_code(b"BM\0\0"), 0, 0), _bmp),
    ((-1, -1, 0), (_code(b"RIFF"), _code(b"WEBP"), 0), _webp),
)

# Other formats by their first bytes. RE2 matches UTF-8, and any byte only by \C.
_OTHERS = {
    r"(II[*+]\x00|MM\x00[*+])\C*": "TIFF",
    r"\C{4}ftypavi[fs]\C*": "AVIF",
    r"\C{4}ftyp(hei|hev|mif1|msf1)\C*": "HEIC",
    r"\C{4}ftyp\C*": "a video",
    r"\x00\x00\x00\x0cJXL \C*": "JPEG XL",
    r"\x00\x00\x00\x0cjP  \C*": "JPEG 2000",
    r"\x00\x00\x01\x00\C*": "ICO",
    r"%PDF\C*": "PDF",
    r"8BPS\C*": "a Photoshop file",
    r"\C{128}DICM\C*": "DICOM",
    r"PK\x03\x04\C*": "a ZIP archive",
    r"\x1f\C\x08\C*": "a gzip archive",
    r"version https://git-lfs\C*": "a Git LFS pointer",
    r"P[1-7]\s\C*": "PNM",
    r"(?i)\C*<svg\b\C*": "SVG",
    r"(?i)\C{0,3}\s*<(!doctype |html)\C*": "HTML",
    r"[^\x00-\x08\x0e-\x1f]+\C{0,3}": "text",
}
