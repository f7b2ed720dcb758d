"""The default release is the promoted one, or else the configured pickle."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import NotFoundError
from models.release.files import save_release
from models.store import releases
from models.store.database import Database
from tests.builders import tiny_release


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    save_release(replace(tiny_release(), name="other"), tmp_path / "other.pkl")
    return tmp_path / "other.pkl"


def test_the_promoted_release_is_the_default_until_another_one_is_promoted(
    db: Database, tiny_model: Path, other_model: Path
) -> None:
    first, second = releases.resolve(db, None, tiny_model), releases.register(db, other_model)
    assert [(row.name, row.is_default) for row in releases.list_all(db, tiny_model)] == [
        ("tiny", True),
        ("other", False),
    ]

    for chosen in (second, first, second, second):
        assert releases.promote(db, chosen).is_default
        assert releases.resolve(db, None, tiny_model) == chosen
        assert [row.id for row in releases.list_all(db, tiny_model) if row.is_default] == [chosen]

    assert releases.resolve(db, str(tiny_model), tiny_model) == first


def test_promoting_an_unknown_release_fails_and_keeps_the_default(
    db: Database, tiny_model: Path, other_model: Path
) -> None:
    releases.promote(db, releases.register(db, other_model))
    with pytest.raises(NotFoundError, match="No model release 99"):
        releases.promote(db, 99)
    assert releases.get(db, releases.resolve(db, None, tiny_model)).name == "other"


def test_releases_are_listed_without_the_configured_pickle(db: Database, other_model: Path) -> None:
    releases.register(db, other_model)
    assert [row.is_default for row in releases.list_all(db, Path("absent.pkl"))] == [False]
