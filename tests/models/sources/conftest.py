"""A user whom permissions bind."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def another_user(tmp_path: Path) -> Iterator[None]:
    """Permissions don't bind root, so for root the test acts as another user."""
    if os.geteuid() != 0:
        yield
        return
    for folder in [tmp_path, *tmp_path.parents]:
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(0o755)  # How many there are depends on whether files are tested two at a time.
    os.chown(tmp_path, 65534, 65534)
    os.seteuid(65534)
    yield
    os.seteuid(0)
