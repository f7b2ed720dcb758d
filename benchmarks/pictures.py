"""Synthetic pictures that are as large and as hard to decode as photographs, all different."""

from pathlib import Path

import numpy as np
from PIL import Image

FACE, VIDEO, PHOTOGRAPH = (48, 48), (640, 480), (4000, 3000)
"""(width, height) of a cropped face, a video frame and a photograph of 12 megapixels."""


def draw(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Fills a folder with JPEGs of blurred patches and grain, with a camera's bytes per pixel."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    grain = random.normal(0, 6, (size[1], size[0], 1)).astype(np.float32)

    for i in range(count):
        patches = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
        blurred = np.asarray(patches.resize(size, Image.Resampling.BICUBIC), np.float32)
        grained = blurred + np.roll(grain, i, axis=1)
        picture = Image.fromarray(np.clip(grained, 0, 255).astype(np.uint8))
        picture.save(folder / f"picture-{i:06}.jpg", quality=88)
    return folder
