import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from modelzoo.data.inputs.decode import (
    convert_channels,
    decode,
    decode_batch,
    read_header,
    to_shape,
)

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


def decoded(encoded, *shape, resize="crop"):
    return to_shape(decode(tf.constant(encoded)), shape, resize).numpy()


@pytest.mark.parametrize("mode, kind, channels", KINDS)
def test_every_kind_decodes_as_pil_does_and_its_header_tells_the_shape(mode, kind, channels):
    image = picture(mode)
    encoded = encode(image, kind)
    assert tuple(decode(tf.constant(encoded)).shape) == (12, 17, channels)
    assert read_header(encoded) == (12, 17, channels)
    theirs = Image.open(io.BytesIO(encoded))
    for wanted, pil_mode in ((1, "L"), (3, "RGB")):
        ours = decoded(encoded, 12, 17, wanted)
        expected = np.asarray(theirs.convert(pil_mode)).reshape(12, 17, wanted)
        # Lossy: another inverse transform and another upsampling of the colours.
        tolerance = {"JPEG": 12, "CMYK": 16}.get("CMYK" if mode == "CMYK" else kind, 0)
        assert abs(ours.astype(int) - expected).max() <= tolerance


def test_a_palette_with_transparency_has_four_channels():
    encoded = encode(picture("P"), "PNG", transparency=3)
    assert read_header(encoded) == (12, 17, 4) == tuple(decode(encoded).shape)
    encoded = encode(picture("L"), "PNG", transparency=3)
    assert read_header(encoded) == (12, 17, 1) == tuple(decode(encoded).shape)


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
    with pytest.raises(ValueError, match="ends within its header"):
        read_header(encoded[:9])


def test_a_bmp_with_a_colour_palette_is_refused():
    encoded = encode(picture().quantize(16), "BMP")
    with pytest.raises(tf.errors.InvalidArgumentError, match="is a BMP with a colour palette"):
        tf.function(decode)(tf.constant(encoded))
    with pytest.raises(ValueError, match="is a BMP with a colour palette"):
        read_header(encoded)
    grey = picture("L")
    np.testing.assert_array_equal(decode(encode(grey, "BMP"))[..., 0], np.asarray(grey))


@pytest.mark.parametrize(
    "junk, reason", [(b"", "is empty"), (b"BM", "ends within"), (b"hello world", "is no PNG, JPEG")]
)
def test_what_is_no_image_is_refused(junk, reason):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(tf.constant(junk))
    with pytest.raises(ValueError, match=reason):
        read_header(junk)


def test_the_header_of_a_progressive_jpeg_with_a_long_preamble():
    encoded = encode(picture(), "JPEG", progressive=True, exif=b"Exif\0\0" + bytes(5000))
    assert read_header(encoded) == (12, 17, 3)
