"""Copies of pictures with boxes and labels."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from models.labels import EMOTIONS
from models.pictures.annotate import Mark, annotate

GREY = (120, 120, 120)
YELLOW = (0xF0, 0xE4, 0x42)


def picture(width: int, height: int, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), GREY).save(file, form, **options)
    return file.getvalue()


def pixels(copy: bytes) -> NDArray[np.int_]:
    return np.asarray(Image.open(io.BytesIO(copy)).convert("RGB")).astype(int)


def test_a_copy_is_upright_and_without_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was held upright.
    exif[0x010F] = "Camera"
    data = picture(600, 400, "JPEG", exif=exif, comment=b"me", icc_profile=b"profile")
    copy = annotate(data, [Mark("happiness", 0.9, (100, 200, 80, 100))], as_jpeg=True)

    image = Image.open(io.BytesIO(copy))
    assert (image.format, image.size) == ("JPEG", (400, 600))
    assert set(image.info) == {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert b"Camera" not in copy
    assert np.abs(pixels(copy)[250, 100] - YELLOW).max() < 40  # The left side of the box.


def test_a_png_keeps_no_text() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "me")
    copy = annotate(picture(300, 300, pnginfo=text), [Mark("fear", 0.5)], as_jpeg=False)
    image = Image.open(io.BytesIO(copy))
    assert (image.format, image.info) == ("PNG", {})


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_boxes_shrink_with_a_large_picture(form: str) -> None:
    data = picture(5000, 4000, form)
    shown = pixels(annotate(data, [Mark("happiness", 0.9, (2000, 1000, 800, 800))], as_jpeg=False))
    assert shown.shape == (2000, 2500, 3)
    yellow = np.argwhere((shown == YELLOW).all(2)[501:])  # Below the label.
    assert yellow.min(0).tolist() == [0, 1000]
    assert yellow.max(0).tolist() == [398, 1399]


def test_boxes_grow_with_a_small_picture_so_that_labels_can_be_read() -> None:
    shown = pixels(
        annotate(picture(200, 100), [Mark("happiness", 0.9, (50, 40, 32, 32))], as_jpeg=False)
    )
    assert shown.shape == (200, 400, 3)
    assert shown[120, 100].tolist() == list(YELLOW)


def test_labels_leave_all_faces_uncovered_where_there_is_room() -> None:
    boxes = [(0, 0, 70, 90), (80, 0, 70, 90), (0, 130, 70, 90), (430, 210, 70, 90)]
    marks = [Mark("happiness", 0.9, box) for box in boxes]
    shown = pixels(annotate(picture(500, 300), marks, as_jpeg=False))
    for x, y, width, height in boxes:
        face = shown[y + 3 : y + height - 3, x + 3 : x + width - 3]
        assert (face == GREY).all()


def test_a_picture_taken_whole_gets_a_caption_that_covers_nothing() -> None:
    shown = pixels(annotate(picture(48, 48), [Mark("happiness", 0.9)], as_jpeg=False))
    height, width, _ = shown.shape
    assert width == 240
    assert height > 240
    assert (shown[:240] == GREY).all()
    assert shown[-1, 0].tolist() == list(YELLOW)


def test_every_label_has_the_contrast_that_readers_need() -> None:
    def luminance(colour: str) -> float:
        """As in WCAG 2.2, which asks for a contrast of 4.5."""
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for emotion in EMOTIONS:
        mark = Mark(emotion, 0.5)
        dark, light = sorted((luminance(mark.colour), luminance(mark.text_colour)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, emotion


def test_a_crowd_and_boxes_beyond_the_picture_are_drawn() -> None:
    """A picture may have been replaced by a smaller one since it was classified."""
    marks = [Mark("neutral", 0.5, (20 * (i % 40), 20 * (i // 40), 20, 20)) for i in range(300)]
    copy = annotate(picture(640, 140), marks, as_jpeg=True)
    assert Image.open(io.BytesIO(copy)).size == (1920, 420)
