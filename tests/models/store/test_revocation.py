"""What is claimed while the tables change is queued again, and outdated programs claim nothing."""

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from models.errors import OutdatedError
from models.store import batches, jobs, scans, trainings
from models.store.database import MIGRATIONS, Database
from models.store.states import JobStatus
from models.store.tables import Image
from tests.builders import (
    LEASE_S,
    claim_batch,
    count_rows,
    list_folder,
    queue_job,
    records_of,
)


def test_an_upgrade_takes_all_claims_and_the_work_is_done_by_another(
    db: Database, release_id: int
) -> None:
    queue_job(db, release_id)
    scan = scans.claim(db, None, "old", LEASE_S)
    assert scan
    assert scans.record(db, scan, [(0, "a.jpg")], LEASE_S)
    batch = claim_batch(db, "old")
    trainings.submit(db, {"candidates": ["model1"]})
    training = trainings.claim(db, None, "old", LEASE_S)
    assert training

    upgrade_from_the_revision_before(db)

    assert not batches.renew(db, batch, LEASE_S)
    assert not batches.complete(db, batch, records_of(batch))
    assert count_rows(db, Image) == 0
    assert not scans.record(db, scan, [(1, "b.jpg")], LEASE_S)
    assert not trainings.record_epochs(db, training, "model1", [])

    scan_again = scans.claim(db, None, "new", LEASE_S)
    assert scan_again
    assert (scan_again.total, scan_again.cursor) == (1, "a.jpg")
    assert scans.finish(db, scan_again)
    batch_again = claim_batch(db, "new")
    assert batch_again.items == batch.items
    assert batches.complete(db, batch_again, records_of(batch_again))
    assert jobs.get(db, scan.job_id).status is JobStatus.COMPLETED
    assert trainings.claim(db, None, "new", LEASE_S)


def upgrade_from_the_revision_before(db: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with db.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "-1")
    db.upgrade()


def test_a_program_of_older_tables_claims_nothing(db: Database, release_id: int) -> None:
    list_folder(db, queue_job(db, release_id), 4)
    queue_job(db, release_id)
    trainings.submit(db, {"candidates": ["model1"]})
    db.check_not_newer()
    with db.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    assert batches.claim(db, None, "old", LEASE_S) is None
    assert scans.claim(db, None, "old", LEASE_S) is None
    assert trainings.claim(db, None, "old", LEASE_S) is None
    with pytest.raises(OutdatedError, match=r"revision 9999.*Upgrade Cuemill"):
        db.check_not_newer()
    with pytest.raises(OutdatedError):
        db.upgrade()
