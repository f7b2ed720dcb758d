"""A model on labelled images, in each precision: right how often, and how fast, against Keras' own `predict`.

python -m benchmarks.accuracy FOLDER [--model PICKLE]     # one subfolder a label; cards used FER-2013's validation
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from models.cpu import has_bf16
from models.labels import EMOTIONS
from models.release.files import load_release
from models.release.release import Release
from models.settings import SHIPPED_MODEL, Precision
from trainer.datasets.load import load
from worker.engines.keras import to_keras
from worker.engines.openvino import OpenVinoEngine

BATCH = 64
KERAS_BATCH = 32  # The reference's.
CORES = len(os.sched_getaffinity(0))

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def ways(release: Release) -> dict[str, Predict]:
    """Keras as the reference used it, then each precision that the processor has, on all cores."""
    network = to_keras(release)
    found: dict[str, Predict] = {
        "Keras predict": lambda x: network.predict(x, batch_size=KERAS_BATCH, verbose=0)
    }
    available: dict[Precision, bool] = {
        "f32": True,
        "bf16": has_bf16(),
        "int8": release.int8 is not None,
    }
    for precision in [name for name, there in available.items() if there]:
        engine = OpenVinoEngine(release, precision, threads=CORES)

        def predict(
            inputs: NDArray[np.float32], engine: OpenVinoEngine = engine
        ) -> NDArray[np.float32]:
            parts = (inputs[start : start + BATCH] for start in range(0, len(inputs), BATCH))
            return np.concatenate([engine.predict(part) for part in parts])

        found[precision] = predict
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL)
    arguments = parser.parse_args()
    release = load_release(arguments.model)
    data = load([str(arguments.folder)], release.preprocessing)
    inputs = release.preprocessing.to_input(data.images)
    present = np.unique(data.labels)
    columns = ("images/s", "of Keras", "accuracy", "label as Keras", "largest difference")
    table = Table("way", *columns, *(EMOTIONS[i] for i in present), box=None)
    scores: dict[str, NDArray[np.float32]] = {}
    speeds: dict[str, float] = {}
    for name, predict in ways(release).items():
        predict(inputs[: 2 * BATCH])
        begun = time.perf_counter()
        scores[name] = predict(inputs)
        speeds[name] = len(inputs) / (time.perf_counter() - begun)
    reference, slowest = next(iter(scores.values())), next(iter(speeds.values()))
    for name, found in scores.items():
        guess = found.argmax(axis=1)
        table.add_row(
            name,
            f"{speeds[name]:,.0f}",
            f"{speeds[name] / slowest:.2f}",
            f"{(guess == data.labels).mean():.4f}",
            f"{(guess == reference.argmax(axis=1)).mean():.4f}",
            f"{np.abs(found - reference).max():.4f}",
            *(f"{(guess[data.labels == i] == i).mean():.3f}" for i in present),
        )
    console = Console(width=160)
    console.print(table)
    console.print(
        f"{release.name}, {len(data):,} images; under each label its recall.", highlight=False
    )
    console.print(describe(), highlight=False)


if __name__ == "__main__":
    main()
