"""Resizing and channel order, against values from OpenCV 5.0 and by hand."""

import io
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from models.pictures.decode import decode
from models.pictures.preprocessing import Preprocessing
from models.pictures.resize import read_pixels, resize


def picture(height: int, width: int) -> Image.Image:
    y, x, c = np.mgrid[:height, :width, :3]
    return Image.fromarray(((x * 7 + y * 13 + c * 50) % 256).astype(np.uint8))


def test_the_default_input_is_48_by_48_rgb_in_minus_one_to_one() -> None:
    preprocessing = Preprocessing()
    pixels = resize(picture(100, 80), preprocessing)
    inputs = preprocessing.to_input(pixels[None])
    assert inputs.shape == (1, 48, 48, 3)
    assert inputs.dtype == np.float32
    extremes = preprocessing.to_input(np.array([0, 255], np.uint8).reshape(1, 1, 1, 2))
    np.testing.assert_allclose(extremes.ravel(), [-1, 1], atol=1e-6)


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    image = picture(48, 48)
    for antialias in (True, False):
        pixels = resize(image, Preprocessing(antialias=antialias))
        np.testing.assert_array_equal(pixels, np.asarray(image))


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
    pixels = resize(picture(height, width), Preprocessing(antialias=False))

    # cv2.resize(picture, (48, 48), interpolation=cv2.INTER_CUBIC) of OpenCV 5.0 gave the same
    # pixels throughout.
    assert pixels[5, 7].tolist() == first
    assert pixels[40, 31].tolist() == second
    assert int(pixels.sum()) == total


def test_bgr_reverses_the_channels() -> None:
    image = picture(48, 48)
    pixels = resize(image, Preprocessing(channel_order="bgr"))
    np.testing.assert_array_equal(pixels, np.asarray(image)[..., ::-1])


def test_grey_is_luminance_on_all_three_channels() -> None:
    image = picture(60, 48)
    pixels = resize(image, Preprocessing(channel_order="grey"))
    luminance = np.asarray(image.convert("L").resize((48, 48), Image.Resampling.BICUBIC))
    for channel in range(3):
        np.testing.assert_array_equal(pixels[..., channel], luminance)


@pytest.mark.parametrize("order", ["rgb", "bgr", "grey"])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("side", [48, 60])
def test_a_file_is_read_as_its_picture_is_resized(
    order: Literal["rgb", "bgr", "grey"], form: str, side: int
) -> None:
    preprocessing = Preprocessing(channel_order=order)
    file = io.BytesIO()
    picture(side, side).save(file, form)
    data = file.getvalue()

    expected = resize(decode(data, preprocessing.size, grey=order == "grey"), preprocessing)
    np.testing.assert_array_equal(read_pixels(data, preprocessing), expected)
