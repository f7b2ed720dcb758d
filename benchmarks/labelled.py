"""Reads labelled photographs, and crops of faces with labels, for the benchmarks of detection."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.labels import EMOTIONS, FER2013
from models.pictures.decode import decode

Boxes = NDArray[np.float32]

FULL_SCALE = (1_000_000, 1_000_000)


@dataclass(frozen=True)
class Photograph:
    """A photograph and its faces: boxes (n, 4), left, top, right, bottom, in pixels."""

    set: str
    picture: Image.Image
    faces: Boxes
    ignored: Boxes

    def shrunk(self, longer_side: int) -> "Photograph":
        """A thumbnail, or itself if it is no larger."""
        scale = min(1.0, longer_side / max(self.picture.size))
        size = [max(1, round(side * scale)) for side in self.picture.size]
        picture = self.picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
        return Photograph(self.set, picture, self.faces * scale, self.ignored * scale)


def photographs(folder: Path) -> Iterator[Photograph]:
    """Those that `truth.json` maps to `boxes` and, for faces that do not count, `ignore`."""
    truth = json.loads((folder / "truth.json").read_text())
    for name, faces in truth.items():
        image = decode((folder / name).read_bytes(), FULL_SCALE)
        yield Photograph(
            name.split("/")[0],
            image.convert("RGB"),
            _boxes(faces["boxes"]),
            _boxes(faces.get("ignore", [])),
        )


def _boxes(boxes: list[list[float]]) -> Boxes:
    return np.array(boxes, np.float32).reshape(-1, 4)


def labelled_crops(folder: Path, count: int) -> tuple[list[Path], NDArray[np.int64]]:
    """About `count` images, evenly drawn from a folder with a subfolder for each label, and these.

    Returns:
        The files, and int64 (n,): the labels' places in `EMOTIONS`.
    """
    pairs = sorted((file, label.name) for label in folder.iterdir() for file in label.iterdir())
    pairs = pairs[:: max(1, len(pairs) // count)]
    labels = [EMOTIONS.index(FER2013.get(label, label)) for _, label in pairs]
    return [file for file, _ in pairs], np.array(labels)
