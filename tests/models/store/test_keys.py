"""API keys: shown once, found by their id, ended for good."""

import hmac
from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.errors import NotFoundError, UsageError
from models.store import audit, keys
from models.store.audit import Act
from models.store.database import Database, now
from models.store.keys import Key, Scope
from models.store.tables import ApiKey


def shift(db: Database, **columns: timedelta) -> None:
    """Sets times of every key, from now on."""
    with db.write() as connection:
        present = connection.execute(sa.select(now())).scalar_one()
        times = {name: present + distance for name, distance in columns.items()}
        connection.execute(sa.update(ApiKey).values(times))


def found(db: Database, text: str) -> Key:
    key = keys.find(db, text)
    assert key is not None
    return key


def test_a_key_is_found_by_its_text_alone_and_only_its_digest_is_stored(db: Database) -> None:
    assert not keys.exist(db)
    text = keys.create(db, "ci", Scope.SUBMIT, requests_per_minute=7, live_jobs=0)
    assert keys.exist(db)

    key = found(db, text)
    assert text.startswith(f"cm_{key.id}_")
    assert (key.name, key.scope, key.state) == ("ci", Scope.SUBMIT, "good")
    assert (key.requests_per_minute, key.live_jobs) == (7, 0)

    with db.read() as connection:
        stored = str(connection.execute(sa.text("SELECT * FROM api_keys")).mappings().all())
        stored += str(connection.execute(sa.text("SELECT * FROM audit")).mappings().all())
    assert key.id in stored
    assert text.rsplit("_", 1)[1] not in stored
    assert "sha256" not in repr(key)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_another_secret_a_part_or_anything_else_finds_nothing(db: Database) -> None:
    text = keys.create(db, "ci", Scope.READ)
    other = keys.create(db, "other", Scope.READ)
    mixed = f"{text[:12]}{other[12:]}"
    for wrong in (mixed, text[:-1], f"{text}0", f"{text}\n", text.upper(), "", "cm_", "x" * 9999):
        assert keys.find(db, wrong) is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("known", [True, False])
def test_a_key_is_compared_in_constant_time_even_if_its_id_is_unknown(
    db: Database, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    text = keys.create(db, "ci", Scope.READ)
    compared = []
    compare_digest = hmac.compare_digest

    def compare(a: str, b: str) -> bool:
        compared.append((len(a), len(b)))
        return compare_digest(a, b)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert (keys.find(db, text if known else f"cm_{'0' * 8}{text[11:]}") is not None) is known
    assert compared == [(64, 64)]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_keys_have_256_random_bits_and_ids_of_their_own(db: Database) -> None:
    texts = [keys.create(db, f"key{number}", Scope.READ) for number in range(50)]
    assert len({text[3:11] for text in texts}) == len({text[12:] for text in texts}) == 50
    assert len(set("".join(text[12:] for text in texts))) == 62
    assert 62**43 > 2**256


def test_a_revoked_key_stays_and_frees_its_name(db: Database) -> None:
    text = keys.create(db, "ci", Scope.READ)
    with pytest.raises(UsageError, match="already"):
        keys.create(db, "ci", Scope.ADMIN)

    first = keys.revoke(db, "ci")
    assert found(db, text).state == "revoked"
    assert not keys.is_good(db, first.id)
    assert keys.exist(db)

    keys.create(db, "ci", Scope.ADMIN)
    assert [(key.name, key.state) for key in keys.list_all(db)] == [
        ("ci", "revoked"),
        ("ci", "good"),
    ]
    assert keys.revoke(db, first.id, forget=True) == first, "of the two, the one of this id"
    assert [key.scope for key in keys.list_all(db)] == [Scope.ADMIN]
    with pytest.raises(NotFoundError, match=r"keys list"):
        keys.revoke(db, first.id)

    assert [(entry.act, entry.target) for entry in audit.list_newest(db)][::-1] == [
        (Act.KEY_CREATE, first.id),
        (Act.KEY_REVOKE, first.id),
        (Act.KEY_CREATE, keys.list_all(db)[0].id),
        (Act.KEY_FORGET, first.id),
    ]


def test_a_key_expires_on_the_databases_clock(db: Database) -> None:
    key = found(db, keys.create(db, "ci", Scope.READ, expires_days=3))
    assert key.expires_at == key.created_at + timedelta(days=3)
    shift(db, expires_at=timedelta(seconds=1))
    assert keys.is_good(db, key.id)
    shift(db, expires_at=timedelta(seconds=-1))
    assert not keys.is_good(db, key.id)
    assert keys.list_all(db)[0].state == "expired"


def test_a_use_is_noted_once_a_minute(db: Database) -> None:
    key = found(db, keys.create(db, "ci", Scope.READ))
    assert key.last_used_at is None
    keys.note_use(db, key.id)
    first = keys.list_all(db)[0].last_used_at
    assert first is not None
    keys.note_use(db, key.id)
    assert keys.list_all(db)[0].last_used_at == first

    shift(db, last_used_at=timedelta(seconds=-61))
    keys.note_use(db, key.id)
    latest = keys.list_all(db)[0].last_used_at
    assert latest is not None
    assert latest >= first


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", ["", "anonymous", "cli:root", "a b", "-x", "é", "a\n", "x" * 65])
def test_a_name_that_could_be_another_actors_is_refused(db: Database, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a key's name"):
        keys.create(db, name, Scope.READ)
    assert not keys.exist(db)


def test_scopes_are_ordered() -> None:
    rows = [[scope.includes(other) for other in Scope] for scope in Scope]
    assert rows == [[True, False, False], [True, True, False], [True, True, True]]
