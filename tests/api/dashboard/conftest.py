"""Fixtures for the pages. What differs between the databases is tested below `models/store`."""

from pathlib import Path

import pytest


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'cuemill.db'}"
