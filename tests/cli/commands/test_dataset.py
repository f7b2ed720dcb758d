"""`cuemill dataset`. tests/integration builds a data set and trains on it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from models.errors import UsageError


@pytest.mark.parametrize("prefix", ["", "a/b", "/a"])
def test_a_prefix_must_be_the_start_of_a_file_name(prefix: str, tmp_path: Path) -> None:
    command = ["dataset", "build", str(tmp_path), "--data", str(tmp_path), "--prefix", prefix]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, UsageError)
    assert str(error).startswith(f"Invalid --prefix {prefix!r}: expected")
