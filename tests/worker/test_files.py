"""The files of one batch: how often each is read, and the origin that is recorded."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from models.errors import ImageError
from models.sources.read import read_image
from models.store.batches import Claim
from models.store.database import Database
from models.store.reuse import ReuseScope
from tests.integration.deployment import make_faces
from worker import files
from worker.files import Files
from worker.watch import Watch

SCOPE = ReuseScope("00" * 32, lookup=True)
NAMES = ["face-00000.jpg", "face-00001.jpg"]


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    folder = make_faces(tmp_path / "faces", 2)
    return Claim(1, 1, 1, 1, list(enumerate(NAMES)), str(folder), 1, "")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were read so far."""
    paths: list[str] = []

    def count(folder: bytes, path: bytes, alive: Callable[[], object]) -> object:
        paths.append(path.decode())
        return read_image(folder, path, alive)

    monkeypatch.setattr(files, "read_image", count)
    return paths


def test_a_file_read_for_its_fingerprint_is_not_read_again(
    db: Database, claim: Claim, reads: list[str]
) -> None:
    batch = Files(db, claim, SCOPE, Watch())
    assert batch.reuse() == []
    data, origin = batch.read(NAMES[0])
    assert reads == NAMES
    path = Path(claim.folder, NAMES[0])
    assert data == path.read_bytes()
    assert origin.fingerprint == SCOPE.fingerprint(data)
    assert (origin.size, origin.mtime_ns) == (len(data), path.stat().st_mtime_ns)


def test_files_beyond_the_cache_are_read_again(
    db: Database, claim: Claim, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CACHE_BYTES", Path(claim.folder, NAMES[0]).stat().st_size)
    batch = Files(db, claim, SCOPE, Watch())
    batch.reuse()
    for name in NAMES:
        batch.read(name)
    assert reads == [*NAMES, NAMES[1]]


def test_without_earlier_predictions_files_are_only_read_to_be_decoded(
    db: Database, claim: Claim, reads: list[str]
) -> None:
    batch = Files(db, claim, ReuseScope("00" * 32), Watch())
    assert batch.reuse() == []
    assert reads == []


@pytest.mark.parametrize("mtime_ns", [2**63 - 1, 2**63, -1, -(2**63), -(2**70)])
def test_only_a_time_that_64_bits_hold_is_recorded(
    db: Database, claim: Claim, monkeypatch: pytest.MonkeyPatch, mtime_ns: int
) -> None:
    status = SimpleNamespace(st_size=1, st_mtime_ns=mtime_ns)
    monkeypatch.setattr(files, "read_image", lambda *_: (b"x", status))
    _, origin = Files(db, claim, SCOPE, Watch()).read(NAMES[0])
    assert origin.mtime_ns == (mtime_ns if abs(mtime_ns) < 2**63 else None)


def test_an_unreadable_file_is_reported_when_it_is_read_to_be_decoded(
    db: Database, claim: Claim
) -> None:
    Path(claim.folder, NAMES[0]).unlink()
    batch = Files(db, claim, SCOPE, Watch())
    assert batch.reuse() == []
    with pytest.raises(ImageError, match="no longer exists"):
        batch.read(NAMES[0])
