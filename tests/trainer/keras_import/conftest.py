"""Whatever an imported pickle would execute, it would leave a file behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer.keras_import.pickles import MARK


@pytest.fixture(autouse=True)
def nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / MARK).exists()
