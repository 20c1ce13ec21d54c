"""Pictures of every depth and colour: the levels that a viewer shows, or a refusal."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest

from optix_tricks.training import DataError, RandomResizedCrop, decode, read_picture

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 65536, (5, 7)).astype(np.uint16)
DEEP[0, :5] = 0, 128, 129, 255, 65535  # the first two round to 0, those in 16 bits to 1
COLOUR = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)


def saved(picture, image_format="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, image_format, **options)
    return buffer.getvalue()


def grey(levels):
    return np.repeat(np.rint(levels).astype(np.uint8)[..., None], 3, axis=2)


def png16(pixels):
    """A PNG of 16 bits a channel, which Pillow cannot write in colour."""

    def chunk(kind, content):
        whole = kind + content
        return (
            struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))
        )

    height, width, channels = pixels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "JPEG2000"])
def test_grey_of_16_bits_is_scaled_to_8(image_format):
    content = saved(PIL.Image.fromarray(DEEP), image_format)
    np.testing.assert_array_equal(read_picture(content), grey(DEEP / 65535 * 255))
    np.testing.assert_array_equal(
        read_picture(content, "L"), grey(DEEP / 65535 * 255)[..., :1]
    )
    np.testing.assert_array_equal(
        decode(3, {"image": content, "label": 1}).image, grey(DEEP / 65535 * 255)
    )


def test_other_byte_orders_and_colour_of_16_bits_are_scaled_too():
    big = DEEP.astype(">u2")
    other = PIL.Image.frombytes("I;16B", (7, 5), big.tobytes())
    np.testing.assert_array_equal(read_picture(saved(other, "TIFF")), grey(DEEP / 257))
    for channels in (1, 2, 3, 4):
        pixels = RNG.integers(0, 65536, (5, 7, channels)).astype(np.uint16)
        want = pixels[..., :3] if channels > 2 else pixels[..., [0, 0, 0]]
        found = read_picture(png16(pixels))
        assert np.abs(found - want / 257).max() <= 1


@pytest.mark.parametrize(
    ("pixels", "mode"),
    [(DEEP.astype(np.int32), "I"), (DEEP / np.float32(65535), "F")],
)
def test_levels_of_unknown_range_are_refused(pixels, mode):
    content = saved(PIL.Image.fromarray(pixels), "TIFF")
    with pytest.raises(ValueError, match=rf"32-bit numbers, Pillow's mode '{mode}'"):
        read_picture(content)
    with pytest.raises(
        DataError, match=r"image 3 cannot be decoded \(its levels .* save"
    ):
        decode(3, {"image": content, "label": 1})


def with_palette(transparency):
    picture = PIL.Image.new("P", (7, 5))
    picture.putpalette(RNG.integers(0, 256, 12).astype(np.uint8).tobytes())
    indices = RNG.integers(0, 4, (5, 7)).astype(np.uint8)
    picture.putdata(indices.ravel().tolist())
    palette = np.array(picture.getpalette()).reshape(-1, 3)
    return saved(picture, **({"transparency": transparency} if transparency else {})), (
        palette[indices].astype(np.uint8)
    )


@pytest.mark.parametrize("transparency", [None, 1, b"\x00\x80\xff\x10"])
def test_palettes_show_their_colours_and_warn_of_nothing(transparency):
    content, want = with_palette(transparency)
    np.testing.assert_array_equal(read_picture(content), want)


def test_what_is_transparent_keeps_its_colour():
    alpha = RNG.integers(0, 256, (5, 7, 1)).astype(np.uint8)
    content = saved(PIL.Image.fromarray(np.concatenate([COLOUR, alpha], axis=2)))
    np.testing.assert_array_equal(read_picture(content), COLOUR)
    both = np.concatenate([COLOUR[..., :1], alpha], axis=2)
    content = saved(PIL.Image.fromarray(both))
    np.testing.assert_array_equal(read_picture(content), COLOUR[..., [0, 0, 0]])


def test_inks_are_multiplied():
    """The CMYK of a TIFF, and of a JPEG, which holds it upside down."""
    inks = np.broadcast_to(np.uint8([[[200, 30, 90, 40]]]), (16, 16, 4))
    want = 255 * (1 - inks[..., :3] / 255) * (1 - inks[..., 3:] / 255)
    picture = PIL.Image.frombytes("CMYK", (16, 16), inks.tobytes())
    np.testing.assert_allclose(read_picture(saved(picture, "TIFF")), want, atol=1)
    content = saved(picture, "JPEG", quality=100)
    np.testing.assert_allclose(read_picture(content), want, atol=4)


# Where each stored pixel is shown, by the EXIF standard: row 0 is at the visual ...
UPRIGHT = {
    1: lambda x: x,  # top, column 0 at the left
    2: lambda x: x[:, ::-1],  # top, right
    3: lambda x: x[::-1, ::-1],  # bottom, right
    4: lambda x: x[::-1],  # bottom, left
    5: lambda x: x.swapaxes(0, 1),  # left, top
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],  # right, top
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda x: x.swapaxes(0, 1)[::-1],  # left, bottom
}


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_pictures_are_turned_upright(image_format):
    for orientation, upright in UPRIGHT.items():
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        content = saved(PIL.Image.fromarray(COLOUR), image_format, exif=exif)
        np.testing.assert_array_equal(read_picture(content), upright(COLOUR))


def test_a_crop_of_anything_but_uint8_is_refused():
    crop, rng = RandomResizedCrop(4), np.random.default_rng(0)
    for image in (DEEP[..., None], COLOUR / 255, COLOUR[..., 0]):
        with pytest.raises(DataError, match=rf"must be uint8 .* found {image.dtype} \["):
            crop(rng, image)


def test_the_middle_of_a_picture_is_scaled_to_a_size():
    pixels = RNG.integers(0, 256, (6, 10, 3)).astype(np.uint8)
    content = saved(PIL.Image.fromarray(pixels))
    middle = read_picture(content, size=(6, 6))
    np.testing.assert_array_equal(middle, pixels[:, 2:8])
    np.testing.assert_array_equal(read_picture(content, size=(6, 10)), pixels)
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (12, 1))
    half = read_picture(saved(PIL.Image.fromarray(ramp)), "L", size=(6, 12))
    # A triangle over four pixels of a straight line is its value in the middle.
    want = np.tile(np.arange(5, 240, 20), (6, 1))
    np.testing.assert_array_equal(half[:, 1:-1, 0], want[:, 1:-1])
