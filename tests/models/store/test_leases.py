"""The claims of scans, batches and trainings follow the same rules."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from models.errors import EngineError, FolderError
from models.settings import MAX_LEASE_S
from models.store import batches, cancellation, recovery, releases, scans, trainings
from models.store.database import Database, now_s
from models.store.leases import Leases, has_rows
from tests.builders import LEASE_S, list_folder, queue_job, records_of


@dataclass(frozen=True)
class Claimable:
    """Two due rows of a kind, and what a claim sets besides its lease."""

    leases: Leases
    values: dict[str, Any]
    add: Callable[[Database, int], object]


def _add_batches(db: Database, release_id: int) -> None:
    list_folder(db, queue_job(db, release_id), 8)


def _add_scans(db: Database, release_id: int) -> None:
    queue_job(db, release_id)
    queue_job(db, release_id)


def _add_trainings(db: Database, release_id: int) -> None:
    trainings.submit(db, {"candidates": ["model1"]})
    trainings.submit(db, {"candidates": ["model1"]})


KINDS = {
    "scan": Claimable(scans.LEASES, {"status": "running"}, _add_scans),
    "batch": Claimable(batches.LEASES, {"state": "running"}, _add_batches),
    "training": Claimable(trainings.LEASES, {"status": "running"}, _add_trainings),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, db: Database, release_id: int) -> Claimable:
    chosen = KINDS[request.param]
    chosen.add(db, release_id)
    return chosen


def claim(db: Database, kind: Claimable, target: int | None = None) -> tuple[int, int] | None:
    """Claims a row for "worker"; returns its id and nonce."""
    leases = kind.leases
    with db.write() as connection:
        row = leases.claim(
            connection,
            leases.oldest_due() if target is None else target,
            "worker",
            LEASE_S,
            returning=[leases.table.id, leases.nonce],
            **kind.values,
        )

    return None if row is None else (row[0], row[1])


def expire(db: Database, kind: Claimable) -> None:
    with db.write() as connection:
        connection.execute(sa.update(kind.leases.table).values({kind.leases.until: 0.0}))


def test_rows_are_claimed_oldest_first_and_once(db: Database, kind: Claimable) -> None:
    first, second = claim(db, kind), claim(db, kind)

    assert first is not None
    assert second is not None
    assert first[0] < second[0]
    assert claim(db, kind) is None
    assert claim(db, kind, first[0]) is None
    assert not has_rows(db, kind.leases.oldest_due())


def test_a_claim_names_its_worker_and_sets_its_lease_on_the_databases_clock(
    db: Database, kind: Claimable
) -> None:
    claimed = claim(db, kind)

    assert claimed is not None
    leases = kind.leases
    query = sa.select(
        leases.worker, leases.until > now_s(), leases.until <= now_s() + LEASE_S
    ).where(leases.table.id == claimed[0])
    with db.read() as connection:
        assert connection.execute(query).one() == ("worker", True, True)


def test_only_the_present_claim_can_change_or_renew_a_row(db: Database, kind: Claimable) -> None:
    claimed = claim(db, kind)

    assert claimed is not None
    row_id, nonce = claimed
    with db.write() as connection:
        assert not kind.leases.renew(connection, row_id, nonce ^ 1, lease_s=LEASE_S)
        assert not kind.leases.update(connection, row_id, nonce ^ 1, **kind.values)
        assert not kind.leases.lock(connection, row_id, nonce ^ 1)
        assert kind.leases.lock(connection, row_id, nonce)
        assert kind.leases.update(connection, row_id, nonce, **kind.values)


@pytest.fixture
def backup(tmp_path: Path, tiny_model: Path) -> Iterator[Database]:
    """Another database with the same ids: what `db` was before a backup was restored."""
    database = Database(f"sqlite:///{tmp_path / 'before.db'}")
    database.upgrade()
    assert releases.resolve(database, None, tiny_model) == 1
    yield database
    database.close()


def test_a_batch_claimed_before_a_backup_was_restored_matches_none_of_its_batches(
    backup: Database, db: Database, release_id: int
) -> None:
    for database in (backup, db):
        list_folder(database, queue_job(database, release_id), 4)
    late = batches.claim(backup, None, "late", LEASE_S)
    present = batches.claim(db, None, "worker", LEASE_S)
    assert late
    assert present
    assert (late.batch_id, late.job_id, late.attempt) == (1, 1, present.attempt)

    assert not batches.renew(db, late, LEASE_S)
    assert not batches.complete(db, late, records_of(late))
    assert not cancellation.fail(db, late, EngineError("no network"))
    assert not batches.renew(db, replace(present, job_id=2), LEASE_S)
    assert batches.complete(db, present, records_of(present))


def test_a_scan_claimed_before_a_backup_was_restored_matches_none_of_its_scans(
    backup: Database, db: Database, release_id: int
) -> None:
    for database in (backup, db):
        queue_job(database, release_id)
    late = scans.claim(backup, None, "late", LEASE_S)
    present = scans.claim(db, None, "worker", LEASE_S)
    assert late
    assert present
    assert (late.job_id, late.attempt) == (present.job_id, present.attempt)

    assert not scans.renew(db, late, LEASE_S)
    assert not scans.record(db, late, [(0, "a.jpg")], LEASE_S)
    assert not scans.finish(db, late)
    assert not cancellation.fail(db, late, FolderError("gone"))
    assert scans.record(db, present, [(0, "a.jpg")], LEASE_S)
    assert scans.finish(db, present)


def test_a_training_claimed_before_a_backup_was_restored_matches_none_of_its_trainings(
    backup: Database, db: Database, release_id: int
) -> None:
    for database in (backup, db):
        trainings.submit(database, {"candidates": ["model1"]})
    late = trainings.claim(backup, None, "late", LEASE_S)
    present = trainings.claim(db, None, "worker", LEASE_S)
    assert late
    assert present
    assert (late.training_id, late.attempt) == (present.training_id, present.attempt)

    assert not trainings.renew(db, late, LEASE_S)
    assert not trainings.begin_candidate(db, late, "model1", 3)
    assert not trainings.record_epochs(db, late, "model1", [])
    assert not trainings.complete(db, late, release_id, [])
    assert not trainings.fail(db, late, EngineError("no network"))
    assert not trainings.put_back(db, late)
    assert trainings.complete(db, present, release_id, [])


def test_a_renewed_lease_is_no_longer_expired(db: Database, kind: Claimable) -> None:
    claimed = claim(db, kind)
    expire(db, kind)

    assert claimed is not None
    is_expired = sa.select(kind.leases.table.id).where(*kind.leases.expired)
    assert has_rows(db, is_expired)

    with db.write() as connection:
        assert kind.leases.renew(connection, *claimed, lease_s=LEASE_S)
    assert not has_rows(db, is_expired)


def test_a_lease_set_before_the_clock_stepped_back_by_an_hour_has_expired(
    db: Database, kind: Claimable
) -> None:
    claimed = claim(db, kind)
    assert claimed is not None
    is_expired = sa.select(kind.leases.table.id).where(*kind.leases.expired)
    with db.write() as connection:
        assert kind.leases.renew(connection, *claimed, lease_s=MAX_LEASE_S)
    assert not has_rows(db, is_expired)

    with db.write() as connection:
        in_an_hour = {kind.leases.until: now_s() + 3600 + LEASE_S}
        connection.execute(
            sa.update(kind.leases.table)
            .where(kind.leases.table.id == claimed[0])
            .values(in_an_hour)
        )
    assert has_rows(db, is_expired)


def test_work_claimed_before_the_clock_stepped_back_by_an_hour_is_given_to_another(
    db: Database, release_id: int
) -> None:
    _add_trainings(db, release_id)
    _add_scans(db, release_id)
    _add_batches(db, release_id)
    training = trainings.claim(db, None, "worker", LEASE_S)
    scan = scans.claim(db, None, "worker", LEASE_S)
    batch = batches.claim(db, None, "worker", LEASE_S)
    assert training
    assert scan
    assert batch
    with db.write() as connection:
        for leases in (batches.LEASES, scans.LEASES, trainings.LEASES):
            later = {leases.until: leases.until + 3600}
            connection.execute(sa.update(leases.table).values(later))

    assert trainings.requeue_expired(db) == 1
    assert recovery.requeue_expired(db) == 1
    assert trainings.claim(db, training.training_id, "another", LEASE_S)
    assert scans.claim(db, scan.job_id, "another", LEASE_S)
    assert batches.claim(db, batch.batch_id, "another", LEASE_S)
