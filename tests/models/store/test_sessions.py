"""Sessions: found by their token alone, ended by time, by signing out and with their key."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.store import keys, sessions
from models.store.database import Database, now
from models.store.keys import Scope
from models.store.tables import Session


@pytest.fixture
def key_id(db: Database) -> str:
    keys.create(db, "ada", Scope.SUBMIT)
    return keys.list_all(db)[0].id


def rows(db: Database) -> list[tuple[str, timedelta]]:
    query = sa.select(Session.sha256, Session.created_at, Session.expires_at)
    with db.read() as connection:
        return [(row[0], row[2] - row[1]) for row in connection.execute(query)]


def test_a_session_finds_its_key_and_only_its_digest_is_stored(db: Database, key_id: str) -> None:
    token, other = sessions.begin(db, key_id), sessions.begin(db, key_id)
    key = keys.find_by_session(db, token)
    assert key == keys.list_all(db)[0]
    assert key is not None
    assert (key.scope, key.state) == (Scope.SUBMIT, "good")

    assert len({token, other}) == 2
    assert len(token) == 43, "256 bits in base 64"
    stored = rows(db)
    assert [life for _, life in stored] == [sessions.LIFE] * 2
    assert not {token, other} & {sha256 for sha256, _ in stored}

    for wrong in ("", token[:-1], f"{token}x", stored[0][0], key_id, "\udcff", "x" * 9999):
        assert keys.find_by_session(db, wrong) is None


def test_a_session_ends_when_it_is_signed_out_of_and_no_other_does(
    db: Database, key_id: str
) -> None:
    token, other = sessions.begin(db, key_id), sessions.begin(db, key_id)
    sessions.end(db, token)
    sessions.end(db, token)
    assert keys.find_by_session(db, token) is None
    assert keys.find_by_session(db, other) is not None


def test_a_session_ends_by_itself(db: Database, key_id: str) -> None:
    token = sessions.begin(db, key_id)
    with db.write() as connection:
        connection.execute(sa.update(Session).values(expires_at=now()))
    assert keys.find_by_session(db, token) is None


@pytest.mark.parametrize("forget", [False, True])
def test_revoking_a_key_ends_its_sessions_and_no_others(
    db: Database, key_id: str, forget: bool
) -> None:
    keys.create(db, "other", Scope.READ)
    (other_id,) = {key.id for key in keys.list_all(db)} - {key_id}
    token, other = sessions.begin(db, key_id), sessions.begin(db, other_id)

    keys.revoke(db, key_id, forget=forget)
    assert keys.find_by_session(db, token) is None
    assert keys.find_by_session(db, other) is not None
    assert len(rows(db)) == 1


def test_a_session_that_begins_while_its_key_is_revoked_does_not_outlive_it(
    db: Database, key_id: str
) -> None:
    keys.revoke(db, key_id)
    token = sessions.begin(db, key_id)
    key = keys.find_by_session(db, token)
    assert key is not None
    assert key.state == "revoked"

    keys.revoke(db, key_id, forget=True)
    assert rows(db) == []
