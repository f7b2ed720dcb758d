"""What the commands print: data on stdout, everything else on stderr."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from io import TextIOWrapper
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from models.atomic import replacing
from models.errors import UsageError
from models.formats import as_csv, as_json, as_jsonl
from models.health.checks import Check, State
from models.labels import EMOTIONS, title
from models.parquet import as_parquet, check_installed
from models.store.jobs import JobView
from models.store.results import Record
from models.store.states import Outcome

if TYPE_CHECKING:
    from cuemill_client import Job

TABLE_ROWS: Final = 100

PIPE_WIDTH: Final = 160
"""Width of tables in pipes and files, in characters; enough for most paths."""


class _SafeConsole(Console):
    """Prints text with its control characters escaped, whatever it quotes."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(printable(o) if isinstance(o, str) else o for o in objects), **options)


def printable(text: str) -> str:
    """Text with its control characters escaped: a file's name must not steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


out = _SafeConsole(width=None if sys.stdout and sys.stdout.isatty() else PIPE_WIDTH)
err = _SafeConsole(stderr=True, highlight=False, markup=False, soft_wrap=True)

_STATE_COLOURS: Final = {State.OK: "green", State.WARNING: "yellow", State.PROBLEM: "red"}


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


_WRITERS: Final = {Format.JSON: as_json, Format.JSONL: as_jsonl, Format.CSV: as_csv}
"""Of text."""


def complain(message: object) -> None:
    """Prints an error."""
    err.print("error:", style="red", end=" ")
    err.print(str(message))


def say(text: str) -> None:
    """Prints a line on stdout."""
    typer.echo(printable(text))


def count_of(number: int, noun: str) -> str:
    """The number with its noun: 1 image, 2 images."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def print_json(value: Any) -> None:
    """Prints indented JSON; datetimes become ISO 8601."""
    sys.stdout.write(json.dumps(value, indent=2, default=_encode) + "\n")


def _encode(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")  # As the API writes it.
    raise TypeError(f"{type(value).__name__} is not JSON")


def counts_line(job: "JobView | Job") -> str:
    """A job's counts in one sentence."""
    counts = job.counts

    parts = [f"{counts.classified:,} classified"]
    if job.reused:
        parts[0] += f" ({job.reused:,} reused)"

    for name in ("no_face", "unreadable", "failed", "cancelled", "pending"):
        number = getattr(counts, name)
        if number:
            parts.append(f"{number:,} {name.replace('_', ' ')}")

    rate = f", {job.images_per_second:,.0f} images/s" if job.images_per_second else ""
    images = count_of(counts.total, "image")
    if job.faces != counts.classified:
        parts[0] += f" with {count_of(job.faces, 'face')}"
    return f"Job {job.id} {job.status}: {images}, {', '.join(parts)}{rate}."


def print_jobs(jobs: Iterable[JobView]) -> None:
    table = Table(
        "job",
        "status",
        "images",
        "classified",
        "faces",
        "problems",
        "folder",
        box=None,
        pad_edge=False,
    )
    for job in jobs:
        table.add_row(
            str(job.id),
            str(job.status),
            f"{job.counts.total:,}",
            f"{job.counts.classified:,}",
            f"{job.faces:,}",
            f"{job.counts.unreadable + job.counts.failed:,}",
            escape(printable(job.folder)),
        )
    out.print(table)


def print_checks(checks: Iterable[Check]) -> None:
    table = Table("check", "state", Column("found", overflow="fold"), box=None, pad_edge=False)
    for check in checks:
        table.add_row(
            check.name,
            f"[{_STATE_COLOURS[check.state]}]{check.state}[/]",
            escape(printable(check.message)),
        )
    out.print(table)


def print_balance(parts: Mapping[str, Mapping[str, int]]) -> None:
    """Prints how many images of each label the parts of a data set have, on stderr."""
    table = figures_table("label", parts)

    for label in EMOTIONS:
        if any(label in balance for balance in parts.values()):
            numbers = [f"{balance.get(label, 0):,}" for balance in parts.values()]
            table.add_row(title(label), *numbers)

    totals = [f"{sum(balance.values()):,}" for balance in parts.values()]
    table.add_row("all", *totals, style="bold")
    err.print(table)


def figures_table(first: str, others: Iterable[str]) -> Table:
    """A table whose columns after the first hold numbers, aligned right."""
    columns = [Column(name, justify="right") for name in others]
    return Table(first, *columns, box=None, pad_edge=False)


def choose_format(requested: Format | None, output: Path | None) -> Format:
    """The requested format, else the one of the output file's ending, else a table.

    Raises:
        UsageError: the ending is not that of a format, or the format cannot be written.
    """
    chosen = requested or (_format_of(output) if output else Format.TABLE)
    if chosen is Format.PARQUET:
        check_installed()
        if output is None and sys.stdout.isatty():
            raise UsageError("Parquet is not text. Write it to a file: -o results.parquet.")
    return chosen


def _format_of(output: Path) -> Format:
    try:
        return Format(output.suffix.removeprefix("."))
    except ValueError:
        endings = ", ".join(f".{name}" for name in Format if name is not Format.TABLE)
        raise UsageError(
            f"Cannot tell the format of {output} by its ending: expected one of {endings}. "
            "Set --format."
        ) from None


def write_results(records: Iterable[Record], chosen: Format, output: Path | None) -> None:
    """Writes results to stdout, or to a file that appears whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    with _open_output(output, chosen) as file:
        if chosen is Format.TABLE:
            _write_table(records, Console(file=file, width=PIPE_WIDTH) if output else out)
        elif chosen is Format.PARQUET:
            for data in as_parquet(records):
                file.buffer.write(data)
        else:
            for text in _WRITERS[chosen](records):
                file.write(text)


@contextmanager
def _open_output(output: Path | None, chosen: Format) -> Iterator[TextIO]:
    if output is None:
        if isinstance(sys.stdout, TextIOWrapper) and chosen is not Format.TABLE:
            sys.stdout.reconfigure(encoding="utf-8")  # Whatever the locale, as in a file.
        yield sys.stdout
        return

    try:
        with (
            replacing(output) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            yield file
    except OSError as error:
        raise UsageError(f"Cannot write {output}: {error.strerror}.") from error


def _write_table(records: Iterable[Record], console: Console) -> None:
    """Prints one line an image; if faces were found in it, its path and then one line a face."""
    remaining = iter(records)
    shown = list(islice(remaining, TABLE_ROWS))
    width = max(map(len, ["emotion", *(title(r.emotion) for r in shown if r.emotion)]))
    rows = [
        row
        for (_, path), group in groupby(shown, lambda record: (record.job_id, record.path))
        for row in _image_rows(escape(printable(path)), list(group), width)
    ]

    # The emotions keep their place; long paths and messages take several lines.
    images = max(Text.from_markup(cell).cell_len for cell in ["image", *(row[0] for row in rows)])
    rankings = width + len(f"  0.00 {10 * '·'}  Sympathy 0.00")
    table = Table(
        Column("image", overflow="fold", width=min(images, max(console.width - rankings, 20))),
        f"{'emotion':<{width}}  {'score':<15}  next",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for row in rows:
        table.add_row(*row)
    console.print(table)

    if next(remaining, None) is not None:
        console.print(
            f"Only the first {TABLE_ROWS} results are shown. "
            "Print all with `cuemill results JOB --format csv`."
        )


def _image_rows(path: str, records: Sequence[Record], width: int) -> Iterator[tuple[str, str]]:
    """The lines of one image, with its faces from left to right."""
    first = records[0]
    message = f"[dim]{escape(first.error['message'])}[/]" if first.error else ""
    boxed = [
        (record.face["box"], record.scores)
        for record in records
        if record.scores and record.face and record.face["box"]
    ]

    if boxed:
        yield path, message
        for box, scores in sorted(boxed, key=lambda pair: pair[0]["x"]):
            side = min(box["width"], box["height"])
            place = f"  [dim]left {box['x']}, top {box['y']}, {side} px[/]"
            yield place, _ranking(scores, width)
    elif first.scores:
        yield path, _ranking(first.scores, width)
    elif first.outcome is Outcome.NO_FACE:
        yield path, "[dim]no face found[/]"
    else:
        yield path, f"[yellow]{first.outcome:<{width}}[/]  {message}"


def _ranking(scores: Mapping[str, float], width: int) -> str:
    """The highest emotion, padded to a width, with its score, and the next one."""
    ranking = sorted(scores.items(), key=lambda pair: -pair[1])
    (emotion, score), (next_emotion, next_score) = ranking[:2]
    following = f"[dim]{title(next_emotion)} {next_score:.2f}[/]"
    return f"{title(emotion):<{width}}  {_bar(score)}  {following}"


def _bar(score: float) -> str:
    filled = round(score * 10)
    return f"{score:.2f} [green]{'█' * filled}[/][dim]{'·' * (10 - filled)}[/]"
