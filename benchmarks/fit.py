"""Fitting as `cuemill train` does it, against plain Keras in float32 at full size, side by side in one run.

The trainer chooses the precision, and a recipe may show smaller pictures in its first epochs: its speed is that of all
its epochs together.
"""

import time
from itertools import pairwise

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from trainer.candidates import CANDIDATES, Candidate
from trainer.fit import best_policy, fuse_normalization

IMAGES = 1280
SIDE = 48
NAMES = ("model3", "cuemill1", "mobilenetv2")


def images_per_second(candidate: Candidate, policy: str, side: int, *, fused: bool = True) -> float:
    """Of one epoch over random images at the recipe's batch size, after one over a fifth of them to warm up.

    Args:
        fused: normalize as the trainer does, instead of as Keras does.
    """
    random = np.random.default_rng(0)
    inputs = random.uniform(-1, 1, (IMAGES, side, side, 3)).astype(np.float32)
    labels = random.integers(0, 28, IMAGES)
    keras.mixed_precision.set_global_policy(policy)
    model = candidate.build((side, side, 3), 28)
    if fused:
        fuse_normalization(model)
    model.compile(candidate.optimizer(100), "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(inputs[: IMAGES // 5], labels[: IMAGES // 5], batch_size=candidate.batch_size, verbose=0)
    begun = time.perf_counter()
    model.fit(inputs, labels, batch_size=candidate.batch_size, verbose=0)
    return IMAGES / (time.perf_counter() - begun)


def sizes(candidate: Candidate) -> dict[int, float]:
    """The share of its epochs for each side that a candidate is fitted on."""
    steps = candidate.augmentation.sizes if candidate.augmentation else ()
    ends = [0.0, *(share for share, _ in steps), 1.0]
    return dict(zip([*(side for _, side in steps), SIDE], [b - a for a, b in pairwise(ends)], strict=True))


def main() -> None:
    table = Table("network", "plain Keras float32, images/s", "as trained, images/s", "ratio", "how", box=None)
    for name in NAMES:
        candidate = CANDIDATES[name]
        policy = best_policy(candidate)
        plain = images_per_second(candidate, "float32", SIDE, fused=False)
        shares = sizes(candidate)
        trained = 1 / sum(share / images_per_second(candidate, policy, side) for side, share in shares.items())
        how = ", ".join(f"{share:.0%} at {side}x{side}" for side, share in shares.items())
        table.add_row(name, f"{plain:.0f}", f"{trained:.0f}", f"{trained / plain:.2f}", f"{policy}, {how}")
    console = Console(width=120)
    console.print(table)
    console.print(f"Keras on {keras.backend.backend()}. {describe()}", highlight=False)


if __name__ == "__main__":
    main()
