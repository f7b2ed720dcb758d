"""Decoding JPEGs as `models.pictures.decode` does, against Pillow's way alone: its cost, and what it does to scores.

python -m benchmarks.decode [FOLDER]    # scores are of this folder's faces, enlarged; else of those in samples/
"""

import argparse
import io
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image, JpegImagePlugin
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from models.errors import ImageError
from models.pictures.decode import decode
from models.pictures.resize import read_pixels
from models.release.files import load_release
from models.settings import SHIPPED_MODEL
from models.sources.read import read_image
from models.sources.walk import walk
from worker.engines.openvino import OpenVinoEngine

TARGET = (48, 48)
COUNTS = {(48, 48): 2_000, (640, 480): 200, (4000, 3000): 10}
SIDES = (240, 480, 1500, 3000)
FACES = 200
SAMPLES = Path(__file__).parents[1] / "samples"


def _jpeg(picture: Image.Image, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    return file.getvalue()


def _microseconds(data: bytes, count: int, *, grey: bool = False) -> float:
    decode(data, TARGET, grey=grey)
    begun = time.perf_counter()
    for _ in range(count):
        decode(data, TARGET, grey=grey)
    return (time.perf_counter() - begun) / count * 1e6


def costs() -> Table:
    """Against Pillow as it is used by default, at full scale."""
    table = Table(
        "pixels", "Pillow, us", "ours, us", "ratio", "ours in grey, us", "ratio", box=None
    )
    rough = Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8))
    for size, count in COUNTS.items():
        data = _jpeg(rough, size)
        ours, grey = (_microseconds(data, count, grey=grey) for grey in (False, True))
        with patch("models.pictures.decode._simple_jpeg_size", return_value=None), _full_scale():
            pillow = _microseconds(data, count)
        table.add_row(
            "x".join(map(str, size)),
            f"{pillow:,.0f}",
            f"{ours:,.0f}",
            f"{pillow / ours:.2f}",
            *(f"{grey:,.0f}", f"{pillow / grey:.2f}"),
        )
    return table


def effect(folder: Path) -> Table:
    """What decoding at reduced scale, and luminance alone, does to float32 scores."""
    release = load_release(SHIPPED_MODEL)
    engine, preprocessing = OpenVinoEngine(release, "f32"), release.preprocessing
    faces = list(_faces(folder))
    table = Table(
        "pixels",
        "faces",
        "label as at full scale",
        "mean difference",
        "largest difference",
        box=None,
    )
    for side in SIDES:
        ways = []
        for data in (_jpeg(face, (side, side)) for face in faces):
            with _full_scale():
                whole = read_pixels(data, preprocessing)
            ways.append((whole, read_pixels(data, preprocessing)))
        full, reduced = (
            engine.predict(preprocessing.to_input(np.stack(way))) for way in zip(*ways, strict=True)
        )
        same = (full.argmax(axis=1) == reduced.argmax(axis=1)).mean()
        off = np.abs(full - reduced).max(axis=1)
        table.add_row(
            f"{side}x{side}",
            str(len(faces)),
            f"{same:.3f}",
            f"{off.mean():.4f}",
            f"{off.max():.4f}",
        )
    return table


def _full_scale() -> AbstractContextManager[Any]:
    return patch.object(JpegImagePlugin.JpegImageFile, "draft", lambda *_: None)


def _faces(folder: Path) -> Iterator[Image.Image]:
    root = os.fsencode(folder.resolve())
    paths = list(walk(root, recursive=True))
    for path in paths[:: max(1, len(paths) // FACES)]:
        try:
            yield decode(read_image(root, path)[0], TARGET)
        except ImageError:
            continue


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=SAMPLES)
    arguments = parser.parse_args()
    console = Console(width=110)
    console.print(costs(), "", effect(arguments.folder), "", describe(), highlight=False)


if __name__ == "__main__":
    main()
