"""Faces cut out of pictures: where they lie, how they are turned, what is beyond the edge."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.pictures.crops import FRAME, LIFT, MAX_ROLL, crop, roll_of

SIZE = (48, 48)


def picture(width: int = 250, height: int = 250) -> Image.Image:
    """Its red is x and its green is y, so a pixel says where it came from."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8))


def origin(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Where the middle of a crop of `picture` came from."""
    x, y = 0.5 + pixels[23:25, 23:25, :2].mean(axis=(0, 1))
    return float(x), float(y)


def box(left: float, top: float, right: float, bottom: float) -> NDArray[np.float32]:
    return np.array([left, top, right, bottom], np.float32)


def points(roll: float) -> NDArray[np.float32]:
    """A face's five points, turned clockwise by so many degrees."""
    upright = np.array([[-1, -1], [1, -1], [0, 0], [-0.8, 1], [0.8, 1]])
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    turned: NDArray[np.float32] = (upright @ np.array([[c, s], [-s, c]])).astype(np.float32)
    return turned


@pytest.mark.parametrize("side", [20, 48, 70, 200])
def test_a_crop_shows_the_square_around_a_box_of_any_size(side: int) -> None:
    pixels = np.asarray(crop(picture(), box(30, 20, 30 + side, 20 + side), 0, SIZE))

    x, y = origin(pixels)
    assert x == pytest.approx(30 + side / 2, abs=1)
    assert y == pytest.approx(20 + side / 2 - LIFT * FRAME * side, abs=1)

    across = pixels[24, -1, 0] - float(pixels[24, 0, 0])
    assert across == pytest.approx(FRAME * side * 47 / 48, abs=2)


def test_a_crop_keeps_its_middle_whatever_the_roll() -> None:
    upright = origin(np.asarray(crop(picture(), box(80, 90, 160, 170), 0, SIZE)))
    for roll in (-40.0, -10.0, 10.0, 40.0):
        turned = origin(np.asarray(crop(picture(), box(80, 90, 160, 170), roll, SIZE)))
        assert turned == pytest.approx(upright, abs=3)


@pytest.mark.parametrize("roll", [-30.0, 30.0])
def test_a_face_turned_by_its_roll_comes_out_upright(roll: float) -> None:
    # Given a bright bar that stands upright in a picture, and the picture turned clockwise
    image = Image.new("L", (300, 300))
    ImageDraw.Draw(image).rectangle((145, 110, 155, 190), fill=255)
    turned = image.rotate(-roll, Image.Resampling.BICUBIC)

    # When the part around it is cut out with that roll
    pixels = np.asarray(crop(turned, box(110, 110, 190, 190), roll, SIZE), np.float32)

    # Then the bar stands upright again: the columns beside it are dark over their whole length
    assert pixels[10:38, 23:25].mean() > 200
    assert pixels[10:38, :16].mean() < 10
    assert pixels[10:38, 32:].mean() < 10


def test_beyond_the_edge_of_a_picture_its_last_pixels_are_repeated() -> None:
    pixels = np.asarray(crop(picture(), box(-40, -40, 40, 40), 0, SIZE))
    assert pixels[0, 0, :2].tolist() == [0, 0]
    assert pixels[2, 40, 1] == 0
    assert pixels[2, 40, 0] > 10


def test_a_box_outside_the_picture_still_gives_pixels() -> None:
    assert crop(picture(), box(900, 900, 950, 950), 10, SIZE).size == SIZE


def test_a_grey_picture_stays_grey() -> None:
    assert crop(picture().convert("L"), box(-5, 5, 100, 110), 20, SIZE).mode == "L"


def test_roll_is_nothing_for_an_upright_face_and_bounded_for_any_other() -> None:
    assert roll_of(points(0)) == pytest.approx(0)
    assert roll_of(points(5)) == pytest.approx(9, abs=0.5)
    assert roll_of(points(-5)) == pytest.approx(-9, abs=0.5)
    assert roll_of(points(90)) == MAX_ROLL
