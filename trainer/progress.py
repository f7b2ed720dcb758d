"""Notifications about the progress of a training."""

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Receives progress; every number counts from 1, and every call returns quickly.

    An exception that a method raises ends the training; completed epochs are kept.
    """

    def read(self, done: int, total: int) -> None:
        """Images of one data source were read."""

    def data(self, train: Mapping[str, int], validation: Mapping[str, int], dropped: int) -> None:
        """The data is loaded.

        Args:
            train, validation: number of images by label.
            dropped: images left out of `train` because `validation` has them too.
        """

    def warning(self, text: str) -> None:
        """The data can be trained on, but not to the user's advantage, as this sentence says."""

    def candidate(self, name: str, epochs: int) -> None:
        """A candidate's training starts; it takes at most this many epochs."""

    def batch(self, epoch: int, done: int, total: int) -> None:
        """A batch of an epoch was fitted."""

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch was committed.

        Args:
            metrics: `loss`, `accuracy`, `val_loss`, `val_accuracy` and `seconds`.
        """


class Silent:
    """Ignores all progress."""

    def read(self, done: int, total: int) -> None: ...

    def data(
        self, train: Mapping[str, int], validation: Mapping[str, int], dropped: int
    ) -> None: ...

    def warning(self, text: str) -> None: ...

    def candidate(self, name: str, epochs: int) -> None: ...

    def batch(self, epoch: int, done: int, total: int) -> None: ...

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None: ...
