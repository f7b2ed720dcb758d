"""Each layout that the accepted formats allow is read as by an independent decoder, or refused.

Where libvips reads no such file, or by a rule of its own, the colours are those that the file was
made from.
"""

import base64
import io
import itertools
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pillow_heif
import pytest
import pyvips
from numpy.typing import NDArray
from PIL import Image

from models.errors import ImageError
from models.pictures.decode import decode
from tests.hostile.images import png_of
from tests.models.pictures.tiffs import FLOAT, LAB, PALETTE, SEPARATED, SIGNED, UNSIGNED, tiff

WHITE_IS_ZERO, GREY, RGB = 0, 1, 2
UNNAMED, PREMULTIPLIED, ALPHA = 0, 1, 2
SHAPE = (20, 28)
TOLERANCE = 2
"""Levels: decoders round differently, when they lay transparency over white."""

Pixels = NDArray[np.float64]


def levels(count: int) -> Pixels:
    """Slopes of several channels, (height, width, count) in [0, 1]."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    channels = [(7 * x + (3 + channel) * y + 40 * channel) % 256 for channel in range(count)]
    return np.stack(channels, -1) / 255.0


def integers(count: int, bits: int) -> NDArray[Any]:
    return np.rint(levels(count) * ((1 << bits) - 1)).astype(f"u{max(1, -(-bits // 8))}")


def ours(data: bytes) -> Pixels | None:
    """What Cuemill reads; None if it refuses the file."""
    try:
        return np.asarray(decode(data, (48, 48)), float)
    except ImageError:
        return None


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def theirs(data: bytes) -> Pixels:
    """What libvips reads, laid over white. Ink becomes colour by the plain formula."""
    image = pyvips.Image.new_from_buffer(data, "").autorot()
    if image.interpretation == "cmyk":
        ink = image.numpy().astype(float) / (255 if image.format == "uchar" else 65535)
        return np.asarray(255 * (1 - ink[..., :3]) * (1 - ink[..., 3:4]))
    white = 65535 if image.interpretation in ("rgb16", "grey16") else 255
    if image.hasalpha():
        image = image.flatten(background=white, max_alpha=white)
    pixels = image.colourspace("srgb").numpy().astype(float)
    return np.broadcast_to(pixels.reshape(*pixels.shape[:2], -1), (*pixels.shape[:2], 3))


def assert_alike(data: bytes, expected: Pixels | None = None, tolerance: float = TOLERANCE) -> None:
    read = ours(data)
    assert read is not None, "refused"
    np.testing.assert_allclose(read, theirs(data) if expected is None else expected, atol=tolerance)


LAYOUTS = {
    # (photometric, extra samples): bits
    (WHITE_IS_ZERO, ()): (1, 2, 4, 8, 16),
    (GREY, ()): (1, 2, 4, 8, 16),
    (GREY, (ALPHA,)): (8,),
    (RGB, ()): (8, 16),
    (RGB, (ALPHA,)): (8, 16),
    (RGB, (PREMULTIPLIED,)): (8, 16),
    (SEPARATED, ()): (8, 16),
}
"""What is read."""
COLOURS = {WHITE_IS_ZERO: 1, GREY: 1, RGB: 3, SEPARATED: 4}
WAYS = list(itertools.product("<>", (False, True), (False, True)))
"""Orders of bytes; planes one after the other or not; compressed or not."""


def every_layout() -> Iterator[tuple[int, tuple[int, ...], int, int]]:
    """Photometric interpretation, extra samples, kind of number and bits."""
    extras = ((), (UNNAMED,), (PREMULTIPLIED,), (ALPHA,), (UNNAMED, ALPHA))
    kinds = [
        *((UNSIGNED, bits) for bits in (1, 2, 4, 8, 10, 12, 14, 16, 32)),
        *((SIGNED, bits) for bits in (8, 16, 32)),
        *((FLOAT, bits) for bits in (16, 32, 64)),
    ]
    for photometric, extra, (kind, bits) in itertools.product(COLOURS, extras, kinds):
        yield photometric, extra, kind, bits


@pytest.mark.parametrize(("order", "planar", "deflate"), WAYS)
def test_each_layout_of_a_tiff_is_read_as_by_libvips(
    order: str, planar: bool, deflate: bool
) -> None:
    for (photometric, extra), depths in LAYOUTS.items():
        count = COLOURS[photometric] + len(extra)
        if planar and photometric == GREY and extra:
            continue
        for bits in depths:
            if order == ">" and (photometric, bits) == (WHITE_IS_ZERO, 16):
                continue  # Pillow does not know it, so it is refused.
            samples = integers(count, bits)
            write = partial(
                tiff, samples, photometric, bits=bits, order=order, deflate=deflate, extra=extra
            )
            # libvips reads a single plane of few bits wrongly.
            assert_alike(write(planar=planar), theirs(write(planar=planar and count > 1)))


@pytest.mark.parametrize(("order", "planar", "deflate"), WAYS)
def test_any_other_layout_of_a_tiff_gives_the_colours_it_was_made_from_or_is_refused(
    order: str, planar: bool, deflate: bool
) -> None:
    for photometric, extra, kind, bits in every_layout():
        if kind == UNSIGNED and bits in LAYOUTS.get((photometric, extra), ()):
            continue
        count = COLOURS[photometric] + len(extra)
        if kind == FLOAT:
            samples = levels(count).astype(f"f{bits // 8}")
            true = levels(count)
        else:
            samples = integers(count, min(bits, 16))
            true = samples / ((1 << min(bits, 16)) - 1)
            samples = samples.astype(f"{'i' if kind == SIGNED else 'u'}{max(1, -(-bits // 8))}")
        data = tiff(
            samples,
            photometric,
            bits=bits,
            kind=kind,
            order=order,
            planar=planar,
            deflate=deflate,
            extra=extra,
        )

        read = ours(data)
        if read is None:
            continue
        assert extra[-1:] != (ALPHA,)
        if photometric == SEPARATED:
            true = (1 - true[..., :3]) * (1 - true[..., 3:4])
        colours = np.broadcast_to(true[..., :3] if true.shape[2] > 2 else true[..., :1], read.shape)
        np.testing.assert_allclose(read, 255 * colours, atol=TOLERANCE)


@pytest.mark.parametrize(("order", "planar", "deflate"), WAYS)
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("white", [255, 65535])
def test_palettes_of_8_and_of_16_bits_give_their_colours(
    order: str, planar: bool, deflate: bool, bits: int, white: int
) -> None:
    ramp = np.linspace(0, 1, 1 << bits)
    palette = (np.concatenate([ramp, 1 - ramp, ramp**2]) * white).astype(int).tolist()
    write = partial(
        tiff,
        integers(1, bits),
        PALETTE,
        bits=bits,
        order=order,
        deflate=deflate,
        palette=palette,
    )
    assert_alike(write(planar=planar), theirs(write()))


def to_lab(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """CIE L*a*b* by the standard's formula, of light D50, in a TIFF's 8 bits."""
    encoded = rgb / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    # sRGB in XYZ, adapted to D50 by Bradford's matrix (brucelindbloom.com).
    matrix = [
        [0.4360747, 0.3850649, 0.1430804],
        [0.2225045, 0.7168786, 0.0606169],
        [0.0139322, 0.0971045, 0.7141733],
    ]
    xyz = linear @ np.transpose(matrix) / [0.9642, 1, 0.8251]
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    lab = np.stack([2.55 * (116 * y - 16), 500 * (x - y), 200 * (y - z)], -1)
    samples: NDArray[np.uint8] = np.rint(lab).astype(np.int16).astype(np.uint8)
    return samples


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("deflate", [False, True])
def test_a_tiff_in_lab_gives_its_colours(order: str, deflate: bool) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    read = ours(tiff(to_lab(colours), LAB, order=order, deflate=deflate))
    assert read is not None
    # Whole numbers of a* and b* are coarse for saturated colours.
    difference = np.abs(read - colours)
    assert difference.mean() < 1.5
    assert np.percentile(difference, 95) <= 6


def test_a_tiff_in_ycbcr_gives_its_colours() -> None:
    picture = Image.fromarray(np.rint(255 * levels(3)).astype(np.uint8)).resize((280, 200))
    for compression in ("raw", "tiff_lzw", "jpeg"):
        data = encode(picture.convert("YCbCr"), "TIFF", compression=compression)
        expected = np.asarray(picture, float)
        read = ours(data)
        assert read is None or np.abs(read - expected).mean() < 6, compression


JPEGS: list[dict[str, Any]] = [
    {},
    {"progressive": True},
    {"subsampling": 0},
    {"subsampling": 2},
    {"keep_rgb": True},
    {"keep_rgb": True, "progressive": True},
]


@pytest.mark.parametrize("options", JPEGS, ids=str)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_each_coding_of_a_jpeg_is_read_as_by_libvips_in_colour_and_in_grey(
    mode: str, options: dict[str, Any]
) -> None:
    patches = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    picture = Image.fromarray(patches).resize((70, 60), Image.Resampling.BICUBIC).convert(mode)
    data = encode(picture, "JPEG", quality=95, **options)
    files = [data]
    if mode == "CMYK":
        # Without Adobe's marker, and with the one that says YCCK.
        start = data.index(b"Adobe") - 4
        files.append(data[:start] + data[start + 16 :])
        files.append(data[: start + 15] + b"\2" + data[start + 16 :])

    for file in files:
        assert_alike(file)
        grey = decode(file, (48, 48), grey=True).convert("L")
        colours = decode(file, (48, 48)).convert("L")
        np.testing.assert_allclose(np.asarray(grey, float), np.asarray(colours, float), atol=3)


LOSSLESS = {
    # Of 16 x 12 pixels; Pillow writes none.
    "grey": (
        "/9j/4AAQSkZJRgABAQAAAQABAAD/wwALCAAMABABAREA/8QAFgABAQEAAAAAAAAAAAAAAAAABAMI/9oA"
        "CAEBAAEAAM/rWta1rWta1rWu61rWta1rWta1ruta1rWta1rWta7rWta1rWta1rWu61rWta1rWta1ruta"
        "1rWta1rWta7rWta1rWta1rWu61rWta1rWta1ruta1rWta1rWta7rWta1rWta1rWu61rWta1rWta1ruta"
        "1rWta1rWta//2Q=="
    ),
    "rgb": (
        "/9j/7gAOQWRvYmUAZAAAAAAA/8MAEQgADAAQA1IRAEcRAEIRAP/EABgAAQEBAQEAAAAAAAAAAAAAAAQD"
        "AQgH/9oADANSAEcAQgABAADn/n/39dTLqZdTLqZdTLqZdTLqZdTLqZdTLqZdTLqZdTXfi6mXUy6mXUy6"
        "mXUy6mXUy6mXUy6mXUy6mXUy6mu/F1Mupl1Mupl1Mupl1Mupl1Mupl1Mupl1Mupl1Nd+LqZdTLqZdTLq"
        "ZdTLqZdTLqZdTLqZdTLqZdTLqa78XUy6mXUy6mXUy6mXUy6mXUy6mXUy6mXUy6mXU134upl1Mupl1Mup"
        "l1Mupl1Mupl1Mupl1Mupl1MuprvxdTLqZdTLqZdTLqZdTLqZdTLqZdTLqZdTLqZdTXfi6mXUy6mXUy6m"
        "XUy6mXUy6mXUy6mXUy6mXUy6mu/F1Mupl1Mupl1Mupl1Mupl1Mupl1Mupl1Mupl1Nd+LqZdTLqZdTLqZ"
        "dTLqZdTLqZdTLqZdTLqZdTLqa78XUy6mXUy6mXUy6mXUy6mXUy6mXUy6mXUy6mXU134upl1Mupl1Mupl"
        "1Mupl1Mupl1Mupl1Mupl1Mupv//Z"
    ),
}


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("grey", [False, True])
def test_a_lossless_jpeg_is_read_for_models_in_colour_and_in_grey(kind: str, grey: bool) -> None:
    y, x = np.mgrid[:12, :16]
    channels = [11 * x + 7 * y, 5 * x + 15 * y, 255 - 9 * x - y][: 1 if kind == "grey" else 3]
    expected = Image.fromarray(np.squeeze(np.stack(channels, -1) % 256).astype(np.uint8))
    read = decode(base64.b64decode(LOSSLESS[kind]), (4, 4), grey=grey)
    np.testing.assert_array_equal(
        np.asarray(read.convert("RGB")), np.asarray(expected.convert("RGB"))
    )


def png(samples: NDArray[Any], bits: int, kind: int, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG of any colour type, whose encoders in Pillow write only some."""
    rows = samples.reshape(len(samples), -1)
    if bits == 16:
        packed = rows.astype(">u2").view(np.uint8)
    else:
        digits = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        packed = np.packbits(digits.reshape(len(rows), -1).astype(bool), axis=1)
    filtered = np.pad(packed, ((0, 0), (1, 0)))
    return png_of(SHAPE[1], SHAPE[0], bits, kind, zlib.compress(filtered.tobytes()), *extra)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("has_key", [False, True])
def test_each_kind_of_png_is_read_as_by_libvips(bits: int, has_key: bool) -> None:
    def key(samples: NDArray[Any]) -> list[tuple[bytes, bytes]]:
        return [(b"tRNS", samples[7, 9].astype(">u2").tobytes())] if has_key else []

    grey = integers(1, bits)
    assert_alike(png(grey, bits, 0, *key(grey)))
    if bits <= 8:
        palette = np.random.default_rng(0).integers(0, 256, (1 << bits, 3), np.uint8)
        alpha = [(b"tRNS", bytes(range(1 << bits)))] if has_key else []
        assert_alike(png(grey, bits, 3, (b"PLTE", palette.tobytes()), *alpha))
    if bits >= 8:
        colours = integers(3, bits)
        assert_alike(png(colours, bits, 2, *key(colours)))
        assert_alike(png(integers(2, bits), bits, 4))
        assert_alike(png(integers(4, bits), bits, 6))


@pytest.mark.parametrize("level", [1, 200, 30_000])
def test_a_dark_png_of_16_bits_stays_dark(level: int) -> None:
    assert_alike(png(np.full((*SHAPE, 1), level, np.uint16), 16, 0))


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_an_interlaced_png_is_read_as_by_libvips(bands: int, bits: int) -> None:
    spaces = {8: ("b-w", "srgb"), 16: ("grey16", "rgb16")}[bits]
    image = pyvips.Image.new_from_array(integers(bands, bits))
    image = image.copy(interpretation=spaces[bands > 2])
    assert_alike(image.pngsave_buffer(interlace=True, bitdepth=bits))


OTHERS: list[tuple[str, str, dict[str, Any]]] = [
    ("GIF", "RGB", {}),
    ("GIF", "P", {"transparency": 3, "interlace": 1}),
    ("GIF", "L", {}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("WEBP", "RGB", {"exif": b"Exif\0\0MM\0*\0\0\0\b\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"}),
]


@pytest.mark.parametrize(("form", "mode", "options"), OTHERS)
def test_each_gif_and_webp_is_read_as_by_libvips(
    form: str, mode: str, options: dict[str, Any]
) -> None:
    patches = np.random.default_rng(0).integers(0, 256, (3, 4, 4), np.uint8)
    picture = Image.fromarray(patches).resize((80, 60), Image.Resampling.BICUBIC)
    assert_alike(encode(picture.convert(mode), form, **options), tolerance=4)
    frames = [picture.convert(mode), picture.rotate(180).convert(mode)]
    animation = encode(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert_alike(animation, tolerance=4)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_an_avif_and_its_animation_give_their_colours(mode: str) -> None:
    patches = np.random.default_rng(0).integers(0, 256, (3, 4, 4), np.uint8)
    picture = Image.fromarray(patches).resize((80, 60), Image.Resampling.BICUBIC).convert(mode)
    options: dict[str, Any] = {"quality": 100, "subsampling": "4:4:4"}
    still = encode(picture, "AVIF", **options)
    assert_alike(still, tolerance=4)
    animation = {"save_all": True, "append_images": [picture.rotate(180)], **options}
    assert_alike(encode(picture, "AVIF", **animation), theirs(still), tolerance=6)


def test_a_heic_picture_gives_its_colours() -> None:
    patches = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)
    picture = Image.fromarray(patches).resize((80, 60), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    heif = pillow_heif.from_pillow(picture)
    heif.save(file, quality=100, chroma=444)
    data = file.getvalue()
    assert data[4:11] == b"ftyphei"
    # libvips' wheel reads no HEVC.
    assert_alike(data, np.asarray(picture, float), tolerance=12)


PLAIN = {
    # In formats that libvips' wheel does not read, samples mean what they say.
    "1.bmp": ("1", "BMP"),
    "L.bmp": ("L", "BMP"),
    "P.bmp": ("P", "BMP"),
    "RGB.bmp": ("RGB", "BMP"),
    "RGB.dib": ("RGB", "DIB"),
    "1.pbm": ("1", "PPM"),
    "L.pgm": ("L", "PPM"),
    "RGB.pnm": ("RGB", "PPM"),
    "RGB.jp2": ("RGB", "JPEG2000"),
    "RGBA.jp2": ("RGBA", "JPEG2000"),
    "L.jp2": ("L", "JPEG2000"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_lossless_formats_give_the_colours_that_were_saved(name: str) -> None:
    mode, form = PLAIN[name]
    picture = Image.fromarray(np.rint(255 * levels(4)).astype(np.uint8))
    picture = (picture if mode == "RGBA" else picture.convert("RGB")).convert(mode)
    white = Image.new("RGBA", picture.size, "white")
    expected = Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    assert_alike(encode(picture, form), np.asarray(expected, float))


def bmp(pixels: NDArray[Any], compression: int, masks: Sequence[int], *, upside: bool) -> bytes:
    """A BMP of pixels of 2 or 4 bytes, from the bottom up unless `upside`."""
    height, width = pixels.shape
    rows = (pixels if upside else pixels[::-1]).tobytes()
    bits = 8 * pixels.itemsize
    extra = b"".join(mask.to_bytes(4, "little") for mask in masks)
    sizes = (width, -height if upside else height, 1, bits, compression, len(rows), 0, 0, 0, 0)
    header = struct.pack("<IiiHHIIiiII", 40 + (len(extra) if len(masks) > 3 else 0), *sizes) + extra
    if len(masks) > 3:  # Masks with alpha are part of a longer header.
        header += bytes(108 - len(header))
        header = struct.pack("<I", 108) + header[4:]
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + rows


@pytest.mark.parametrize("upside", [False, True])
@pytest.mark.parametrize("depths", [(5, 5, 5), (5, 6, 5), (8, 8, 8), (8, 8, 8, 8)])
def test_each_depth_and_order_of_a_bmp_gives_its_colours(
    depths: tuple[int, ...], upside: bool
) -> None:
    channels = levels(len(depths))
    pixels = np.zeros(SHAPE, np.uint32)
    masks, shift = [], sum(depths[:3])
    for channel, depth in enumerate(depths):
        shift = 24 if channel == 3 else shift - depth
        top = (1 << depth) - 1
        level = np.rint(channels[..., channel] * top).astype(np.uint32)
        channels[..., channel] = level / top
        pixels |= level << shift
        masks.append(top << shift)

    is_plain = depths in ((5, 5, 5), (8, 8, 8))
    data = bmp(
        pixels.astype("<u2" if sum(depths) <= 16 else "<u4"),
        0 if is_plain else 3,
        [] if is_plain else masks,
        upside=upside,
    )
    alpha = channels[..., 3:] if len(depths) == 4 else 1.0
    assert_alike(
        data, 255 * (channels[..., :3] * alpha + 1 - alpha), tolerance=8 if depths[0] == 5 else 2
    )


@pytest.mark.parametrize("maximum", [1, 7, 255, 1023, 65535])
def test_a_pgm_is_as_light_as_its_maximum_says(maximum: int) -> None:
    samples = np.rint(levels(1) * maximum).astype(">u2" if maximum > 255 else np.uint8)
    header = f"P5 {SHAPE[1]} {SHAPE[0]} {maximum}\n".encode()
    expected = np.broadcast_to(samples * (255.0 / maximum), (*SHAPE, 3))
    assert_alike(header + samples.tobytes(), expected)
