"""What a user calls a source of training data: a path, and words after commas that say which part of it is meant."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.errors import DataError
from models.sources.names import to_text
from models.sources.roots import within

OPTIONS: Final = {
    ".npy": (),
    ".csv": ("training", "publictest", "privatetest"),
    ".mat": ("train", "val", "test", "body", "face", "soft", "rarest"),
    "": (),
}
"""What may follow a path, by its suffix; any other suffix is a folder's."""


@dataclass(frozen=True)
class DataSource:
    """Where labelled images are.

    Attributes:
        options: lower-case words, each one of those that its kind has.
    """

    path: Path
    options: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The path's suffix if it is one of `OPTIONS`, else "" for a folder."""
        suffix = self.path.suffix.lower()
        return suffix if suffix in OPTIONS else ""

    def one_of(self, *words: str) -> str:
        """The word of these that was given; the first if none was.

        Raises:
            DataError: several were.
        """
        given = [word for word in self.options if word in words]
        if len(given) > 1:
            raise DataError(
                f"{self.path} is asked for as {' and '.join(given)}; give one of {', '.join(words)}."
            )
        return given[0] if given else words[0]


def parse(text: str) -> DataSource:
    """`PATH[,option...]`, such as `Annotations.mat,val,face`. A comma before what is no option belongs to the path.

    Raises:
        DataError: an empty path, or an option that a source of its kind doesn't have.
    """
    head, *tail = text.split(",")
    every = {word for words in OPTIONS.values() for word in words}
    while tail and not all(word.strip().lower() in every for word in tail):
        head = f"{head},{tail.pop(0)}"
    if not head:
        raise DataError("A source of training data has no path; expected PATH or PATH,option.")
    source = DataSource(Path(head), tuple(word.strip().lower() for word in tail))
    for word in source.options:
        if word not in OPTIONS[source.kind]:
            known = ", ".join(OPTIONS[source.kind]) or "none"
            raise DataError(f"{head} has no option {word!r}; those of its kind: {known}.")
    return source


def check_source(text: str, roots: Sequence[Path]) -> str:
    """A source of training data, `PATH[,option...]`, with its path made real; it must lie in one of the roots.

    Raises:
        OutsideRootsError: as it says. It is the same sentence whether or not the path exists.
        DataError: it is missing, or has an option that it doesn't know.
    """
    source = parse(text)
    real = within(os.fsencode(source.path), roots)
    if not os.path.exists(real):
        raise DataError(f"{to_text(os.fsencode(source.path))} doesn't exist.")
    return ",".join((os.fsdecode(real), *source.options))
