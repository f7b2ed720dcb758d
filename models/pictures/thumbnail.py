"""Small JPEGs of pictures and faces, for people to look at: upright, without any metadata."""

import io
import math

import numpy as np
from PIL import Image

from models.pictures.crops import FRAME, crop
from models.pictures.decode import read_size
from models.pictures.photograph import Photograph


def measure(data: bytes) -> tuple[int, int]:
    """The width and height of the upright picture, in pixels.

    Raises:
        ImageError: as `decode`.
    """
    photograph = Photograph(data, 64)
    return photograph.width, photograph.height


def make_thumbnail(data: bytes, side: int) -> bytes:
    """A picture of which no side is longer than `side`, in pixels.

    Raises:
        ImageError: as `decode`.
    """
    width, height = read_size(data)
    shorter = math.ceil(side * min(width, height) / max(width, height))
    view = Photograph(data, shorter).view
    view.thumbnail((side, side))
    return _to_jpeg(view)


def make_face(data: bytes, box: tuple[int, int, int, int], roll: float, side: int) -> bytes:
    """A square of `side` pixels, cut out and turned as the network saw the face.

    Args:
        box: x, y, width, height, in pixels of the upright picture.
        roll: degrees by which the face is turned clockwise.

    Raises:
        ImageError: as `decode`.
    """
    x, y, width, height = box
    reduction = max(FRAME * max(width, height) / side, 1)
    photograph = Photograph(data, math.ceil(min(read_size(data)) / reduction))
    corners = np.array([x, y, x + width, y + height], np.float32) * np.float32(photograph.scale)
    return _to_jpeg(crop(photograph.view, corners, roll, (side, side)))


def _to_jpeg(image: Image.Image) -> bytes:
    image.info = {}  # Profiles and comments, which Pillow would write again.
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=85)
    return file.getvalue()
