"""Copies of pictures for people to look at, with what was found in them drawn in."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.labels import title
from models.pictures.photograph import Photograph

SHORTER_SIDE: Final = 2_000
"""Pixels. A larger picture's copy is reduced, but not below this."""
LONGER_SIDE: Final = 2_000
"""Pixels. A small picture's copy is enlarged for its labels, but not above this."""
BOX_SIDE: Final = 64
PICTURE_SIDE: Final = 240
"""Pixels. Labels hide little of faces in boxes, or of whole pictures, of this shorter side."""

_OTHER: Final = "#E69F00"
_COLOURS: Final = {
    "anger": "#D55E00",
    "disgust": "#009E73",
    "fear": "#CC79A7",
    "happiness": "#F0E442",
    "neutral": "#E6E6E6",
    "sadness": "#0072B2",
    "surprise": "#56B4E9",
}
"""Colours that colour-blind people can tell apart (Okabe and Ito, jfly.uni-koeln.de/color)."""

_DARK: Final = "#1A1A1A"
_LIGHT: Final = "#FFFFFF"

Rectangle = tuple[int, int, int, int]
"""left, top, right, bottom; the last two lie outside."""


@dataclass(frozen=True)
class Mark:
    """A face to mark.

    Attributes:
        score: of the emotion, in [0, 1].
        box: x, y, width and height in pixels of the upright picture; None = the whole picture.
    """

    emotion: str
    score: float
    box: tuple[int, int, int, int] | None = None

    @property
    def text(self) -> str:
        return f"{title(self.emotion)} {self.score:.2f}"

    @property
    def colour(self) -> str:
        return _COLOURS.get(self.emotion, _OTHER)

    @property
    def text_colour(self) -> str:
        red, green, blue = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return _DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 100 else _LIGHT


def annotate(data: bytes, marks: Sequence[Mark], *, as_jpeg: bool) -> bytes:
    """Draws boxes and labels into a copy of a picture, or a caption below it if it has no box.

    The copy is upright and has no metadata: neither the camera's nor the place's, nor a thumbnail.

    Args:
        data: an image file.
        as_jpeg: True = a JPEG, False = a PNG.

    Returns:
        The copy as an image file.

    Raises:
        ImageError: as `decode`.
    """
    photograph = Photograph(data, SHORTER_SIDE)
    boxes = [mark.box for mark in marks if mark.box is not None]

    if boxes:
        image = _enlarged(photograph.view, photograph.scale * _side(boxes), BOX_SIDE)
        scale = image.width / photograph.width
        _draw_boxes(image, marks, [_scaled(box, scale, image.size) for box in boxes])
    else:
        image = _enlarged(photograph.view, min(photograph.view.size), PICTURE_SIDE)
        image = _with_caption(image, marks[0])

    file = io.BytesIO()
    if as_jpeg:
        image.save(file, "JPEG", quality=90, subsampling=0)  # Thin coloured lines stay sharp.
    else:
        image.save(file, "PNG")
    return file.getvalue()


def _side(boxes: Sequence[tuple[int, int, int, int]]) -> float:
    """The median of the boxes' shorter sides."""
    return float(np.median([min(width, height) for _, _, width, height in boxes]))


def _enlarged(view: Image.Image, side: float, wanted: int) -> Image.Image:
    """Removes metadata, and enlarges by a whole number if this side is shorter than wanted."""
    factor = max(min(math.ceil(wanted / side), LONGER_SIDE // max(view.size)), 1)
    size = (view.width * factor, view.height * factor)
    image = view.resize(size, Image.Resampling.BICUBIC) if factor > 1 else view
    image.info = {}  # Profiles and comments, which Pillow would write again.
    return image


def _scaled(box: tuple[int, int, int, int], scale: float, size: tuple[int, int]) -> Rectangle:
    """A box in pixels of the copy, of which at least one pixel lies within it."""
    x, y, width, height = box
    left = min(max(round(x * scale), 0), size[0] - 1)
    top = min(max(round(y * scale), 0), size[1] - 1)
    right = min(max(round((x + width) * scale), left + 1), size[0])
    bottom = min(max(round((y + height) * scale), top + 1), size[1])
    return left, top, right, bottom


def _draw_boxes(image: Image.Image, marks: Sequence[Mark], rectangles: Sequence[Rectangle]) -> None:
    """Draws all boxes, and then all labels over them."""
    draw = ImageDraw.Draw(image)
    boxes = np.array(rectangles)
    side = float(np.median((boxes[:, 2:] - boxes[:, :2]).min(axis=1)))
    font = _font(min(max(round(side / 7), 12), 60))
    line = max(2, round(font.size / 8))

    for mark, (left, top, right, bottom) in zip(marks, rectangles, strict=True):
        # A dark edge on either side of the line makes it visible on any background.
        edge = (left - 1, top - 1, right, bottom)
        draw.rectangle(edge, outline=_DARK, width=line + 2)
        draw.rectangle((left, top, right - 1, bottom - 1), outline=mark.colour, width=line)

    labels = np.zeros_like(boxes)
    for index, mark in enumerate(marks):
        size = _label_size(mark.text, font)
        labels[index] = _place(rectangles[index], size, image.size, boxes, labels)
        _draw_label(draw, mark, labels[index].tolist(), font)


def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font that Pillow carries, at a size in pixels."""
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size=size))


def _label_size(text: str, font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    """The (width, height) of a label: as high for every text."""
    return round(font.getlength(text) + 0.7 * font.size), round(1.4 * font.size)


def _draw_label(
    draw: ImageDraw.ImageDraw, mark: Mark, place: Rectangle, font: ImageFont.FreeTypeFont
) -> None:
    left, top, right, bottom = place
    draw.rectangle((left - 1, top - 1, right, bottom), fill=mark.colour, outline=_DARK)
    middle = ((left + right) / 2, (top + bottom) / 2)
    draw.text(middle, mark.text, mark.text_colour, font, anchor="mm")


def _place(
    box: Rectangle,
    label: tuple[int, int],
    size: tuple[int, int],
    boxes: NDArray[np.int_],
    labels: NDArray[np.int_],
) -> NDArray[np.int_]:
    """Where a label hides least: above its box, else below it or in it.

    Args:
        box: the face.
        label, size: (width, height) of the label and of the picture.
        boxes, labels: (n, 4) and (m, 4), what should not be hidden; empty ones do not count.

    Returns:
        (4,), as a `Rectangle`.
    """
    left, top, right, bottom = box
    width, height = label
    starts = np.array(
        [
            (x, y)
            for y in (top - height, bottom, top, bottom - height)
            for x in (left, right - width, (left + right - width) // 2)
        ]
    )
    starts = np.clip(starts, 0, np.maximum(np.subtract(size, label), 0))
    places = np.hstack([starts, starts + label])

    # A label on a label is worse than one on a face.
    hidden = _overlap(places, boxes) + 4 * _overlap(places, labels)
    best: NDArray[np.int_] = places[hidden.argmin()]
    return best


def _overlap(places: NDArray[np.int_], others: NDArray[np.int_]) -> NDArray[np.int_]:
    """Pixels that each place, of (n, 4), shares with all others, of (m, 4)."""
    starts = np.maximum(places[:, None, :2], others[:, :2])
    ends = np.minimum(places[:, None, 2:], others[:, 2:])
    sides = np.maximum(ends - starts, 0)
    pixels: NDArray[np.int_] = (sides[..., 0] * sides[..., 1]).sum(axis=1)
    return pixels


def _with_caption(image: Image.Image, mark: Mark) -> Image.Image:
    """The picture above its label, which covers nothing of it."""
    font = _font(min(max(round(max(image.size) / 18), 14), 60))
    width, height = _label_size(mark.text, font)
    height = round(1.2 * height)

    captioned = Image.new("RGB", (max(image.width, width), image.height + height), mark.colour)
    captioned.paste(image, ((captioned.width - image.width) // 2, 0))
    middle = (captioned.width / 2, image.height + height / 2)
    ImageDraw.Draw(captioned).text(middle, mark.text, mark.text_colour, font, anchor="mm")
    return captioned
