"""Fixtures for tests of the command line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.deployment import Deployment, deployment, make_faces


@pytest.fixture
def cuemill(tmp_path: Path, tiny_model: Path) -> Iterator[Deployment]:
    """Runs commands in processes of their own, over a new SQLite database."""
    environment = {
        "CUEMILL_DATA_DIR": str(tmp_path / "data"),
        "CUEMILL_MODEL": str(tiny_model),
        "CUEMILL_WORKERS": "1",
    }
    with deployment("embedded", environment) as commands:
        yield commands


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder with two images."""
    return make_faces(tmp_path / "faces", 2)
