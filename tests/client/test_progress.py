"""A progress bar is for who looks."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from cuemill_client import progress
progress._LINE_S = 0
if {hidden}:
    sys.modules["rich"] = sys.modules["rich.console"] = None
with progress.show_progress("uploading", {wanted}) as show:
    show(1, 3)
    show(2, None)
"""


def shown(*, terminal: bool, wanted: bool | None = None, rich: bool = True) -> str:
    """What a program with a progress bar writes on its standard error."""
    reading, writing = os.openpty() if terminal else os.pipe()
    program = PROGRAM.format(hidden=not rich, wanted=wanted)
    subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        stderr=writing,
        check=True,
    )
    text = b""
    if not terminal:
        os.close(writing)
    else:
        os.write(writing, b"end")
    while not text.endswith(b"end") and (piece := os.read(reading, 4096)):
        text += piece
    os.close(reading)
    return text.decode()


def test_a_terminal_shows_a_bar_of_rich() -> None:
    text = shown(terminal=True)
    assert "uploading" in text
    assert "2/3" in text


def test_without_rich_it_shows_lines() -> None:
    lines = shown(terminal=True, rich=False).splitlines()
    assert lines[:2] == ["uploading: 1 of 3", "uploading: 2"]


@pytest.mark.parametrize(
    ("wanted", "text"), [(None, ""), (True, "uploading: 1 of 3\nuploading: 2\n")]
)
def test_a_file_gets_nothing_unless_it_is_wanted(wanted: bool | None, text: str) -> None:
    assert shown(terminal=False, wanted=wanted, rich=False) == text
