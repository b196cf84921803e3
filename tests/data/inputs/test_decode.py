import functools
import io
import re
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from modelzoo.data.inputs import image_headers
from modelzoo.data.inputs.decode import decode, decode_batch
from modelzoo.data.inputs.image_headers import explain, read_shape
from modelzoo.data.inputs.resize import convert_channels, to_shape

KINDS = [
    ("L", "PNG", 1),
    ("LA", "PNG", 2),
    ("RGB", "PNG", 3),
    ("RGBA", "PNG", 4),
    ("P", "PNG", 3),
    ("L", "JPEG", 1),
    ("RGB", "JPEG", 3),
    ("CMYK", "JPEG", 3),
    ("P", "GIF", 3),
    ("L", "BMP", 1),
    ("RGB", "BMP", 3),
    ("RGBA", "BMP", 4),
]


def picture(mode="RGB", size=(12, 17)):
    """A smooth picture (height, width), so that lossy coding and resizing change it little."""
    y, x = np.mgrid[: size[0], : size[1]]
    planes = [np.sin(x / 5 + k) + np.cos(y / 4 - k) for k in range(4)]
    pixels = np.uint8((np.stack(planes, -1) + 2) * 63)
    if mode in ("L", "P"):
        return Image.fromarray(pixels[..., 0]).convert(mode)
    if mode == "LA":
        return Image.merge("LA", [Image.fromarray(pixels[..., k].copy()) for k in (0, 3)])
    return Image.merge(mode, [Image.fromarray(pixels[..., k].copy()) for k in range(len(mode))])


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


WEBP = hasattr(tf.io, "decode_webp")


@functools.cache
def graph(function):
    return tf.function(function, input_signature=[tf.TensorSpec([], tf.string)])


def reason(encoded, function=decode):
    """Why an image is refused."""
    with pytest.raises(tf.errors.InvalidArgumentError) as found:
        function(tf.constant(encoded))
    return explain(found.value)


def decoded(encoded, *shape, resize="crop"):
    return to_shape(decode(tf.constant(encoded)), shape, resize).numpy()


@pytest.mark.parametrize("mode, kind, channels", KINDS)
def test_every_kind_decodes_as_pil_does_and_its_header_tells_the_shape(mode, kind, channels):
    image = picture(mode)
    encoded = encode(image, kind)
    assert tuple(decode(tf.constant(encoded)).shape) == (12, 17, channels)
    assert read_shape(encoded).numpy().tolist() == [
        12,
        17,
        channels * (mode != "P" or kind != "PNG"),
    ]
    theirs = Image.open(io.BytesIO(encoded))
    for wanted, pil_mode in ((1, "L"), (3, "RGB")):
        ours = decoded(encoded, 12, 17, wanted)
        expected = np.asarray(theirs.convert(pil_mode)).reshape(12, 17, wanted)
        # Lossy: another inverse transform and another upsampling of the colours.
        tolerance = {"JPEG": 12, "CMYK": 16}.get("CMYK" if mode == "CMYK" else kind, 0)
        assert abs(ours.astype(int) - expected).max() <= tolerance


def test_a_palette_with_transparency_has_four_channels():
    encoded = encode(picture("P"), "PNG", transparency=3)
    assert tuple(decode(encoded).shape) == (12, 17, 4)
    assert read_shape(encoded).numpy().tolist() == [12, 17, 0]  # Not known before all is read.
    encoded = encode(picture("L"), "PNG", transparency=3)
    assert tuple(decode(encoded).shape) == (12, 17, 1) == tuple(read_shape(encoded).numpy())


@pytest.mark.parametrize("wanted", [1, 2, 3, 4])
@pytest.mark.parametrize("own", [1, 2, 3, 4])
def test_channels_convert_each_to_each(own, wanted):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, own), np.uint8)
    modes = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
    image = Image.fromarray(pixels[..., 0] if own == 1 else pixels, modes[own])
    expected = np.asarray(image.convert(modes[wanted])).reshape(3, 5, wanted)
    np.testing.assert_array_equal(convert_channels(tf.constant(pixels), wanted), expected)


def test_an_image_of_the_size_is_unchanged():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8)
    for resize in ("crop", "stretch"):
        encoded = encode(Image.fromarray(pixels), "PNG")
        np.testing.assert_array_equal(decoded(encoded, 9, 8, 3, resize=resize), pixels)


@pytest.mark.parametrize("target", [(20, 31), (7, 5), (60, 80)])
def test_stretch_resizes_as_pil_does(target):
    image = picture(size=(40, 50))
    ours = decoded(encode(image, "PNG"), *target, 3, resize="stretch")
    theirs = np.asarray(image.resize(target[::-1], Image.Resampling.BILINEAR))
    assert abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("size, scaled", [((40, 60), (20, 30)), ((90, 40), (45, 20))])
def test_crop_scales_the_shorter_side_and_takes_the_centre(size, scaled):
    image = picture(size=size)
    ours = decoded(encode(image, "PNG"), 20, 20, 3)
    theirs = np.asarray(image.resize(scaled[::-1], Image.Resampling.BILINEAR))
    top, left = (scaled[0] - 20) // 2, (scaled[1] - 20) // 2
    theirs = theirs[top : top + 20, left : left + 20]
    assert abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (7, 3), (33, 32), (31, 97)])
def test_any_size_is_resized(size):
    for resize in ("crop", "stretch"):
        found = decoded(encode(picture(size=size), "PNG"), 11, 8, 3, resize=resize)
        assert found.shape == (11, 8, 3)


def test_batches_mix_kinds_and_sizes_in_an_exported_graph(tmp_path):
    files = [encode(picture(mode, (8 + k, 14)), kind) for k, (mode, kind, _) in enumerate(KINDS)]
    module = tf.Module()
    module.decode = tf.function(
        lambda encoded: decode_batch(encoded, (10, 10, 3), "crop"),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    batch = loaded.decode(tf.constant(files)).numpy()
    assert batch.dtype == np.uint8 and batch.shape == (len(files), 10, 10, 3)
    for file, image in zip(files, batch, strict=True):
        np.testing.assert_array_equal(decoded(file, 10, 10, 3), image)
    assert loaded.decode(tf.constant([], tf.string)).shape == (0, 10, 10, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
def test_truncated_files_are_refused(kind):
    encoded = encode(picture("P" if kind == "GIF" else "RGB", (40, 40)), kind)
    for part in (0.2, 0.5, 0.9):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode(tf.constant(encoded[: int(part * len(encoded))]))
    assert reason(encoded[:9]) == reason(encoded[:9], read_shape) == "is corrupt or truncated"


def test_a_bmp_with_a_colour_palette_is_refused():
    encoded = encode(picture().quantize(16), "BMP")
    with pytest.raises(tf.errors.InvalidArgumentError, match="is a BMP with a colour palette"):
        tf.function(decode)(tf.constant(encoded))
    assert reason(encoded, read_shape) == "is a BMP with a colour palette"
    grey = picture("L")
    np.testing.assert_array_equal(decode(encode(grey, "BMP"))[..., 0], np.asarray(grey))


def video(brand):
    return b"\0\0\0\x20ftyp" + brand + bytes(40)


def chunk(name, data):
    check = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + check


def png(height, width, depth=8, color=0):
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(9))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def animation(kind):
    frames = [picture().rotate(90 * k) for k in range(3)]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:])


OTHERS = {
    "is empty": [b""],
    "is text": [b"B", b"hello", "\u017elu\u0165".encode(), b"RIFF"],
    "is corrupt or truncated": [b"BM", b"\x89PNG", b"\xff\xd8\xff", b"GIF89a"],
    ("is corrupt" if hasattr(tf.io, "decode_webp") else "is WebP, which"): [b"RIFF1234WEBP"],
    "is no PNG": [b"\1\2\3", b"\xff\0" * 40],
    "is TIFF": [encode(picture(), "TIFF"), b"MM\0*"],
    "is animated WebP": [animation("WEBP")],
    "is AVIF": [video(b"avif")],
    "is HEIC": [video(b"heic"), video(b"mif1")],
    "is a video": [video(b"qt  ")],
    "is JPEG 2000": [encode(picture(), "JPEG2000")],
    "is JPEG XL": [b"\0\0\0\x0cJXL \r\n"],
    "is ICO": [encode(picture(), "ICO")],
    "is PDF": [encode(picture(), "PDF")],
    "is PNM": [encode(picture(), "PPM")],
    "is SVG": [b"<?xml version='1.0'?>\n<svg width='9'>", b"<SVG>"],
    "is HTML": [b"<!DOCTYPE html>", b"<html lang=en>"],
    "is a ZIP archive": [b"PK\3\4xx"],
    "is a Git LFS pointer": [b"version https://git-lfs.github.com/spec/v1\n"],
}


@pytest.mark.parametrize("name, files", OTHERS.items(), ids=OTHERS)
def test_other_formats_are_refused_by_name(name, files):
    for file in files:
        for function in (decode, graph(decode)):
            assert reason(file, function).startswith(name)


BOMBS = {
    "PNG": png(30000, 30000),
    "deep PNG": png(30000, 30000, depth=16),
    "JPEG": re.sub(rb"(?s)(?<=\xff\xc0..\x08)....", b"\xea\x60" * 2, encode(picture(), "JPEG")),
    "GIF": b"GIF89a\x60\xea\x60\xea\0\0\0" + b"!\xfe\3abc\0" + b"," + bytes(4) + b"\x60\xea" * 2,
    "GIF frame": b"GIF89a\1\0\1\0\0\0\0," + bytes(4) + b"\x60\xea" * 2 + bytes(9),
    "BMP": encode(picture(), "BMP")[:18] + struct.pack("<ii", 60000, -60000) + bytes(2000),
    "WebP": encode(picture(), "WEBP")[:26] + b"\xff\x3f" * 2 + bytes(99),
    "lossless WebP": encode(picture(), "WEBP", lossless=True)[:21] + b"\xff" * 4 + bytes(99),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_large_images_are_refused_before_they_are_decoded(kind):
    bomb = BOMBS[kind]
    if kind == "BMP":
        bomb = bomb[:26] + b"\1\0\x18\0" + bytes(2000)
    if "WebP" in kind and not WEBP:
        pytest.skip("this TensorFlow does not decode WebP")
    assert reason(bomb) == "has more pixels than max_pixels=67108864"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_max_pixels_counts_height_times_width(kind):
    if kind == "WEBP" and not WEBP:
        pytest.skip("this TensorFlow does not decode WebP")
    encoded = encode(picture("P" if kind == "GIF" else "RGB"), kind)
    assert decode(encoded, 12 * 17).shape == (12, 17, 3)
    assert "max_pixels=203" in reason(encoded, lambda one: decode(one, 12 * 17 - 1))


def exif(orientation, big, before=0):
    """EXIF data with some entries before the orientation."""
    order = ">" if big else "<"
    entries = [(0x0100 + k, 4, 1, 9) for k in range(before)]
    packed = [struct.pack(f"{order}HHII", *entry) for entry in entries]
    packed.append(struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0))
    head = (b"MM\0*" if big else b"II*\0") + struct.pack(f"{order}I", 8)
    return b"Exif\0\0" + head + struct.pack(f"{order}H", len(packed)) + b"".join(packed) + bytes(4)


@pytest.mark.parametrize("big", [False, True], ids=["II", "MM"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_images_are_turned_as_people_see_them(kind, big):
    if kind == "WEBP" and not WEBP:
        pytest.skip("this TensorFlow does not decode WebP")
    options = {"lossless": True} if kind == "WEBP" else {}
    for orientation in range(10):
        data = exif(orientation, big, before=orientation % 3)
        encoded = encode(picture(), kind, exif=data, **options)
        theirs = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))))
        for function in (decode, graph(decode)):
            ours = function(tf.constant(encoded)).numpy().astype(int)
            assert ours.shape == theirs.shape
            assert abs(ours - theirs).max() <= (12 if kind == "JPEG" else 0)
        assert tuple(read_shape(encoded).numpy()[:2]) == theirs.shape[:2]


def test_exif_data_are_found_behind_other_segments_and_nowhere_else():
    plain, data = encode(picture(), "JPEG"), exif(6, True)
    segment = b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data
    comment = b"\xff\xfe" + struct.pack(">H", len(segment) + 2) + segment
    for encoded, shape in (
        (plain[:2] + comment + b"\xff\xff" + segment + plain[2:], (17, 12, 3)),
        (plain[:2] + comment + plain[2:], (12, 17, 3)),
        (plain + segment, (12, 17, 3)),
        (plain[:2] + segment[:-30] + plain[2:], (12, 17, 3)),
    ):
        try:
            assert decode(encoded).shape == shape
        except tf.errors.InvalidArgumentError:
            assert len(encoded) < len(plain) + len(segment)  # The segment that is cut.


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pngs_of_16_bits_are_scaled(channels):
    values = np.random.default_rng(0).integers(0, 2**16, (5, 7, channels), np.uint16)
    values[0, 0], values[0, 1] = 0, 2**16 - 1
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    encoded = png(5, 7, 16, color).replace(
        chunk(b"IDAT", zlib.compress(bytes(9))), chunk(b"IDAT", zlib.compress(rows))
    )
    np.testing.assert_array_equal(decode(encoded), np.round(values / 257))
    for bits in (8, 12):
        expected = np.round(np.minimum(values, 2**bits - 1) * 255.0 / (2**bits - 1))
        np.testing.assert_array_equal(decode(encoded, bit_depth=bits), expected)


@pytest.mark.parametrize("limit", [2**17, 0], ids=["whole", "cut"])
def test_the_first_frame_of_a_gif(limit, monkeypatch):
    monkeypatch.setattr(image_headers, "_MAX_WHOLE_GIF", limit)
    encoded = animation("GIF")
    first = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    ours = tf.function(lambda one: decode(one, 2**20 + limit))(encoded)  # Traced with the limit.
    np.testing.assert_array_equal(ours[: len(first)], first)


def test_a_batch_is_decoded_without_state_as_op_determinism_requires():
    function = graph(decode).get_concrete_function().graph.as_graph_def(add_shapes=False)
    functions = [function.node, *(one.node_def for one in function.library.function)]
    assert not any(
        node.op in ("Assert", "Case", "If", "While") or node.op.startswith("Stateful")
        for nodes in functions
        for node in nodes
    )


def test_the_header_of_a_progressive_jpeg_with_a_long_preamble():
    encoded = encode(picture(), "JPEG", progressive=True, exif=b"Exif\0\0" + bytes(5000))
    assert read_shape(encoded).numpy().tolist() == [12, 17, 3]
