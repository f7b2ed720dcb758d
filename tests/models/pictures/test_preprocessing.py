"""Resizing, channel order and scale, against figures from OpenCV 5.0 and by hand."""

import io
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from models.errors import PickleCorruptError
from models.pictures.decode import decode
from models.pictures.preprocessing import Preprocessing


def picture(height: int, width: int) -> Image.Image:
    y, x, c = np.mgrid[:height, :width, :3]
    return Image.fromarray(((x * 7 + y * 13 + c * 50) % 256).astype(np.uint8))


def test_the_default_input_is_48_by_48_rgb_in_minus_one_to_one() -> None:
    made = Preprocessing()
    pixels = made.resize(picture(100, 80))
    inputs = made.to_input(pixels[None])
    assert inputs.shape == (1, 48, 48, 3)
    assert inputs.dtype == np.float32
    extremes = made.to_input(np.array([0, 255], np.uint8).reshape(1, 1, 1, 2))
    np.testing.assert_allclose(extremes.ravel(), [-1, 1], atol=1e-6)


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    image = picture(48, 48)
    for antialias in (True, False):
        np.testing.assert_array_equal(
            Preprocessing(antialias=antialias).resize(image), np.asarray(image)
        )


@pytest.mark.parametrize(
    ("height", "width", "first", "second", "total"),
    [
        (100, 80, [226, 20, 70], [174, 224, 15], 880_828),
        (20, 30, [52, 102, 152], [92, 142, 192], 882_368),
        (500, 333, [74, 124, 174], [93, 143, 193], 881_092),
    ],
)
def test_without_antialiasing_it_resizes_as_opencv_does(
    height: int, width: int, first: list[int], second: list[int], total: int
) -> None:
    found = Preprocessing(antialias=False).resize(picture(height, width))
    # cv2.resize(picture, (48, 48), interpolation=cv2.INTER_CUBIC), OpenCV 5.0: all pixels were equal.
    assert (found[5, 7].tolist(), found[40, 31].tolist(), int(found.sum())) == (
        first,
        second,
        total,
    )


def test_bgr_turns_the_channels_round() -> None:
    image = picture(48, 48)
    np.testing.assert_array_equal(
        Preprocessing(channel_order="bgr").resize(image), np.asarray(image)[..., ::-1]
    )


def test_grey_is_luminance_on_all_three_channels() -> None:
    image = picture(60, 48)
    pixels = Preprocessing(channel_order="grey").resize(image)
    for channel in range(3):
        np.testing.assert_array_equal(
            pixels[..., channel], np.asarray(image.convert("L").resize((48, 48), 3))
        )


@pytest.mark.parametrize("order", ["rgb", "bgr", "grey"])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("side", [48, 60])
def test_a_file_is_read_as_its_picture_is_resized(
    order: Literal["rgb", "bgr", "grey"], form: str, side: int
) -> None:
    file, made = io.BytesIO(), Preprocessing(channel_order=order)
    picture(side, side).save(file, form)
    expected = made.resize(decode(file.getvalue(), made.size, grey=order == "grey"))
    np.testing.assert_array_equal(made.read(file.getvalue()), expected)


def test_constants_survive_the_pickle() -> None:
    made = Preprocessing(96, 64, "bgr", antialias=False, scale=1.0, offset=0.0)
    assert Preprocessing.from_plain(made.to_plain()) == made


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"width": 48.0},
        {"resampling": "magic"},
        {"scale": float("nan")},
        {"antialias": 1},
    ],
)
def test_constants_that_make_no_sense_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(PickleCorruptError):
        Preprocessing.from_plain({**Preprocessing().to_plain(), **change})
