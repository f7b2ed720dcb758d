"""How far a training has come, for whoever shows it."""

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Told as training goes on; all numbers count from 1, and each call is quick.

    What a call raises ends the training; epochs done are kept.
    """

    def read(self, done: int, total: int) -> None:
        """So many images of one source are read."""

    def data(self, train: Mapping[str, int], validation: Mapping[str, int], dropped: int) -> None:
        """Images by label, and how many were dropped from `train` because `validation` has them too."""

    def candidate(self, name: str, epochs: int) -> None:
        """A candidate's turn has come; it takes so many epochs at most."""

    def batch(self, epoch: int, done: int, total: int) -> None:
        """So many of an epoch's batches are fitted."""

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch is done and kept; its `loss`, `accuracy`, `val_loss`, `val_accuracy` and `seconds`."""


class Silent:
    """Shows nothing."""

    def read(self, done: int, total: int) -> None: ...

    def data(
        self, train: Mapping[str, int], validation: Mapping[str, int], dropped: int
    ) -> None: ...

    def candidate(self, name: str, epochs: int) -> None: ...

    def batch(self, epoch: int, done: int, total: int) -> None: ...

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None: ...
