"""How a user names a source of training data: a path, then comma-separated options.

`Annotations.mat,val,face` is the validation part of EMOTIC, cropped to faces.
"""

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
"""Options by the path's suffix; "" stands for a folder."""


@dataclass(frozen=True)
class DataSource:
    """Where labelled images are.

    Attributes:
        options: in lower case, each valid for the source's kind.
    """

    path: Path
    options: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The path's suffix if it is one of `OPTIONS`, else "" for a folder."""
        suffix = self.path.suffix.lower()
        return suffix if suffix in OPTIONS else ""

    def one_of(self, *options: str) -> str:
        """The one of these options that was given, or by default the first.

        Raises:
            DataError: more than one was given.
        """
        given = [option for option in self.options if option in options]
        if len(given) > 1:
            raise DataError(
                f"{self.path} has the options {' and '.join(given)}, which exclude each other. "
                f"Give one of {', '.join(options)}."
            )
        return given[0] if given else options[0]


def parse(text: str) -> DataSource:
    """Parses `PATH[,option...]`. A comma belongs to the path if no options follow it.

    Raises:
        DataError: the path is empty, or an option is not valid for its kind.
    """
    path, *options = text.split(",")
    known = {option for options_of_kind in OPTIONS.values() for option in options_of_kind}
    while options and not all(option.strip().lower() in known for option in options):
        path = f"{path},{options.pop(0)}"
    if not path:
        raise DataError("A source of training data has no path. Expected PATH or PATH,option.")

    source = DataSource(Path(path), tuple(option.strip().lower() for option in options))
    valid = OPTIONS[source.kind]
    for option in source.options:
        if option not in valid:
            expected = ", ".join(valid) or "none"
            raise DataError(f"{path} has no option {option!r}. Options of its kind: {expected}.")
    return source


def check_source(text: str, roots: Sequence[Path], spool: Path | None = None) -> str:
    """Checks a source that the API received, and returns it with its real path.

    Raises:
        OutsideRootsError: the path is outside the roots, or in the spool. The text does not depend
            on whether it exists.
        DataError: the path does not exist, or an option is not valid for its kind.
    """
    source = parse(text)
    real_path = within(os.fsencode(source.path), roots, spool)
    if not os.path.exists(real_path):
        raise DataError(f"{to_text(os.fsencode(source.path))} does not exist.")
    return ",".join((os.fsdecode(real_path), *source.options))
