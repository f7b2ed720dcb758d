"""Drawn pictures that are as large and as hard to decode as photographs."""

from pathlib import Path

import numpy as np
from PIL import Image

from samples.scenes import Box, Scene, crowd

FACE, VIDEO, PHOTOGRAPH = (48, 48), (640, 480), (4000, 3000)
"""(width, height) of a cropped face, a video frame and a photograph of 12 megapixels."""

GRAIN = 6.0
"""Gives a JPEG a camera's bytes per pixel."""


def draw(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Fills a folder with JPEGs of blurred patches and grain, all different."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    grain = random.normal(0, GRAIN, (size[1], size[0], 1)).astype(np.float32)

    for i in range(count):
        patches = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
        blurred = np.asarray(patches.resize(size, Image.Resampling.BICUBIC), np.float32)
        grained = blurred + np.roll(grain, i, axis=1)
        picture = Image.fromarray(np.clip(grained, 0, 255).astype(np.uint8))
        picture.save(folder / f"picture-{i:06}.jpg", quality=88)
    return folder


def draw_photographs(folder: Path, count: int, size: tuple[int, int], faces: int) -> list[Box]:
    """Fills a folder with JPEGs of people among hills: other people in the same places.

    Returns:
        Where the faces are, in each of the pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        scene = Scene(size, crowd(faces, first=i), grain=GRAIN, seed=i)
        scene.draw().save(folder / f"picture-{i:06}.jpg", quality=88)
    return Scene(size, crowd(faces)).boxes()


def repeat(folder: Path, count: int) -> Path:
    """Repeats a folder's JPEGs until there are `count`, each with a comment of its own.

    A hundred cost as much to classify as a hundred different ones, and far less to draw.
    """
    originals = [path.read_bytes() for path in sorted(folder.iterdir())]
    for i in range(len(originals), count):
        data = originals[i % len(originals)]
        comment = b"\xff\xfe\x00\x0a" + f"{i:08}".encode()
        # A JPEG begins with two bytes, and then with segments in any order.
        (folder / f"picture-{i:06}.jpg").write_bytes(data[:2] + comment + data[2:])
    return folder
