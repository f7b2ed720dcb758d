"""How far a training has come, for whoever shows it."""

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Told as training goes on; all numbers count from 1, and each call is quick."""

    def read(self, done: int, total: int) -> None:
        """So many images of one data set are read."""

    def batch(self, epoch: int, done: int, total: int) -> None:
        """So many of an epoch's batches are fitted."""

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch is done and kept; its `loss`, `accuracy`, `val_loss`, `val_accuracy`."""


class Silent:
    """Shows nothing."""

    def read(self, done: int, total: int) -> None: ...

    def batch(self, epoch: int, done: int, total: int) -> None: ...

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None: ...
