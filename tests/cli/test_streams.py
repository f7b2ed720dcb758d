"""Standard streams that are closed, full, gone or of another encoding."""

import subprocess
from pathlib import Path

import pytest

from tests.integration.deployment import CUEMILL, Deployment
from tests.services import patience

LATIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""A locale whose encoding is ASCII: Python neither replaces nor overrides it."""


def shell(cuemill: Deployment, script: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script.replace("cuemill", CUEMILL[0])],
        env=cuemill.variables | variables,
        capture_output=True,
        timeout=patience(60),
        check=False,
    )


def test_a_reader_that_has_seen_enough_is_no_error(cuemill: Deployment) -> None:
    done = shell(cuemill, "cuemill models list --json | head -c 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"[", b"")
    assert shell(cuemill, "cuemill models list | true").returncode == 0


@pytest.mark.parametrize("command", ["jobs --json", "models list", "--help", "--version"])
def test_a_full_device_is_an_error_in_a_sentence(cuemill: Deployment, command: str) -> None:
    done = shell(cuemill, f"cuemill {command} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.endswith(
        b"error: Cannot write to the standard output: No space left on device.\n"
    )
    assert b"Traceback" not in done.stderr


def test_a_closed_output_is_an_error_in_a_sentence(cuemill: Deployment) -> None:
    done = shell(cuemill, "cuemill jobs --json >&-")
    assert (done.returncode, done.stderr) == (
        1,
        b"error: The standard output is closed. Send it to a file, or to /dev/null.\n",
    )
    assert shell(cuemill, "cuemill jobs --json <&- 2>&-").stdout == b"[]\n"
    assert shell(cuemill, "cuemill jobs 2>/dev/full").returncode == 0


def test_a_name_is_recorded_and_shown_whatever_the_locale(
    cuemill: Deployment, tmp_path: Path
) -> None:
    folder = tmp_path / "Bär\x1b[31m"
    folder.mkdir()
    queued = shell(cuemill, f"cuemill enqueue $'{tmp_path}/B\\xc3\\xa4r\\e[31m'", **LATIN)
    assert queued.returncode == 0, queued.stderr
    assert cuemill.json("status", "1")["folder"] == str(folder)

    shown = shell(cuemill, "cuemill jobs", **LATIN)
    assert b"/B\\xe4r\\x1b[31m" in shown.stdout
    assert shown.returncode == 0
    missing = shell(cuemill, "cuemill enqueue $'/no\\xc3\\xa4\\e[31m'", **LATIN)
    assert (missing.returncode, missing.stderr) == (
        2,
        b"error: /no\\xe4\\x1b[31m does not exist.\n",
    )


def test_a_worker_of_another_locale_finds_the_same_files(
    cuemill: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "ä.jpg").touch()
    cuemill.run("enqueue", tmp_path / "faces")
    done = shell(cuemill, f"cuemill classify {tmp_path}/faces --format csv", **LATIN)
    assert b"Resuming job 1" in done.stderr
    assert "\r\n1,ä.jpg,unreadable,empty,".encode() in done.stdout
