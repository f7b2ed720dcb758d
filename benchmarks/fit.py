"""The speed of fitting as `cuemill train` does it, against plain Keras in float32 at full size.

The trainer chooses the precision, and a recipe may use smaller pictures in its first epochs: the
speed as trained is that of all its epochs together. Each figure is the best of three rounds.
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


def make_epoch(
    candidate: Candidate, policy: str, side: int, *, fused: bool = True
) -> Callable[[], float]:
    """Builds a network and warms it up.

    Args:
        fused: normalize as the trainer does, instead of as Keras does.

    Returns:
        A function that fits an epoch over random images, and returns its images per second at the
        recipe's batch size.
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
        started = time.perf_counter()
        model.fit(inputs[:images], labels[:images], batch_size=candidate.batch_size, verbose=0)
        return images / (time.perf_counter() - started)

    epoch(IMAGES // 5)
    return epoch


def side_shares(candidate: Candidate) -> dict[int, float]:
    """The share of a candidate's epochs that are fitted at each side length."""
    steps = candidate.augmentation.sizes if candidate.augmentation else ()
    sides = [*(side for _, side in steps), SIDE]
    ends = [0.0, *(share for share, _ in steps), 1.0]
    shares = [end - start for start, end in pairwise(ends)]
    return dict(zip(sides, shares, strict=True))


def main() -> None:
    columns = ("plain Keras float32, images/s", "at full size", "as trained", "recipe")
    table = Table("network", *columns, box=None)
    for name in NAMES:
        candidate = CANDIDATES[name]
        policy = choose_policy(candidate)
        shares = side_shares(candidate)
        plain_epoch = make_epoch(candidate, "float32", SIDE, fused=False)
        epochs = [plain_epoch, *(make_epoch(candidate, policy, side) for side in shares)]

        # In turn, because the machine's speed varies.
        rounds = [[epoch() for epoch in epochs] for _ in range(ROUNDS)]
        plain, *fitted = (max(speeds) for speeds in zip(*rounds, strict=True))

        speeds = dict(zip(shares, fitted, strict=True))
        trained = 1 / sum(share / speeds[side] for side, share in shares.items())
        ratios = (f"{speed:.0f} ({speed / plain:.2f})" for speed in (speeds[SIDE], trained))
        recipe = ", ".join(f"{share:.0%} at {side}x{side}" for side, share in shares.items())
        table.add_row(name, f"{plain:.0f}", *ratios, f"{policy}, {recipe}")

    console = Console(width=120)
    console.print(table)
    console.print("In brackets: the ratio to plain Keras.")
    console.print(f"Keras on {keras.backend.backend()}. {describe()}", highlight=False)


if __name__ == "__main__":
    main()
