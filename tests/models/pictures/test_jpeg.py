"""JPEGs whose last bytes are missing, and what is not known about others."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.errors import ImageError
from models.pictures.decode import decode, decode_fitting
from models.pictures.jpeg import END, MAX_MISSING

TARGET = (48, 48)
CODINGS: list[dict[str, Any]] = [
    {},
    {"progressive": True},
    {"keep_rgb": True},
    {"restart_marker_blocks": 3},
]


def jpeg(size: tuple[int, int], mode: str = "RGB", **options: Any) -> bytes:
    patches = np.random.default_rng(0).integers(0, 255, (9, 9, 4), np.uint8)
    channels = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    picture = Image.fromarray(np.squeeze(patches[..., :channels]), mode)
    file = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def outcome(data: bytes, grey: bool) -> str | None:
    try:
        decode(data, TARGET, grey=grey)
    except ImageError as error:
        return error.code
    return None


@pytest.mark.parametrize("size", [(48, 48), (300, 200), (1600, 1200)])
@pytest.mark.parametrize("coding", CODINGS, ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("grey", [False, True])
def test_a_jpeg_that_lacks_its_end_is_read_and_half_of_one_is_refused(
    size: tuple[int, int], coding: dict[str, Any], mode: str, grey: bool
) -> None:
    data = jpeg(size, mode, **coding)
    shares = [outcome(data[: -len(data) * percent // 100], grey) for percent in (1, 4, 70)]
    assert [outcome(data[:-lost], grey) for lost in (1, 2, 3, 10)] == [None] * 4
    assert shares == [None, None, "truncated"]


def test_of_a_cut_jpeg_all_but_the_last_rows_are_as_they_were() -> None:
    data = jpeg((60, 64))
    whole, cut = np.asarray(decode(data, TARGET), int), np.asarray(decode(data[:-10], TARGET), int)
    assert np.abs(whole - cut)[:40].max() == 0
    assert decode_fitting(data[:-10], (60, 64)) is None


def test_how_much_is_missing_decides_and_is_said() -> None:
    data = jpeg((640, 640))
    missing = []
    for kept in range(80, 100):
        try:
            decode(data[: len(data) * kept // 100], TARGET)
        except ImageError as error:
            share = float(str(error).split("truncated: ")[1].split(" %")[0]) / 100
            missing.append(share)
        else:
            break
    assert missing == sorted(missing, reverse=True)
    assert missing[0] > 0.15
    assert MAX_MISSING <= missing[-1] < MAX_MISSING + 0.03


def test_a_grey_bottom_is_no_sign_that_a_whole_jpeg_was_cut() -> None:
    picture = Image.new("RGB", (64, 64), (128, 128, 128))
    file = io.BytesIO()
    picture.save(file, "JPEG")
    assert outcome(file.getvalue(), grey=False) is None


def test_a_progressive_jpeg_is_refused_if_it_lacks_more_than_fine_detail() -> None:
    data = jpeg((300, 200), progressive=True)
    scans = [i for i in range(len(data)) if data.startswith(b"\xff\xda", i)]
    assert [outcome(data[: scan + 40], grey=False) for scan in (scans[0], scans[-1])] == [
        "truncated",
        None,
    ]


def test_what_follows_a_whole_jpeg_does_not_matter() -> None:
    data = jpeg((300, 200))
    assert data.endswith(END)
    assert outcome(data + b"appended", grey=False) is None
