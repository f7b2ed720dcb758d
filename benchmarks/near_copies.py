"""How many validation images show a photograph of the training images, and what that flatters.

python -m benchmarks.near_copies TRAIN VALIDATION [--model PICKLE]

Both are sources as `cuemill train --data` takes them.
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from models.release.files import load_release
from models.settings import SHIPPED_MODEL, Settings
from trainer.datasets.dataset import NEAR_COPY, correlate
from trainer.datasets.load import load
from trainer.quality.evaluation import predict_all
from worker.engines.load import load_engine


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("train")
    parser.add_argument("validation")
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL)
    arguments = parser.parse_args()

    release, console = load_release(arguments.model), Console()
    with console.status("comparing ..."):
        train = load([arguments.train], release.preprocessing)
        validation = load([arguments.validation], release.preprocessing)
        is_copied = correlate(validation, train) > NEAR_COPY

    engine = load_engine(release, Settings())
    scores = predict_all(engine.predict, validation, release.preprocessing)
    is_right = scores.argmax(axis=1) == validation.labels

    table = Table("validation images", "number", f"{release.name} is right, {engine.precision}")
    for title, chosen in (("copied", is_copied), ("others", ~is_copied)):
        table.add_row(title, f"{chosen.sum():,}", f"{is_right[chosen].mean():.4f}")
    table.add_row("all", f"{len(validation):,}", f"{is_right.mean():.4f}")
    console.print(table)


if __name__ == "__main__":
    main()
