"""Decoding JPEGs with `models.pictures.decode` against Pillow alone: cost, and effect on scores.

python -m benchmarks.decode [FOLDER]    # scores of its faces, enlarged; by default, of samples/
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


def _to_jpeg(picture: Image.Image, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    return file.getvalue()


def _decode_us(data: bytes, count: int, *, grey: bool = False) -> float:
    decode(data, TARGET, grey=grey)
    started = time.perf_counter()
    for _ in range(count):
        decode(data, TARGET, grey=grey)
    return (time.perf_counter() - started) / count * 1e6


def measure_cost() -> Table:
    """Microseconds per image, against Pillow's default: full scale."""
    columns = ("Pillow, us", "Cuemill, us", "ratio", "Cuemill in grey, us", "ratio")
    table = Table("pixels", *columns, box=None)
    patches = Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8))
    for size, count in COUNTS.items():
        data = _to_jpeg(patches, size)
        colour = _decode_us(data, count)
        grey = _decode_us(data, count, grey=True)
        with patch("models.pictures.decode._simple_jpeg_size", return_value=None), _full_scale():
            pillow = _decode_us(data, count)

        table.add_row(
            "x".join(map(str, size)),
            f"{pillow:,.0f}",
            f"{colour:,.0f}",
            f"{pillow / colour:.2f}",
            f"{grey:,.0f}",
            f"{pillow / grey:.2f}",
        )
    return table


def measure_effect(folder: Path) -> Table:
    """How decoding at reduced scale changes scores in float32."""
    release = load_release(SHIPPED_MODEL)
    engine, preprocessing = OpenVinoEngine(release, "f32"), release.preprocessing
    faces = list(_faces(folder))

    columns = ("faces", "same label as at full scale", "mean difference", "largest difference")
    table = Table("pixels", *columns, box=None)
    for side in SIDES:
        full, reduced = [], []
        for face in faces:
            data = _to_jpeg(face, (side, side))
            reduced.append(read_pixels(data, preprocessing))
            with _full_scale():
                full.append(read_pixels(data, preprocessing))

        full_scores = engine.predict(preprocessing.to_input(np.stack(full)))
        reduced_scores = engine.predict(preprocessing.to_input(np.stack(reduced)))
        same = (full_scores.argmax(axis=1) == reduced_scores.argmax(axis=1)).mean()
        differences = np.abs(full_scores - reduced_scores).max(axis=1)
        table.add_row(
            f"{side}x{side}",
            str(len(faces)),
            f"{same:.3f}",
            f"{differences.mean():.4f}",
            f"{differences.max():.4f}",
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

    cost, effect = measure_cost(), measure_effect(arguments.folder)
    Console(width=110).print(cost, "", effect, "", describe(), highlight=False)


if __name__ == "__main__":
    main()
