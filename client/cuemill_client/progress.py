"""A progress bar on the standard error, if somebody is looking."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

Show = Callable[[int, int | None], None]
"""Told how much is done, and of how much; None while that is unknown."""

_LINE_S: Final = 5.0


@contextmanager
def show_progress(title: str, wanted: bool | None) -> Iterator[Show]:
    """Shows a bar, by rich if it is installed; else a line now and then.

    Args:
        wanted: None = in a terminal or a notebook.
    """
    if wanted is None:
        wanted = sys.stderr.isatty() or "ipykernel" in sys.modules
    if not wanted:
        yield lambda done, total: None
        return

    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
    except ModuleNotFoundError:
        yield _print_lines(title)
        return

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _print_lines(title: str) -> Show:
    next_line = time.monotonic() + _LINE_S

    def show(done: int, total: int | None) -> None:
        nonlocal next_line
        if time.monotonic() >= next_line:
            next_line += _LINE_S
            of = "" if total is None else f" of {total:,}"
            print(f"{title}: {done:,}{of}", file=sys.stderr)  # noqa: T201

    return show
