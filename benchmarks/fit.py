"""Fitting as `cuemill train` does it, against plain Keras in float32 at full size, side by side in one run.

The trainer chooses the precision, and a recipe may show smaller pictures in its first epochs: as trained, its speed is
that of all its epochs together. The best of three rounds; in brackets the ratio.
"""

import time
from collections.abc import Callable
from itertools import pairwise

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from trainer.candidates import CANDIDATES, Candidate
from trainer.fit import fuse_normalization
from trainer.run import choose_policy

IMAGES = 1280
ROUNDS = 3
SIDE = 48
NAMES = ("model3", "cuemill1", "mobilenetv2")


def fitting(
    candidate: Candidate, policy: str, side: int, *, fused: bool = True
) -> Callable[[], float]:
    """Makes a network and fits it a little to warm up; each call fits an epoch over random images.

    Args:
        fused: normalize as the trainer does, instead of as Keras does.

    Returns:
        What gives an epoch's images a second, at the recipe's batch size.
    """
    random = np.random.default_rng(0)
    inputs = random.uniform(-1, 1, (IMAGES, side, side, 3)).astype(np.float32)
    labels = random.integers(0, 28, IMAGES)
    keras.mixed_precision.set_global_policy(policy)
    model = candidate.build((side, side, 3), 28)
    if fused:
        fuse_normalization(model)
    model.compile(candidate.optimizer(100), "sparse_categorical_crossentropy", jit_compile=False)

    def epoch(images: int = IMAGES) -> float:
        begun = time.perf_counter()
        model.fit(inputs[:images], labels[:images], batch_size=candidate.batch_size, verbose=0)
        return images / (time.perf_counter() - begun)

    epoch(IMAGES // 5)
    return epoch


def sizes(candidate: Candidate) -> dict[int, float]:
    """The share of its epochs for each side that a candidate is fitted on."""
    steps = candidate.augmentation.sizes if candidate.augmentation else ()
    ends = [0.0, *(share for share, _ in steps), 1.0]
    return dict(
        zip([*(side for _, side in steps), SIDE], [b - a for a, b in pairwise(ends)], strict=True)
    )


def main() -> None:
    table = Table(
        "network", "plain Keras float32, images/s", "at full size", "as trained", "how", box=None
    )
    for name in NAMES:
        candidate = CANDIDATES[name]
        policy = choose_policy(candidate)
        shares = sizes(candidate)
        ways = [
            fitting(candidate, "float32", SIDE, fused=False),
            *(fitting(candidate, policy, s) for s in shares),
        ]
        rounds = [
            [way() for way in ways] for _ in range(ROUNDS)
        ]  # In turn, since the machine's speed wavers.
        plain, *fitted = (max(speeds) for speeds in zip(*rounds, strict=True))
        speeds = dict(zip(shares, fitted, strict=True))
        trained = 1 / sum(share / speeds[side] for side, share in shares.items())
        ratios = (f"{speed:.0f} ({speed / plain:.2f})" for speed in (speeds[SIDE], trained))
        how = ", ".join(f"{share:.0%} at {side}x{side}" for side, share in shares.items())
        table.add_row(name, f"{plain:.0f}", *ratios, f"{policy}, {how}")
    console = Console(width=120)
    console.print(table)
    console.print(f"Keras on {keras.backend.backend()}. {describe()}", highlight=False)


if __name__ == "__main__":
    main()
