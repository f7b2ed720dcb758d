"""Every move that programs and users can make, in any order, on real SQLite and PostgreSQL.

Hypothesis chooses the moves. After each one, the invariants are checked in the tables.
`EXAMPLES=1000 make test` tries more of them.
"""

import os
from collections import Counter
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.engine import Connection

from models.errors import FolderError, ImageCode, PlaceError
from models.settings import Settings
from models.store import (
    backoff,
    batches,
    cancellation,
    deletion,
    hints,
    jobs,
    recovery,
    retries,
    revocation,
    scans,
    webhooks,
)
from models.store.batches import Claim
from models.store.database import Database
from models.store.jobs import Submission
from models.store.records import ImageRecord
from models.store.scans import ScanClaim
from models.store.states import Event, Outcome
from models.store.tables import Batch, Delivery, Image, Job, Prediction, Webhook
from tests.builders import FACES, add_release

LEASE_S = 600.0
HINTS = Settings(dispatch_window=6, rehint_s=600.0)
BATCH = 3
FOLDER = [f"{number:03}.jpg" for number in range(20)]
OUTCOMES = [outcome.value for outcome in Outcome]
FACE_COUNTS = cycle((1, 3, 2))
EXAMPLES = int(os.environ.get("EXAMPLES", "60"))
TROUBLES: dict[str, FolderError | PlaceError] = {
    "image": PlaceError("The file cannot be read: I/O error.", ImageCode.READ_ERROR),
    "folder": FolderError("/photos cannot be reached."),
}
WORKERS = st.sampled_from(["one", "two"])


@dataclass
class Listing:
    """A worker in the middle of a scan, and how many images it has recorded."""

    claim: ScanClaim
    recorded: int = 0


@dataclass(frozen=True)
class Snapshot:
    jobs: dict[int, Any]
    batches: dict[int, Any]
    images: list[Any]
    predictions: dict[tuple[int, int], int]
    told: dict[int, list[str]]


class Moves(RuleBasedStateMachine):
    """Jobs of small folders. Claims that have become stale are kept and used as well."""

    submitted = Bundle("submitted")
    listings = Bundle("listings")
    claims = Bundle("claims")

    def __init__(self, db: Database, release_ids: tuple[int, int]) -> None:
        super().__init__()
        self.db = db
        self.release_ids = release_ids
        self.release_id = release_ids[0]
        self.sizes: dict[int, int] = {}
        self.given: list[Claim] = []
        self.asked: int | None = None
        with db.write() as connection:
            for table in (Prediction, Image, Batch, Job, Delivery, Webhook):
                connection.execute(sa.delete(table))
        webhooks.create(db, "https://example.org/", list(Event))
        self.before = self.look()

    def look(self) -> Snapshot:
        with self.db.read() as connection:
            return Snapshot(
                {row.id: row for row in connection.execute(sa.select(Job.__table__))},
                {row.id: row for row in connection.execute(sa.select(Batch.__table__))},
                list(connection.execute(sa.select(Image.__table__))),
                {
                    (job_id, number): count
                    for job_id, number, count in connection.execute(
                        sa.select(Prediction.job_id, Prediction.number, sa.func.count()).group_by(
                            Prediction.job_id, Prediction.number
                        )
                    )
                },
                self.look_at_deliveries(connection),
            )

    def look_at_deliveries(self, connection: Connection) -> dict[int, list[str]]:
        """The events of each job that a webhook is told of."""
        told: dict[int, list[str]] = {}
        query = sa.select(Delivery.job_id, Delivery.event).order_by(Delivery.id)
        for job_id, event in connection.execute(query):
            told.setdefault(job_id, []).append(event)
        return told

    def still_claims(self, claim: Claim) -> bool:
        batch = self.before.batches.get(claim.batch_id)
        return batch is not None and (batch.state, batch.attempt) == ("running", claim.attempt)

    def still_scans(self, claim: ScanClaim) -> bool:
        job = self.before.jobs.get(claim.job_id)
        return (
            job is not None
            and (job.status, job.scan_attempt) == ("running", claim.attempt)
            and job.scanned_at is None
        )

    def is_due(self, batch: Any) -> bool:
        """A batch waits for its own pause, its job's, and the one that tries a folder."""
        job = self.before.jobs[batch.job_id]
        others = self.before.batches.values()
        is_tried = any(b.job_id == job.id and b.state == "running" for b in others)
        waits = job.not_before or (job.trouble is not None and is_tried)
        return batch.state == "queued" and not batch.not_before and not waits

    @initialize(target=claims, size=st.integers(1, len(FOLDER)))
    def begin(self, size: int) -> Any:
        """Claims a batch at the start; most examples would never get that far."""
        self.submit(size, listed=True)
        self.before = self.look()
        return self.claim(None, "one")

    @rule(target=submitted, size=st.integers(0, len(FOLDER)), listed=st.booleans())
    def submit(self, size: int, listed: bool) -> int:
        job, _ = jobs.submit(self.db, Submission("/photos", self.release_id, batch_size=BATCH))
        self.sizes[job.id] = size
        if listed:
            claim = scans.claim(self.db, job.id, "one", LEASE_S)
            assert claim is not None
            self.before = self.look()
            self.list_some(Listing(claim), len(FOLDER))
        return job.id

    @rule(target=listings, job=st.none() | submitted, worker=WORKERS)
    def claim_scan(self, job: int | None, worker: str) -> Any:
        claim = scans.claim(self.db, job, worker, LEASE_S)
        if claim is None:
            return multiple()
        assert claim.cursor == (FOLDER[claim.total - 1] if claim.total else None)
        return Listing(claim)

    @rule(listing=listings, steps=st.integers(1, 4))
    def list_some(self, listing: Listing, steps: int) -> None:
        """Does some steps of `worker.scan` while the claim is valid."""
        claim = listing.claim
        holds = True
        while holds and steps:
            steps -= 1
            begin = claim.total + listing.recorded
            items = list(enumerate(FOLDER[: self.sizes[claim.job_id]]))[begin : begin + BATCH]
            holds = self.still_scans(claim)
            if items:
                listing.recorded += len(items)
                assert scans.record(self.db, claim, items, LEASE_S) is holds
            elif begin:
                assert scans.finish(self.db, claim) is holds
                holds = False
            else:
                error = FolderError("/photos holds no image.")
                assert cancellation.fail(self.db, claim, error) is holds
                holds = False

    @rule(target=claims, hint=st.none() | claims, worker=WORKERS)
    def claim(self, hint: Claim | None, worker: str) -> Any:
        """Claims the oldest batch, or one that was claimed before: a duplicate or late message."""
        due = [batch for batch, row in self.before.batches.items() if self.is_due(row)]
        claim = batches.claim(self.db, None if hint is None else hint.batch_id, worker, LEASE_S)
        if hint is None:
            assert (claim.batch_id if claim else None) == min(due, default=None)
        else:
            assert (claim is not None) == (hint.batch_id in due)
        if claim is None:
            return multiple()
        self.given.append(claim)
        return claim

    @rule(
        claim=claims,
        outcomes=st.none() | st.lists(st.sampled_from(Outcome), min_size=BATCH, max_size=BATCH),
    )
    def renew_or_complete(self, claim: Claim, outcomes: list[Outcome] | None) -> None:
        if outcomes is None:
            assert batches.renew(self.db, claim, LEASE_S) is self.still_claims(claim)
        else:
            rows = [
                row(*item, outcome) for item, outcome in zip(claim.items, outcomes, strict=False)
            ]
            assert batches.complete(self.db, claim, rows) is self.still_claims(claim)

    @rule(
        claim=claims,
        done=st.integers(0, BATCH),
        trouble=st.sampled_from([None, "image", "folder"]),
        alone=st.booleans(),
    )
    def give_back(self, claim: Claim, done: int, trouble: str | None, alone: bool) -> None:
        """Records some images of a batch, and gives the others back for another try."""
        rows = [row(*item, Outcome.CLASSIFIED) for item in claim.items[:done]]
        error = None if trouble is None else TROUBLES[trouble]
        culprit = claim.items[-1][0] if alone else None
        held = self.still_claims(claim)
        assert batches.complete(self.db, claim, rows, error, culprit) is held

    @rule()
    def pauses_end(self) -> None:
        with self.db.write() as connection:
            for table in (Batch, Job):
                connection.execute(sa.update(table).values(not_before=0.0))

    @rule(swept=st.booleans())
    def leases_run_out(self, swept: bool) -> None:
        with self.db.write() as connection:
            connection.execute(
                sa.update(Batch).where(Batch.lease_until.is_not(None)).values(lease_until=0.0)
            )
            connection.execute(
                sa.update(Job).where(Job.scan_lease_until.is_not(None)).values(scan_lease_until=0.0)
            )
        if swept:
            recovery.requeue_expired(self.db)

    @rule()
    def tables_are_upgraded(self) -> None:
        with self.db.write() as connection:
            revocation.revoke_all(connection)

    @rule(worker=WORKERS)
    def worker_dies(self, worker: str) -> None:
        recovery.requeue_worker(self.db, worker)

    @rule(taken=st.integers(0, 3), hints_are_old=st.booleans())
    def dispatch(self, taken: int, hints_are_old: bool) -> None:
        """Sends to a queue that takes this many messages, and is then unreachable."""
        if hints_are_old:
            with self.db.write() as connection:
                connection.execute(
                    sa.update(Batch).values(hinted_at=Batch.hinted_at - 2 * HINTS.rehint_s)
                )
                connection.execute(
                    sa.update(Job).values(scan_hinted_at=Job.scan_hinted_at - 2 * HINTS.rehint_s)
                )
        sent: list[tuple[str, int]] = []

        def send(task: str, identity: int) -> bool:
            if len(sent) < taken:
                sent.append((task, identity))
                return True
            return False

        assert hints.send_due(self.db, send, HINTS) == len(sent)
        for task, identity in sent:
            if task == "cuemill.classify":
                assert self.before.batches[identity].state == "queued"
            else:
                assert self.before.jobs[identity].scanned_at is None

    @rule(job=submitted, what=st.sampled_from(["cancel", "retry", "retry some", "delete"]))
    def end_or_begin_again(self, job: int, what: str) -> None:
        if job not in self.before.jobs:
            return
        if what == "cancel":
            cancellation.cancel(self.db, job)
        elif what == "delete":
            self.asked = job
            deletion.delete(self.db, job)
        else:
            self.asked = job
            retries.retry(self.db, job, () if what == "retry" else ("worker_died",))

    @rule(claim=claims)
    def fail(self, claim: Claim) -> None:
        error = FolderError("/photos doesn't exist.")
        assert cancellation.fail(self.db, claim, error) is self.still_claims(claim)

    @rule()
    def promote_or_roll_back(self) -> None:
        """Makes the other release the one that new jobs use."""
        first, second = self.release_ids
        self.release_id = second if self.release_id == first else first

    @rule(job=submitted)
    def retry_stale(self, job: int) -> None:
        if job in self.before.jobs:
            self.asked = job
            view, _ = retries.retry(self.db, job, present_release=self.release_id)
            assert view.model_release_id == self.release_id

    @invariant()
    def all_holds(self) -> None:
        now = self.look()
        for job in now.jobs.values():
            self.check_job(now, job)
        assert now.predictions == {
            (image.job_id, image.number): image.faces
            for image in now.images
            if image.outcome == "classified"
        }
        for job_id, job in now.jobs.items():
            faces = [n for (of_job, _), n in now.predictions.items() if of_job == job_id]
            assert job.faces == sum(faces)
        for key, job in self.before.jobs.items():
            if key != self.asked:
                assert now.jobs[key].status == job.status or job.status in ("queued", "running")
        for key, batch in self.before.batches.items():
            if batch.job_id != self.asked:
                assert now.batches[key].state == batch.state or batch.state in ("queued", "running")
                assert now.batches[key].attempt >= batch.attempt
        for key, job in self.before.jobs.items():
            if job.status in ("queued", "running") or key != self.asked:
                self.check_told(now, key, job)
        self.before, self.asked = now, None

    def check_told(self, now: Snapshot, job_id: int, before: Any) -> None:
        """A webhook is told once of each end, and of nothing else."""
        status = now.jobs[job_id].status if job_id in now.jobs else "cancelled"
        has_ended = before.status in ("queued", "running") and status not in ("queued", "running")
        new = now.told.get(job_id, [])[len(self.before.told.get(job_id, [])) :]
        assert new == ([f"job.{status}"] if has_ended else [])

    def check_job(self, now: Snapshot, job: Any) -> None:
        counts = {name: getattr(job, name) for name in (*OUTCOMES, "cancelled")}
        pending = job.total - sum(counts.values())
        assert min(pending, *counts.values()) >= 0
        batches_of_job = [batch for batch in now.batches.values() if batch.job_id == job.id]
        images = [image for image in now.images if image.job_id == job.id]
        outcomes = Counter(image.outcome for image in images)
        # The images of a re-run are pending, and keep their rows until there are new ones.
        reruns = [b for b in batches_of_job if b.rerun and b.state in ("queued", "running")]
        outcomes["classified"] -= sum(batch.size for batch in reruns)
        assert {name: counts[name] for name in OUTCOMES} == {
            name: outcomes[name] for name in OUTCOMES
        }
        sizes: Counter[str] = Counter()
        for batch in batches_of_job:
            sizes[batch.state] += batch.size
            assert (batch.items is None) == (batch.state == "done")
            assert batch.items is None or len(batch.items) == batch.size
        assert (sizes["queued"] + sizes["running"], sizes["cancelled"]) == (
            pending,
            counts["cancelled"],
        )
        placed = [(image.number, image.path) for image in images]
        rerun = [(number, path) for batch in reruns for number, path in batch.items]
        assert len(set(rerun)) == len(rerun)
        assert set(rerun) <= set(placed)
        placed += [
            (number, path)
            for batch in batches_of_job
            for number, path in batch.items or ()
            if not batch.rerun
        ]
        assert sorted(placed) == list(
            enumerate(FOLDER[: job.total])
        )  # Each image once: recorded, pending or cancelled.
        if job.status in ("completed", "cancelled", "failed"):
            assert pending == 0
        else:
            # Somebody moves it: a batch is open, or its folder is not listed.
            assert job.scanned_at is None or sizes["queued"] + sizes["running"] > 0
        if job.status == "completed":
            assert counts["cancelled"] == 0
            assert job.total == self.sizes[job.id]

    def teardown(self) -> None:
        """Whatever happened before, workers that do not die end every job."""
        self.all_holds()
        self.leases_run_out(swept=True)
        self.pauses_end()
        while claim := scans.claim(self.db, None, "last", LEASE_S):
            self.before = self.look()
            self.list_some(Listing(claim), len(FOLDER))
        while batch := batches.claim(self.db, None, "last", LEASE_S):
            self.given.append(batch)
            assert batches.complete(
                self.db, batch, [row(*item, Outcome.CLASSIFIED) for item in batch.items]
            )
        self.all_holds()
        assert all(
            job.status in ("completed", "cancelled", "failed") for job in self.before.jobs.values()
        )
        for stale in self.given:
            assert not batches.renew(self.db, stale, LEASE_S)
            assert not batches.complete(
                self.db, stale, [row(*item, Outcome.FAILED) for item in stale.items]
            )
        self.all_holds()


def row(number: int, path: str, outcome: Outcome) -> ImageRecord:
    if outcome is Outcome.CLASSIFIED:
        # A re-run may find another number of faces.
        return ImageRecord(number, path, outcome, faces=FACES * next(FACE_COUNTS))
    return ImageRecord(number, path, outcome, "truncated", "Cut off.")


@pytest.mark.timeout(1200)
def test_no_order_of_moves_loses_duplicates_or_miscounts_an_image(
    db: Database, release_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "MIN_S", 600.0)  # No pause ends by itself.
    monkeypatch.setattr(backoff, "MAX_S", 600.0)
    release_ids = (release_id, add_release(db, "newer"))
    run_state_machine_as_test(
        lambda: Moves(db, release_ids),  # type: ignore[arg-type]  # Any factory will do.
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
