"""Copies of a job's pictures with boxes and labels, in a folder of their own."""

import errno
import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.output import count_of, err
from models.atomic import write_atomically
from models.errors import ImageError, UsageError
from models.sources.names import to_bytes, to_text
from models.sources.read import read_image
from models.sources.roots import contains
from models.store.results import Record

MARKER: Final = ".cuemill-annotated"
"""A file that tells a folder of copies, which may be written over, from one of originals."""

SHOWN: Final = 5
"""How many of the pictures that cannot be copied are named."""

_JPEG: Final = (b".jpg", b".jpeg", b".jpe", b".jfif")
_NAME_ERRORS: Final = (errno.ENAMETOOLONG, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)


def check_copies(copies: Path, source: str) -> None:
    """Checks that copies of the pictures below `source` may be written to a folder.

    Raises:
        UsageError: the folder lies within `source`, where the next job would classify the copies,
            or it holds other files, which a copy could replace.
    """
    root = os.path.realpath(os.fsencode(copies))
    shown_name = to_text(os.fsencode(copies))

    if contains(to_bytes(source), root):
        raise UsageError(
            f"{shown_name} is within the folder of the pictures, so the next job would classify "
            "the copies. Name a folder elsewhere."
        )
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(root, error) from None

    if names and os.fsencode(MARKER) not in names:
        raise UsageError(
            f"{shown_name} holds files that are not annotated copies, which a copy could replace. "
            "Name a new or an empty folder."
        )


def annotate(records: Iterable[Record], source: str, copies: Path, total: int | None) -> None:
    """Copies each picture that has faces, and draws its faces and their emotions into the copy.

    Args:
        records: the faces to draw, those of one image in a row.
        source: the job's folder.
        copies: a folder that `check_copies` accepts. The copies have the paths of the pictures.
        total: how many pictures there are, for the progress bar.

    Raises:
        UsageError: the folder cannot be written.
    """
    # Imported here, because Pillow takes long to import.
    from models.pictures.annotate import Mark
    from models.pictures.annotate import annotate as draw

    folder, root = to_bytes(source), os.path.realpath(os.fsencode(copies))
    _write(os.path.join(root, os.fsencode(MARKER)), b"Cuemill may replace the files here.\n")
    done = 0
    skipped = 0

    for path, faces in _with_progress(_by_image(records), total):
        marks = [
            Mark(face.emotion, face.score or 0.0, _box_of(face)) for face in faces if face.emotion
        ]
        try:
            name = to_bytes(path)
            copy = _path_of_copy(folder, root, name)
            data, _ = read_image(folder, name)
            _write(copy, draw(data, marks, as_jpeg=copy.lower().endswith(_JPEG)))
        except (ImageError, _SkippedError) as error:
            skipped += 1
            if skipped <= SHOWN:
                err.print(f"No copy of {path}: {error}")
        else:
            done += 1

    rest = f"; {count_of(skipped, 'picture')} could not be copied" if skipped else ""
    err.print(f"Annotated {count_of(done, 'picture')} in {to_text(root)}{rest}.")


class _SkippedError(Exception):
    """Why a picture gets no copy."""


def _by_image(records: Iterable[Record]) -> Iterator[tuple[str, list[Record]]]:
    for path, group in groupby(records, lambda record: record.path):
        faces = list(group)
        if faces[0].scores is not None:
            yield path, faces


def _with_progress(
    images: Iterable[tuple[str, list[Record]]], total: int | None
) -> Iterator[tuple[str, list[Record]]]:
    columns = (
        TextColumn("drawing faces"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        yield from progress.track(images, total=total)


def _box_of(record: Record) -> tuple[int, int, int, int] | None:
    box = record.face["box"] if record.face else None
    return (box["x"], box["y"], box["width"], box["height"]) if box else None


def _path_of_copy(folder: bytes, root: bytes, path: bytes) -> bytes:
    """Where the copy of a picture lies: always below `root`, and never in the pictures' folder.

    A copy is a JPEG if its name says so, and else a PNG. `photo.webp` becomes `photo.webp.png`,
    with one more ending for each picture that has such a name already.

    Raises:
        _SkippedError: there is no such place.
    """
    if os.path.isabs(path) or not {b"", b".", b".."}.isdisjoint(path.split(b"/")):
        raise _SkippedError("its path leads out of the folder.")

    copy = path
    if not path.lower().endswith((*_JPEG, b".png")):
        copy += b".png"
        while os.path.lexists(os.path.join(folder, copy)):
            copy += b".png"

    parent = os.path.realpath(os.path.dirname(os.path.join(root, copy)))
    if not contains(root, parent) or contains(folder, parent):
        raise _SkippedError("the copy would lie among the pictures, or outside its folder.")
    return os.path.join(parent, os.path.basename(copy))


def _write(path: bytes, data: bytes) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_atomically(Path(os.fsdecode(path)), data)
    except OSError as error:
        if error.errno in _NAME_ERRORS:
            raise _SkippedError(f"{error.strerror}.") from None
        raise _unwritable(path, error) from None


def _unwritable(path: bytes, error: OSError) -> UsageError:
    return UsageError(f"Cannot write {to_text(path)}: {error.strerror}.")
