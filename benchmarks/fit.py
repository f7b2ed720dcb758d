"""Fitting Model 3 in the precision that the trainer chooses, against plain float32, side by side in one run."""

import time

import keras
import numpy as np
from rich.console import Console

from benchmarks.hardware import describe
from trainer.candidates import CANDIDATES
from trainer.fit import best_policy

IMAGES = 1600


def images_per_second(policy: str) -> float:
    """Of one epoch over random images at the recipe's batch size, after one over a fifth of them to warm up."""
    candidate = CANDIDATES["model3"]
    random = np.random.default_rng(0)
    inputs = random.uniform(-1, 1, (IMAGES, 48, 48, 3)).astype(np.float32)
    labels = random.integers(0, 28, IMAGES)
    keras.mixed_precision.set_global_policy(policy)
    model = candidate.build((48, 48, 3), 28)
    model.compile(candidate.optimizer(), "sparse_categorical_crossentropy")
    model.fit(inputs[: IMAGES // 5], labels[: IMAGES // 5], batch_size=candidate.batch_size, verbose=0)
    begun = time.perf_counter()
    model.fit(inputs, labels, batch_size=candidate.batch_size, verbose=0)
    return IMAGES / (time.perf_counter() - begun)


def main() -> None:
    plain, chosen = images_per_second("float32"), images_per_second(best_policy())
    console = Console(width=110)
    console.print(f"float32 {plain:.0f} images/s, {best_policy()} {chosen:.0f} images/s: {chosen / plain:.2f} times")
    console.print(describe(), highlight=False)


if __name__ == "__main__":
    main()
