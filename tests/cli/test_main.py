"""The command as a whole: its version, completion, and exit codes."""

import importlib.metadata
import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import main
from models.errors import DatabaseError, FolderError, UsageError
from tests.integration.deployment import CUEMILL


def test_version_is_that_of_the_package() -> None:
    done = CliRunner().invoke(main.app, ["--version"])
    version = importlib.metadata.version("cuemill")
    assert (done.exit_code, done.output) == (0, f"cuemill {version}\n")


def test_without_arguments_it_prints_its_help() -> None:
    help_text = CliRunner().invoke(main.app, ["--help"]).output
    assert "classify" in help_text
    assert CliRunner().invoke(main.app, []).output.strip() == help_text.strip()


def test_help_keeps_square_brackets() -> None:
    """Rich's own markup would take `[trainer]` for a style and drop it."""
    help_text = CliRunner().invoke(main.app, ["evaluate", "--help"]).output
    assert "cuemill[trainer]" in help_text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("cuemill mod", ["models"]),
        ("cuemill models pro", ["promote"]),
        ("cuemill classify --ret", ["--retention-days"]),
    ],
)
def test_a_shell_completes_commands_and_options(words: str, expected: list[str]) -> None:
    last = len(words.split()) - 1
    request = {
        "_CUEMILL_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(last),
    }
    done = subprocess.run(
        CUEMILL, env=os.environ | request, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == expected


def test_completion_is_installed_for_the_shell_in_use(tmp_path: Path) -> None:
    # The command after it keeps bash from replacing itself with cuemill, which looks for its shell.
    script = f"{CUEMILL[0]} --install-completion; true"
    subprocess.run(
        ["bash", "-c", script],
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    assert "cuemill" in (tmp_path / ".bashrc").read_text()


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (UsageError("Wrong."), 2),
        (FolderError("Gone."), 2),
        (DatabaseError("Away."), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_sets_the_exit_code(
    error: BaseException,
    exit_code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)
    monkeypatch.setattr(main, "prepare_streams", lambda: None)  # Those of pytest stay.
    with pytest.raises(SystemExit) as ended:
        main.main()

    assert ended.value.code == exit_code
    message = str(error)
    assert capsys.readouterr().err == (f"error: {message}\n" if message else "")
