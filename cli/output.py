"""What the commands print: results in every format, jobs, summaries. Data goes to stdout, all else to stderr."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from models.atomic import replacing
from models.errors import UsageError
from models.formats import as_csv, as_json, as_jsonl
from models.health.checks import Check, State
from models.labels import title
from models.store.jobs import JobView
from models.store.results import Record

TABLE_ROWS = 100

out = Console(
    width=None if sys.stdout.isatty() else 160
)  # What reads a pipe has no width; paths should stay whole.
err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def complain(message: object) -> None:
    """An error, as every command shows it."""
    err.print("error:", style="red", end=" ")
    err.print(printable(str(message)))


def printable(text: str) -> str:
    """Text without control characters: names of files are not to steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


_WRITERS = {Format.JSON: as_json, Format.JSONL: as_jsonl, Format.CSV: as_csv}


def choose_format(chosen: Format | None, output: Path | None) -> Format:
    """The format asked for, else the one the output file's ending names, else a table.

    Raises:
        UsageError: the ending names none.
    """
    if chosen is not None or output is None:
        return chosen or Format.TABLE
    try:
        return Format(output.suffix.removeprefix("."))
    except ValueError:
        endings = ", ".join(f".{f}" for f in _WRITERS)
        raise UsageError(
            f"{output} doesn't say a format by its ending ({endings}); add --format."
        ) from None


def write_results(records: Iterable[Record], form: Format, output: Path | None) -> None:
    """Writes results to a file, which appears whole or not at all, or to stdout."""
    with _target(output) as file:
        if form is Format.TABLE:
            _table(records, Console(file=file, width=160) if output else out)
        else:
            for piece in _WRITERS[form](records):
                file.write(piece)


@contextmanager
def _target(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    try:
        with (
            replacing(output) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            yield file
    except OSError as error:
        raise UsageError(f"{output} can't be written: {error.strerror}.") from error


def _table(records: Iterable[Record], console: Console) -> None:
    image = Column("image", overflow="fold")
    table = Table(image, "emotion", "score", "next", box=None, pad_edge=False, header_style="bold")
    remaining = iter(records)
    for record in islice(remaining, TABLE_ROWS):
        if record.scores is None:
            reason = (record.error or {}).get("message", "")
            table.add_row(
                escape(printable(record.path)),
                f"[yellow]{record.outcome}[/]",
                "",
                f"[dim]{escape(reason)}[/]",
            )
            continue
        first, second = sorted(record.scores.items(), key=lambda pair: -pair[1])[:2]
        table.add_row(
            escape(printable(record.path)),
            title(first[0]),
            _bar(first[1]),
            f"[dim]{title(second[0])} {second[1]:.2f}[/]",
        )
    console.print(table)
    if next(remaining, None) is not None:
        console.print(
            f"These are the first {TABLE_ROWS}; `cuemill results JOB --format csv` prints them all."
        )


def _bar(score: float) -> str:
    filled = round(score * 10)
    return f"{score:.2f} [green]{'█' * filled}[/][dim]{'·' * (10 - filled)}[/]"


def counts_line(job: JobView) -> str:
    """The summary of a job's counts in one line."""
    counts = job.counts
    parts = [
        f"{counts.classified:,} classified" + (f" ({job.reused:,} reused)" if job.reused else "")
    ]
    parts += [
        f"{n:,} {name}"
        for name, n in (
            ("no face", counts.no_face),
            ("unreadable", counts.unreadable),
            ("failed", counts.failed),
            ("cancelled", counts.cancelled),
            ("pending", counts.pending),
        )
        if n
    ]
    rate = f", {job.images_per_second:,.0f} images/s" if job.images_per_second else ""
    return f"Job {job.id} {job.status}: {counts.total:,} images, {', '.join(parts)}{rate}."


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def jobs_table(found: list[JobView]) -> None:
    table = Table(
        "job", "status", "images", "classified", "problems", "folder", box=None, pad_edge=False
    )
    for job in found:
        problems = job.counts.unreadable + job.counts.failed
        table.add_row(
            str(job.id),
            str(job.status),
            f"{job.counts.total:,}",
            f"{job.counts.classified:,}",
            f"{problems:,}",
            escape(printable(job.folder)),
        )
    out.print(table)


_COLOURS = {State.OK: "green", State.WARNING: "yellow", State.PROBLEM: "red"}


def checks_table(checks: list[Check]) -> None:
    table = Table("check", "state", Column("found", overflow="fold"), box=None, pad_edge=False)
    for check in checks:
        table.add_row(
            check.name,
            f"[{_COLOURS[check.state]}]{check.state}[/]",
            escape(printable(check.message)),
        )
    out.print(table)
