"""Fitting in the precision that the trainer chooses, against plain Keras in float32, side by side in one run."""

import time

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from trainer.candidates import CANDIDATES, Candidate
from trainer.fit import best_policy

IMAGES = 1280
NAMES = ("model3", "cuemill1")


def images_per_second(candidate: Candidate, policy: str) -> float:
    """Of one epoch over random images at the recipe's batch size, after one over a fifth of them to warm up."""
    random = np.random.default_rng(0)
    inputs = random.uniform(-1, 1, (IMAGES, 48, 48, 3)).astype(np.float32)
    labels = random.integers(0, 28, IMAGES)
    keras.mixed_precision.set_global_policy(policy)
    model = candidate.build((48, 48, 3), 28)
    model.compile(candidate.optimizer(100), "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(inputs[: IMAGES // 5], labels[: IMAGES // 5], batch_size=candidate.batch_size, verbose=0)
    begun = time.perf_counter()
    model.fit(inputs, labels, batch_size=candidate.batch_size, verbose=0)
    return IMAGES / (time.perf_counter() - begun)


def main() -> None:
    table = Table("network", "float32, images/s", f"{best_policy()}, images/s", "ratio", box=None)
    for name in NAMES:
        plain, chosen = (images_per_second(CANDIDATES[name], policy) for policy in ("float32", best_policy()))
        table.add_row(name, f"{plain:.0f}", f"{chosen:.0f}", f"{chosen / plain:.2f}")
    console = Console(width=110)
    console.print(table)
    console.print(describe(), highlight=False)


if __name__ == "__main__":
    main()
