"""The plan of a training: which data, which candidates, and how to choose among them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from models.errors import DataError, NotFoundError
from trainer.candidates import CANDIDATES


@dataclass(frozen=True)
class Plan:
    """What to train, and on which data.

    Attributes:
        data: sources of labelled images, in the form that `trainer/datasets/load.py` documents.
        validation: sources used to choose the best epoch and candidate. If empty, a fifth of each
            label in `data` is held out instead.
        candidates: names of the networks to train.
        select_by: the validation metric that decides which candidate is released.
        weights: initial weights of pretrained layers: `imagenet`, `none` or a file.
        teachers: digests of the releases whose mean scores are blended into the targets.
        start: digest of the release whose weights the candidates start from; empty for none.
        equalise: whether the network is shown every face in grey and with a flat histogram, in
            training and in use. A release that it starts from decides this, too.
    """

    data: tuple[str, ...]
    validation: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ("cuemill1",)
    select_by: Literal["accuracy", "macro_f1"] = "accuracy"
    weights: str = "imagenet"
    seed: int = 0
    teachers: tuple[str, ...] = ()
    start: str = ""
    equalise: bool = False

    def to_plain(self) -> dict[str, Any]:
        """Converts to plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_plain`, also after a round trip through JSON."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**fields)

    def check(self) -> None:
        """Checks that the plan can be carried out.

        Raises:
            NotFoundError: a candidate does not exist.
            DataError: there is no candidate or no data.
        """
        for name in self.candidates:
            if name not in CANDIDATES:
                known = ", ".join(CANDIDATES)
                raise NotFoundError(f"Unknown candidate {name!r}. Candidates: {known}.")

        if not self.candidates or not self.data:
            raise DataError("A training needs at least one candidate and one data source.")
