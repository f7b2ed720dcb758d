"""Pictures to measure with, drawn: as large and as hard to decode as photographs, each different from all others."""

from pathlib import Path

import numpy as np
from PIL import Image

FACE, VIDEO, PHOTOGRAPH = (48, 48), (640, 480), (4000, 3000)
"""(width, height): a cut-out face, a video's frame, a photograph of 12 megapixels."""


def draw(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """A folder of JPEGs of blurred patches and grain, at quality 88: about the bytes a pixel of a camera's."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    grain = random.normal(0, 6, (size[1], size[0], 1)).astype(np.float32)
    for i in range(count):
        patches = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        grained = np.asarray(patches, np.float32) + np.roll(grain, i, axis=1)
        picture = Image.fromarray(np.clip(grained, 0, 255).astype(np.uint8))
        picture.save(folder / f"picture-{i:06}.jpg", quality=88)
    return folder
