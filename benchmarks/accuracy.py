"""The shipped model on labelled images, in each precision: the figures of its card.

python -m benchmarks.accuracy FOLDER          # one subfolder a label; its card used FER-2013's validation images
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from models import pickles
from models.labels import EMOTIONS
from models.processor import has_bf16
from models.settings import SHIPPED_MODEL
from trainer.evaluate import predict_all
from trainer.sources import load
from worker.engines.openvino import OpenVinoEngine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    release = pickles.load(SHIPPED_MODEL)
    data = load([str(parser.parse_args().folder)], release.preprocessing)
    present = np.unique(data.labels)
    table = Table("precision", "accuracy", "label as f32", "largest difference", *(f"{EMOTIONS[i]}" for i in present))
    reference = predict_all(OpenVinoEngine(release, "f32").predict, data, release.preprocessing)
    for precision in ("f32", "bf16") if has_bf16() else ("f32",):
        scores = predict_all(OpenVinoEngine(release, precision).predict, data, release.preprocessing)
        guess = scores.argmax(axis=1)
        table.add_row(
            precision,
            f"{(guess == data.labels).mean():.4f}",
            f"{(guess == reference.argmax(axis=1)).mean():.4f}",
            f"{np.abs(scores - reference).max():.4f}",
            *(f"{(guess[data.labels == i] == i).mean():.3f}" for i in present),
        )
    console = Console(width=140)
    console.print(table)
    console.print(f"{len(data):,} images; under each label its recall. {describe()}", highlight=False)


if __name__ == "__main__":
    main()
