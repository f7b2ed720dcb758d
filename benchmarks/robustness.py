"""A model's accuracy on faces as careless boxes, bad light, small files and strong compression show
them.

python -m benchmarks.robustness FOLDER [--model PICKLE] [--precision f32|bf16|int8]

FOLDER has one subfolder per label, and its pictures are cropped faces. Each change is made at the
network's input size. Where a moved box would show more of the picture, the edge is repeated.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from models.pictures.resize import resize
from models.release.files import load_release
from models.settings import SHIPPED_MODEL
from trainer.datasets.load import load
from trainer.quality.evaluation import measure
from worker.engines.openvino import OpenVinoEngine

BATCH: Final = 64

Change = Callable[[Image.Image, int], Image.Image]
"""Changes an RGB picture; its number says to which side, so that all sides come in turn."""


def move(share: float) -> Change:
    """The box is off by a share of its side: to the right, left, top or bottom in turn."""

    def change(picture: Image.Image, number: int) -> Image.Image:
        x, y = ((share, 0), (-share, 0), (0, share), (0, -share))[number % 4]
        return _sample(picture, x=x * picture.width, y=y * picture.height)

    return change


def scale(factor: float) -> Change:
    """The box's sides are this many times as long."""
    return lambda picture, _number: _sample(picture, factor=factor)


def roll(degrees: float) -> Change:
    """The head is rolled, to either side in turn."""
    return lambda picture, number: _sample(picture, degrees=degrees * (-1) ** number)


def _sample(
    picture: Image.Image, x: float = 0, y: float = 0, factor: float = 1, degrees: float = 0
) -> Image.Image:
    """The square of the picture that lies off by (x, y), is this much larger, and is rotated."""
    width, height = picture.size
    margin = width // 2
    padding = ((margin, margin), (margin, margin), (0, 0))
    padded = Image.fromarray(np.pad(np.asarray(picture), padding, "edge"))

    # The result's pixel (u, v) is the padded picture's (a * u + b * v + c, -b * u + a * v + f).
    angle = np.radians(degrees)
    a, b = factor * np.cos(angle), factor * np.sin(angle)
    c = width / 2 + margin + x - a * width / 2 - b * height / 2
    f = height / 2 + margin + y + b * width / 2 - a * height / 2
    matrix = (a, b, c, -b, a, f)
    return padded.transform(picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def compress(quality: int) -> Change:
    """JPEG at this quality."""

    def change(picture: Image.Image, _number: int) -> Image.Image:
        buffer = BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer).convert("RGB")

    return change


def cut(share: float) -> Change:
    """The last rows are missing, this share of all, and are grey, as in a JPEG that was cut."""

    def change(picture: Image.Image, _number: int) -> Image.Image:
        kept = round((1 - share) * picture.height)
        rest = (0, kept, picture.width, picture.height)
        grey = picture.copy()
        grey.paste((128, 128, 128), rest)
        return grey

    return change


def cut_progressive(picture: Image.Image, _number: int) -> Image.Image:
    """A progressive JPEG without its last scan."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=90, progressive=True)
    data = buffer.getvalue()
    return Image.open(BytesIO(data[: data.rindex(b"\xff\xda")] + b"\xff\xd9")).convert("RGB")


def blur(radius: float) -> Change:
    """A Gaussian blur of this standard deviation, in pixels."""
    return lambda picture, _number: picture.filter(ImageFilter.GaussianBlur(radius))


def reduce(parts: int) -> Change:
    """Each side has only this part of the pixels."""

    def change(picture: Image.Image, _number: int) -> Image.Image:
        smaller = (picture.width // parts, picture.height // parts)
        bicubic = Image.Resampling.BICUBIC
        return picture.resize(smaller, bicubic).resize(picture.size, bicubic)

    return change


def light(factor: float) -> Change:
    """Grey levels are multiplied; those above white are lost."""
    return lambda picture, _number: picture.point(lambda level: min(255, round(level * factor)))


def tint(colour: tuple[int, int, int]) -> Change:
    """White becomes this colour, as a grey drawing would on paper of that colour."""
    return lambda picture, _number: ImageChops.multiply(
        picture, Image.new("RGB", picture.size, colour)
    )


CHANGES: Final[Mapping[str, Change]] = MappingProxyType(
    {
        "none": lambda picture, _number: picture,
        "box moved by 10 % of its side": move(0.1),
        "box 10 % larger": scale(1.1),
        "box 10 % smaller": scale(0.9),
        "rolled by 15 degrees": roll(15),
        "JPEG quality 40": compress(40),
        "JPEG cut, 5 % of the rows missing": cut(0.05),
        "JPEG cut, 10 % of the rows missing": cut(0.1),
        "JPEG cut, 20 % of the rows missing": cut(0.2),
        "progressive JPEG without its last scan": cut_progressive,
        "blurred, sigma 1 pixel": blur(1),
        "half the resolution": reduce(2),
        "a quarter of the resolution": reduce(4),
        "half as light": light(0.5),
        "half as light again": light(1.5),
        "in the colour of light skin": tint((255, 219, 190)),
        "in the colour of brown skin": tint((176, 120, 84)),
        "in the colour of dark skin": tint((92, 58, 40)),
    }
)


def change_all(images: NDArray[np.uint8], change: Change) -> list[Image.Image]:
    """The pictures (n, height, width, 3), R, G, B, each changed."""
    return [change(Image.fromarray(image), number) for number, image in enumerate(images)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL)
    parser.add_argument("--precision", choices=("f32", "bf16", "int8"), default="f32")
    arguments = parser.parse_args()

    release = load_release(arguments.model)
    engine = OpenVinoEngine(release, arguments.precision)
    data = load([str(arguments.folder)], replace(release.preprocessing, channel_order="rgb"))

    table = Table("change", "accuracy", "points", "macro F1", "same label as unchanged", box=None)
    plain: NDArray[np.float32] | None = None
    for name, change in CHANGES.items():
        pictures = change_all(data.images, change)
        pixels = np.stack([resize(picture, release.preprocessing) for picture in pictures])
        inputs = release.preprocessing.to_input(pixels)
        starts = range(0, len(inputs), BATCH)
        scores = np.concatenate([engine.predict(inputs[start : start + BATCH]) for start in starts])

        plain = scores if plain is None else plain
        measured, before = measure(scores, data.labels), measure(plain, data.labels)
        table.add_row(
            name,
            f"{measured['accuracy']:.4f}",
            f"{100 * (measured['accuracy'] - before['accuracy']):+.1f}",
            f"{measured['macro_f1']:.4f}",
            f"{(scores.argmax(axis=1) == plain.argmax(axis=1)).mean():.3f}",
        )

    console = Console(width=110)
    console.print(table)
    console.print(f"{release.name} in {engine.precision}, {len(data):,} images.")
    console.print(describe(), highlight=False)


if __name__ == "__main__":
    main()
