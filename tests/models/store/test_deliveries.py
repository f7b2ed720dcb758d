"""The outbox of webhooks: written as a job ends, sent at least once, kept for a stated time."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import pytest
import sqlalchemy as sa

from models.errors import FolderError, NotFoundError, UsageError
from models.store import (
    audit,
    batches,
    cancellation,
    clocks,
    deletion,
    deliveries,
    jobs,
    retries,
    revocation,
    scans,
    webhooks,
)
from models.store.database import Database
from models.store.deliveries import SCHEDULE_S, Attempt, DeliveryClaim
from models.store.states import DeliveryState, Event, Outcome
from models.store.tables import Delivery, Webhook
from tests.builders import (
    LEASE_S,
    claim_batch,
    list_folder,
    queue_job,
    records_of,
    submit_job,
)
from tests.services import Postgres, wait_until

URL = "https://example.org/hook"

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""Of tests whose SQL does not differ."""


@pytest.fixture
def webhook_id(db: Database) -> int:
    view, _ = webhooks.create(db, URL, list(Event))
    return view.id


def attempt(status: int | None, retry_after_s: float = 0.0) -> Attempt:
    error = "Refused." if status is None else None
    return Attempt(datetime.now(UTC), 0.25, status, error, retry_after_s)


def claim(db: Database) -> DeliveryClaim:
    found = deliveries.claim(db, "h:1", LEASE_S)
    assert found is not None
    return found


def payloads(db: Database) -> list[Any]:
    with db.read() as connection:
        return list(connection.scalars(sa.select(Delivery.payload).order_by(Delivery.id)))


def set_due(db: Database) -> None:
    with db.write() as connection:
        connection.execute(sa.update(Delivery).values(not_before=0.0))


def pause_s(db: Database) -> float:
    """How long the only delivery is not tried."""
    with db.read() as connection:
        not_before = connection.execute(sa.select(Delivery.not_before)).scalar_one()
    return not_before - clocks.read(db).now.timestamp()


def complete(db: Database, job_id: int) -> None:
    work = claim_batch(db)
    assert batches.complete(db, work, records_of(work))


def fail_scan(db: Database, job_id: int) -> None:
    other = queue_job(db, jobs.get(db, job_id).model_release_id)
    scan = scans.claim(db, other.id, "h:1", LEASE_S)
    assert scan is not None
    assert cancellation.fail(db, scan, FolderError("Gone."))
    deletion.delete(db, job_id)


ENDS: list[tuple[Callable[[Database, int], object], list[str]]] = [
    (complete, ["job.completed"]),
    (cancellation.cancel, ["job.cancelled"]),
    (deletion.delete, ["job.cancelled"]),
    (lambda db, job: cancellation.fail_job(db, job, "folder", "Gone."), ["job.failed"]),
    (fail_scan, ["job.failed", "job.cancelled"]),
]


def test_whatever_ends_a_job_has_each_webhook_told_once_with_final_counts(
    db: Database, release_id: int, webhook_id: int
) -> None:
    expected: list[str] = []
    for end, events in ENDS:
        job_id = submit_job(db, release_id, images=1)
        assert len(payloads(db)) == len(expected)
        end(db, job_id)
        expected += events

    told = payloads(db)
    assert [payload["type"] for payload in told] == expected
    for payload in told:
        counts = payload["data"]["counts"]
        assert counts["pending"] == 0
        assert counts["total"] == sum(counts.values()) - counts["total"]
        assert payload["data"]["status"] == payload["type"].removeprefix("job.")


@on_sqlite
def test_a_job_of_an_empty_folder_ends_with_its_scan(
    db: Database, release_id: int, webhook_id: int
) -> None:
    scan = scans.claim(db, queue_job(db, release_id).id, "h:1", LEASE_S)
    assert scan is not None
    scans.finish(db, scan)
    assert [payload["type"] for payload in payloads(db)] == ["job.completed"]


@on_sqlite
def test_each_end_of_a_retried_job_is_an_event_of_its_own(
    db: Database, release_id: int, webhook_id: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, images=4)
    work = claim_batch(db)
    batches.complete(db, work, records_of(work, Outcome.UNREADABLE))
    retries.retry(db, job.id)
    complete(db, job.id)

    assert [p["data"]["counts"]["classified"] for p in payloads(db)] == [0, 4]
    first, second = reversed(deliveries.list_newest(db, webhook_id))
    assert first.message != second.message


@on_sqlite
def test_an_end_that_is_not_committed_is_told_to_nobody(
    db: Database, release_id: int, webhook_id: int
) -> None:
    job_id = submit_job(db, release_id, images=1)
    with suppress(ZeroDivisionError), db.write() as connection:
        cancellation.cancel_live(connection, job_id)
        raise ZeroDivisionError
    assert payloads(db) == []
    assert not jobs.get(db, job_id).status.ended


@on_sqlite
def test_only_webhooks_that_want_the_event_are_told_and_all_with_one_message_id(
    db: Database, release_id: int, webhook_id: int
) -> None:
    other, _ = webhooks.create(db, URL, [Event.JOB_CANCELLED])
    third, _ = webhooks.create(db, URL, [Event.JOB_FAILED])
    cancellation.cancel(db, submit_job(db, release_id, images=1))

    told = [deliveries.list_newest(db, each) for each in (webhook_id, other.id, third.id)]
    assert [len(each) for each in told] == [1, 1, 0]
    assert told[0][0].message == told[1][0].message


@on_sqlite
def test_what_succeeded_is_not_sent_again(db: Database, release_id: int, webhook_id: int) -> None:
    cancellation.cancel(db, submit_job(db, release_id, images=1))
    deliveries.record(db, claim(db), attempt(202))
    assert deliveries.claim(db, "h:1", LEASE_S) is None

    (view,) = deliveries.list_newest(db, webhook_id)
    assert (view.state, view.next_attempt_at) == (DeliveryState.DELIVERED, None)
    assert view.ended_at is not None
    assert [(each["status"], each["error"]) for each in view.attempts] == [(202, None)]


@on_sqlite
@pytest.mark.parametrize("status", [None, 302, 404, 500])
def test_what_failed_is_tried_by_the_schedule_with_jitter_and_then_given_up(
    db: Database, release_id: int, webhook_id: int, status: int | None
) -> None:
    cancellation.cancel(db, submit_job(db, release_id, images=1))

    for expected_s in SCHEDULE_S:
        deliveries.record(db, claim(db), attempt(status))
        assert deliveries.claim(db, "h:1", LEASE_S) is None
        assert 0.9 * expected_s - 10 < pause_s(db) < 1.1 * expected_s + 1
        set_due(db)

    deliveries.record(db, claim(db), attempt(status))
    (view,) = deliveries.list_newest(db, webhook_id)
    assert (view.state, len(view.attempts)) == (DeliveryState.FAILED, 10)
    assert deliveries.claim(db, "h:1", LEASE_S) is None


def test_two_pauses_differ() -> None:
    pauses = {deliveries._pause_s(3, 0.0) for _ in range(10)}
    assert len(pauses) == 10


@on_sqlite
@pytest.mark.parametrize(("asked_s", "least_s"), [(60.0, 50.0), (1e9, 86_000.0)])
def test_a_receiver_may_ask_for_a_longer_pause_of_a_day_at_most(
    db: Database, release_id: int, webhook_id: int, asked_s: float, least_s: float
) -> None:
    cancellation.cancel(db, submit_job(db, release_id, images=1))
    deliveries.record(db, claim(db), attempt(503, asked_s))
    assert least_s < pause_s(db) < 86_401


def test_a_delivery_of_a_dead_program_is_sent_by_another_which_alone_records_it(
    db: Database, release_id: int, webhook_id: int
) -> None:
    cancellation.cancel(db, submit_job(db, release_id, images=1))
    lost = claim(db)
    assert deliveries.claim(db, "h:2", LEASE_S) is None
    assert deliveries.renew(db, lost, LEASE_S)

    with db.write() as connection:
        connection.execute(sa.update(Delivery).values(lease_until=0.0))
    second = claim(db)
    assert not deliveries.renew(db, lost, LEASE_S)
    assert (second.delivery_id, second.message) == (lost.delivery_id, lost.message)

    deliveries.record(db, lost, attempt(500))
    deliveries.record(db, second, attempt(204))
    (view,) = deliveries.list_newest(db, webhook_id)
    assert [each["status"] for each in view.attempts] == [204]


@on_sqlite
def test_an_upgrade_of_the_tables_takes_claims_and_another_program_sends(
    db: Database, release_id: int, webhook_id: int
) -> None:
    cancellation.cancel(db, submit_job(db, release_id, images=1))
    lost = claim(db)
    with db.write() as connection:
        revocation.revoke_all(connection)

    deliveries.record(db, lost, attempt(204))
    assert claim(db).message == lost.message


def test_a_webhook_is_sent_one_delivery_at_a_time_and_delays_no_other(
    db: Database, release_id: int, webhook_id: int
) -> None:
    other, _ = webhooks.create(db, URL, list(Event))
    for _ in range(2):
        cancellation.cancel(db, submit_job(db, release_id, images=1))

    first, second = claim(db), claim(db)
    assert {first.webhook_id, second.webhook_id} == {webhook_id, other.id}
    assert deliveries.claim(db, "h:1", LEASE_S) is None

    deliveries.record(db, first, attempt(204))
    assert claim(db).webhook_id == first.webhook_id


def test_410_disables_a_webhook_and_ends_what_it_was_to_be_told(
    db: Database, release_id: int, webhook_id: int
) -> None:
    other, _ = webhooks.create(db, URL, list(Event))
    job_ids = [submit_job(db, release_id, images=1) for _ in range(3)]
    for job_id in job_ids[:2]:
        cancellation.cancel(db, job_id)
    gone = claim(db)
    deliveries.record(db, gone, attempt(410))
    cancellation.cancel(db, job_ids[2])

    assert [view.enabled for view in webhooks.list_newest(db)] == [True, False]
    states = [view.state for view in deliveries.list_newest(db, webhook_id)]
    assert states == [DeliveryState.FAILED] * 2
    assert len(deliveries.list_newest(db, other.id)) == 3
    with pytest.raises(UsageError, match="410"):
        deliveries.replay(db, gone.delivery_id)


@on_sqlite
def test_a_replay_sends_the_same_message_again(
    db: Database, release_id: int, webhook_id: int
) -> None:
    cancellation.cancel(db, submit_job(db, release_id, images=1))
    first = claim(db)
    deliveries.record(db, first, attempt(204))

    view = deliveries.replay(db, first.delivery_id)
    assert (view.state, view.ended_at) == (DeliveryState.PENDING, None)
    second = claim(db)
    assert (second.message, second.payload) == (first.message, first.payload)
    deliveries.record(db, second, attempt(500))
    assert 4 < pause_s(db) < 6  # The schedule begins again.

    deliveries.replay(db, first.delivery_id)  # Whoever cannot wait need not.
    deliveries.record(db, claim(db), attempt(204))
    (view,) = deliveries.list_newest(db, webhook_id)
    assert [each["status"] for each in view.attempts] == [204, 500, 204]
    with pytest.raises(NotFoundError):
        deliveries.replay(db, 99)
    assert [entry.act for entry in audit.list_newest(db)][:2] == ["delivery.replay"] * 2


def test_what_is_pending_outlives_its_job_and_is_gone_once_it_was_sent(
    db: Database, release_id: int, webhook_id: int
) -> None:
    other = submit_job(db, release_id, images=1)
    cancellation.cancel(db, other)
    deliveries.record(db, claim(db), attempt(204))
    deletion.delete(db, other)
    assert payloads(db) == []

    job_id = submit_job(db, release_id, images=1)
    deletion.delete(db, job_id)
    work = claim(db)
    assert work.payload["data"]["id"] == job_id
    deliveries.record(db, work, attempt(500))
    assert len(payloads(db)) == 1
    set_due(db)
    deliveries.record(db, claim(db), attempt(204))
    assert payloads(db) == []


@on_sqlite
def test_what_ended_a_month_ago_is_deleted(db: Database, release_id: int, webhook_id: int) -> None:
    for _ in range(3):
        cancellation.cancel(db, submit_job(db, release_id, images=1))
    ended = claim(db)
    deliveries.record(db, ended, attempt(204))
    recent = claim(db)
    deliveries.record(db, recent, attempt(204))

    long_ago = datetime.now(UTC) - timedelta(days=31)
    with db.write() as connection:
        connection.execute(sa.update(Delivery).values(created_at=long_ago))
        connection.execute(
            sa.update(Delivery).where(Delivery.id == ended.delivery_id).values(ended_at=long_ago)
        )
    deliveries.delete_old(db)
    left = {view.id for view in deliveries.list_newest(db, webhook_id)}
    assert len(left) == 2
    assert ended.delivery_id not in left


def test_a_webhook_is_deleted_with_all_it_was_to_be_told(
    db: Database, release_id: int, webhook_id: int
) -> None:
    cancellation.cancel(db, submit_job(db, release_id, images=1))
    work = claim(db)
    webhooks.delete(db, webhook_id)
    assert payloads(db) == []
    deliveries.record(db, work, attempt(204))  # It was under way.
    assert payloads(db) == []

    cancellation.cancel(db, submit_job(db, release_id, images=1))
    for ask in (webhooks.get, webhooks.delete, deliveries.list_newest):
        with pytest.raises(NotFoundError, match=f"No webhook {webhook_id}"):
            ask(db, webhook_id)


@on_sqlite
def test_secrets_differ_and_are_of_the_length_that_the_standard_asks_for(db: Database) -> None:
    created = [webhooks.create(db, URL, list(Event)) for _ in range(2)]
    assert created[0][1] != created[1][1]
    assert all(secret.startswith("whsec_") and len(secret) == 50 for _, secret in created)

    with db.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Webhook)) == 2


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_job_ends_while_a_webhook_is_being_deleted(
    db: Database, release_id: int, webhook_id: int, postgres_server: Postgres
) -> None:
    job_id = submit_job(db, release_id, images=1)
    ending = Thread(target=cancellation.cancel, args=(db, job_id))
    with db.write() as connection:
        connection.execute(sa.delete(Webhook))
        ending.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_until(lambda: postgres_server.execute(waits), "the other transaction to wait")
    ending.join()

    assert jobs.get(db, job_id).status.ended
    assert payloads(db) == []
