"""Decoding the files of cameras, scanners, editors and attackers."""

import errno
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.errors import ImageError, PlaceError
from models.pictures import jpeg
from models.pictures.decode import MAX_PIXELS, decode, decode_fitting
from models.pictures.jpeg import MAX_SCANS

TARGET = (48, 48)
RED = (200, 30, 30)


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def pixels(data: bytes) -> NDArray[np.uint8]:
    image = decode(data, TARGET)
    assert image.mode == "RGB"
    return np.asarray(image)


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, TARGET)
    assert str(caught.value).endswith(".")
    return caught.value.code


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_each_accepted_format_gives_its_colours(form: str) -> None:
    data = encode(Image.new("RGB", (60, 50), RED), form)
    np.testing.assert_allclose(pixels(data).mean((0, 1)), RED, atol=6)


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "LA", "PA", "RGBA", "I;16", "I", "F", "CMYK", "YCbCr", "LAB"]
)
def test_each_mode_becomes_rgb(mode: str) -> None:
    if mode in ("I;16", "I", "F"):
        top = 65535 if mode != "F" else 1.0
        image = Image.fromarray(
            np.full((20, 20), top / 2).astype({"I;16": "u2", "I": "i4", "F": "f4"}[mode])
        )
    else:
        image = Image.new("RGB", (20, 20), "white").convert("L" if mode == "PA" else "RGB")
        image = image.convert("P").convert("PA") if mode == "PA" else _convert(image, mode)
    form = "PNG" if mode in ("1", "L", "P", "LA", "RGBA", "I;16") else "TIFF"
    expected = 127 if mode in ("I;16", "I", "F") else 255
    assert abs(int(pixels(encode(image, form)).mean()) - expected) <= 2


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if mode != "LAB":
        return image.convert(mode)
    return Image.merge(
        "LAB",
        [image.convert("L"), Image.new("L", image.size, 128), Image.new("L", image.size, 128)],
    )


def test_transparency_is_laid_over_white() -> None:
    assert pixels(encode(Image.new("RGBA", (9, 9), (0, 0, 0, 0)), "PNG")).min() == 255


def test_an_animation_is_decoded_as_its_first_frame() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("white", "black")]
    assert pixels(encode(frames[0], "GIF", save_all=True, append_images=frames[1:])).min() == 255


def test_an_image_is_turned_upright_by_its_exif() -> None:
    picture = Image.new("RGB", (40, 20))
    picture.paste("white", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # Rotate by 90 degrees clockwise: the left half becomes the top.
    upright = pixels(encode(picture, "JPEG", exif=exif, quality=95))
    assert upright.shape == (40, 20, 3)
    assert upright[:18].mean() > 250
    assert upright[22:].mean() < 5


def test_a_large_jpeg_is_decoded_at_reduced_scale_but_never_below_twice_the_target() -> None:
    image = decode(encode(Image.new("RGB", (3000, 2000), RED), "JPEG"), TARGET)
    assert 96 <= min(image.size) <= 250


@pytest.mark.parametrize("size", [(48, 48), (1, 1), (33, 47), (191, 700), (97, 3000)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}]
)
def test_simple_jpegs_have_the_pixels_that_pillow_gives(
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
    mode: str,
    grey: bool,
    options: dict[str, Any],
) -> None:
    waves = [np.sin(np.arange(side) / 5)[:, None] for side in size]
    field = np.rint(127 + 100 * waves[1] * waves[0].T).astype(np.uint8)
    data = encode(
        Image.merge("RGB", [Image.fromarray(field + 9 * i) for i in range(3)]).convert(mode),
        "JPEG",
        **options,
    )
    short, fitting = decode(data, TARGET, grey=grey), decode_fitting(data, size, grey=grey)
    monkeypatch.setattr(jpeg, "simple_size", lambda *_: None)
    long = decode(data, TARGET, grey=grey)
    assert (short.mode, long.mode) == (("L", "L") if grey else ("RGB", "RGB"))
    np.testing.assert_array_equal(np.asarray(short), np.asarray(long))
    assert fitting is not None
    np.testing.assert_array_equal(fitting, np.asarray(long).reshape(size[1], size[0], -1))


@pytest.mark.parametrize("size", [(60, 50), (900, 700)])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_asked_for_in_grey_is_as_grey_as_its_colours(
    size: tuple[int, int], mode: str
) -> None:
    patches = Image.fromarray(np.random.default_rng(0).integers(60, 200, (4, 5, 3), np.uint8))
    data = encode(patches.resize(size, Image.Resampling.BICUBIC).convert(mode), "JPEG", quality=95)
    grey, colours = (
        np.asarray(decode(data, TARGET, grey=g).convert("L"), int) for g in (True, False)
    )
    assert np.abs(grey - colours).max() <= 2


def test_no_other_file_is_decoded_as_a_simple_jpeg() -> None:
    picture = Image.new("RGB", (60, 50), RED)
    whole, exif = encode(picture, "JPEG"), Image.Exif()
    exif[0x0112] = 6
    xmp = whole[:2] + b"\xff\xe1\x00\x1fhttp://ns.adobe.com/xap/1.0/\0" + whole[2:]
    turned, ink = encode(picture, "JPEG", exif=exif), encode(Image.new("CMYK", (60, 50)), "JPEG")
    for data in (
        turned,
        xmp,
        ink,
        whole[:-20],
        whole[:30],
        b"\xff\xd8\xff",
        encode(picture, "PNG"),
    ):
        assert decode_fitting(data, picture.size) is None
    assert decode_fitting(whole, (50, 60)) is None


def test_when_simplejpeg_fails_pillow_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of sorts")

    monkeypatch.setattr("simplejpeg.decode_jpeg", fail)
    assert pixels(encode(Image.new("RGB", (60, 50), RED), "JPEG")).shape == (50, 60, 3)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, 127),
        (1.05, 255),
        (200.0, 200),
        (260.0, 255),
        (40_000.0, 155),
        (1e6, None),
        (-5.0, None),
    ],
)
def test_floats_are_read_by_the_range_that_they_fit_or_refused(
    value: float, expected: int | None
) -> None:
    data = encode(Image.new("F", (9, 9), value), "TIFF")
    if expected is None:
        assert refusal(data) == "undecodable"
    else:
        assert pixels(data)[0, 0].tolist() == [expected] * 3


def test_one_pixel_is_an_image() -> None:
    assert pixels(encode(Image.new("RGB", (1, 1), RED), "PNG")).shape == (1, 1, 3)


def test_an_empty_file_is_refused() -> None:
    assert refusal(b"") == "empty"


@pytest.mark.parametrize(
    "data", [b"hello", b"\0" * 1000, b"%PDF-1.7 ...", b"<svg/>", b"\xff\xd8\xff"]
)
def test_a_file_that_is_not_an_image_is_refused(data: bytes) -> None:
    assert refusal(data) in ("not_an_image", "truncated", "undecodable")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_a_truncated_file_is_refused(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = encode(Image.fromarray(noise), form)
    assert refusal(data[: len(data) // 2]) in ("truncated", "undecodable", "not_an_image")


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    side = 100_000
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    assert refusal(png) == "too_many_pixels"
    assert side * side > MAX_PIXELS


def test_a_jpeg_of_many_scans_is_refused_but_not_one_that_only_contains_their_marker() -> None:
    data = encode(Image.new("L", (600, 600), 99), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    assert refusal(data[:last] + data[last:-2] * MAX_SCANS + data[-2:]) == "undecodable"
    comment = b"\xff\xfe\x20\x02" + b"\xff\xda" * 4096
    appended = b"\xff\xda" * 1000  # Such as a video after the photo.
    assert pixels(data[:2] + comment + data[2:] + appended).mean() == 99


def test_a_plain_text_ppm_may_have_comments_but_not_too_many() -> None:
    def ppm(comments: int) -> bytes:
        return b"P3 1 1 255\n" + b"#\n" * comments + b"9 9 9"

    assert pixels(ppm(5)).tolist() == [[[9, 9, 9]]]
    assert refusal(ppm(10_000)) == "undecodable"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "out_of_memory"),
        (OSError(errno.EMFILE, "Too many open files"), "read_error"),
    ],
)
def test_what_the_host_lacks_is_not_the_images_fault(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(PlaceError) as place:
        decode(b"not a JPEG", (48, 48))
    assert place.value.image_code == code
