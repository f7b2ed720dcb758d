"""Decoding JPEGs as `models.images.decode` does, against Pillow's way alone, side by side in one run.

python -m benchmarks.decode
"""

import io
import time
from unittest.mock import patch

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from models.images import decode

TARGET = (48, 48)
COUNTS = {(48, 48): 2_000, (640, 480): 200, (4000, 3000): 10}


def _jpeg(size: tuple[int, int]) -> bytes:
    rough = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    return file.getvalue()


def _microseconds(data: bytes, count: int) -> float:
    decode(data, TARGET)
    begun = time.perf_counter()
    for _ in range(count):
        decode(data, TARGET)
    return (time.perf_counter() - begun) / count * 1e6


def main() -> None:
    table = Table("pixels", "Pillow, us", "ours, us", "ratio", box=None)
    for size, count in COUNTS.items():
        data = _jpeg(size)
        ours = _microseconds(data, count)
        with patch("models.images._plain_jpeg", return_value=None):
            pillow = _microseconds(data, count)
        table.add_row("x".join(map(str, size)), f"{pillow:,.0f}", f"{ours:,.0f}", f"{pillow / ours:.2f}")
    console = Console(width=110)
    console.print(table)
    console.print(describe(), highlight=False)


if __name__ == "__main__":
    main()
