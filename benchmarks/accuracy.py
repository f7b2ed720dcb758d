"""A model's accuracy and speed on labelled images, in each precision and with Keras' own `predict`.

python -m benchmarks.accuracy FOLDER [--model PICKLE]

FOLDER has one subfolder per label. The cards of the shipped models used FER-2013's validation part.
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


def list_variants(release: Release) -> dict[str, Predict]:
    """Keras as the reference uses it, then each precision that the CPU supports, on all cores."""
    network = to_keras(release)
    variants: dict[str, Predict] = {
        "Keras predict": lambda x: network.predict(x, batch_size=KERAS_BATCH, verbose=0)
    }
    precisions: list[Precision] = ["f32"]
    if has_bf16():
        precisions.append("bf16")
    if release.int8 is not None:
        precisions.append("int8")
    for precision in precisions:
        variants[precision] = _in_batches(OpenVinoEngine(release, precision, threads=CORES))
    return variants


def _in_batches(engine: OpenVinoEngine) -> Predict:
    def predict(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = (inputs[start : start + BATCH] for start in range(0, len(inputs), BATCH))
        return np.concatenate([engine.predict(part) for part in parts])

    return predict


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

    scores: dict[str, NDArray[np.float32]] = {}
    speeds: dict[str, float] = {}
    for name, predict in list_variants(release).items():
        predict(inputs[: 2 * BATCH])
        started = time.perf_counter()
        scores[name] = predict(inputs)
        speeds[name] = len(inputs) / (time.perf_counter() - started)

    present = np.unique(data.labels)
    columns = ("images/s", "vs Keras", "accuracy", "same label as Keras", "largest difference")
    table = Table("variant", *columns, *(EMOTIONS[i] for i in present), box=None)
    keras_scores, keras_speed = next(iter(scores.values())), next(iter(speeds.values()))
    for name, variant_scores in scores.items():
        predicted = variant_scores.argmax(axis=1)
        recalls = [(predicted[data.labels == i] == i).mean() for i in present]
        table.add_row(
            name,
            f"{speeds[name]:,.0f}",
            f"{speeds[name] / keras_speed:.2f}",
            f"{(predicted == data.labels).mean():.4f}",
            f"{(predicted == keras_scores.argmax(axis=1)).mean():.4f}",
            f"{np.abs(variant_scores - keras_scores).max():.4f}",
            *(f"{recall:.3f}" for recall in recalls),
        )

    console = Console(width=160)
    console.print(table)
    console.print(f"{release.name}, {len(data):,} images. Under each label: its recall.")
    console.print(describe(), highlight=False)


if __name__ == "__main__":
    main()
