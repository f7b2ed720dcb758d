"""The drawn faces of samples/, shown to the shipped model in colour and as luminance: why decision 5 was taken."""

import os
from dataclasses import replace
from pathlib import Path

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


def main() -> None:
    release = load_release(SHIPPED_MODEL)
    engine = OpenVinoEngine(release, "f32")
    ways = [replace(release.preprocessing, channel_order=order) for order in ("rgb", "grey")]
    table = Table("image", *(f"score of what was drawn, {way.channel_order}" for way in ways))
    root = os.fsencode(SAMPLES)
    sums = [0.0, 0.0]
    for path in walk(root, recursive=True):
        name = Path(os.fsdecode(path)).stem.split("-")[0]
        try:
            picture = decode(read_image(root, path)[0], release.preprocessing.size)
        except ImageError:
            continue
        if len(set(picture.resize((1, 1)).getpixel((0, 0)))) == 1:  # type: ignore[arg-type]
            continue  # Grey already.
        scores = [
            float(engine.predict(w.to_input(resize(picture, w)[None]))[0, EMOTIONS.index(name)])
            for w in ways
        ]
        sums = [total + score for total, score in zip(sums, scores, strict=True)]
        table.add_row(os.fsdecode(path), *(f"{score:.2f}" for score in scores))
    table.add_row("mean", *(f"{total / table.row_count:.2f}" for total in sums))
    console = Console(width=110)
    console.print(table)
    console.print(describe(), highlight=False)


if __name__ == "__main__":
    main()
