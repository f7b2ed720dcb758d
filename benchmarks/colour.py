"""The shipped model's scores for the drawn faces of samples/, in colour and in grey.

python -m benchmarks.colour    # the figures of docs/decisions/0005
"""

import os
from dataclasses import replace
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from models.errors import ImageError
from models.labels import EMOTIONS
from models.pictures.decode import decode
from models.pictures.resize import resize
from models.release.files import load_release
from models.settings import SHIPPED_MODEL
from models.sources.read import read_image
from models.sources.walk import walk
from worker.engines.openvino import OpenVinoEngine

SAMPLES = Path(__file__).parents[1] / "samples"


def is_grey(picture: Image.Image) -> bool:
    mean_colour = picture.resize((1, 1)).getpixel((0, 0))
    return len(set(mean_colour)) == 1  # type: ignore[arg-type]


def main() -> None:
    release = load_release(SHIPPED_MODEL)
    engine = OpenVinoEngine(release, "f32")
    in_colour = replace(release.preprocessing, channel_order="rgb", equalise=False)
    variants = [in_colour, replace(release.preprocessing, channel_order="grey")]

    headings = [f"score of the drawn emotion, {variant.channel_order}" for variant in variants]
    table = Table("image", *headings)
    sums = [0.0, 0.0]
    root = os.fsencode(SAMPLES)
    for path in walk(root, recursive=True):
        if path.startswith(b"photographs/"):
            continue
        emotion = Path(os.fsdecode(path)).stem.split("-")[0]
        try:
            picture = decode(read_image(root, path)[0], release.preprocessing.size)
        except ImageError:
            continue
        if is_grey(picture):
            continue

        scores = []
        for variant in variants:
            inputs = variant.to_input(resize(picture, variant)[None])
            scores.append(float(engine.predict(inputs)[0, EMOTIONS.index(emotion)]))
        sums = [total + score for total, score in zip(sums, scores, strict=True)]
        table.add_row(os.fsdecode(path), *(f"{score:.2f}" for score in scores))

    table.add_row("mean", *(f"{total / table.row_count:.2f}" for total in sums))
    console = Console(width=110)
    console.print(table)
    console.print(describe(), highlight=False)


if __name__ == "__main__":
    main()
