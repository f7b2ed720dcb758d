"""The courier: what waits for whom, and what is sent to nobody."""

import json
import os
import signal
from threading import Event as Flag

import pytest

from models.settings import Settings
from models.store import cancellation, deliveries, webhooks
from models.store.database import Database
from models.store.states import Event
from tests.builders import submit_job
from tests.receiver import Answer, run_receiver
from tests.services import wait_until
from worker import courier
from worker.courier import send_due
from worker.sweep import sweep

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

SETTINGS = Settings(_env_file=None, webhook_private=True)


def test_a_receiver_that_does_not_answer_delays_neither_the_sweep_nor_others(
    db: Database, release_id: int
) -> None:
    answered = Flag()
    with run_receiver() as slow, run_receiver() as quick:

        def wait(_: object) -> Answer:
            answered.wait()
            return 204, {}

        slow.answer = wait
        for receiver in (slow, quick):
            webhooks.create(db, receiver.url, list(Event))
        for _ in range(5):
            cancellation.cancel(db, submit_job(db, release_id, images=1))

        try:
            sweep(db, SETTINGS)
            sweep(db, SETTINGS)
            wait_until(lambda: len(quick.requests) == 5, "the other receiver to be told")
            assert slow.requests == []
        finally:
            answered.set()
        wait_until(lambda: len(slow.requests) == 5, "the slow receiver to be told")
        wait_until(lambda: courier._free._value == courier.THREADS, "the threads to end")

    assert len(set(quick.messages)) == 5
    assert sorted(slow.messages) == sorted(quick.messages)


def test_by_default_nothing_is_sent_to_this_machine(db: Database, release_id: int) -> None:
    with run_receiver() as receiver:
        view, _ = webhooks.create(db, receiver.url, list(Event))
        cancellation.cancel(db, submit_job(db, release_id, images=1))
        send_due(db, Settings(_env_file=None))
        wait_until(
            lambda: deliveries.list_newest(db, view.id)[0].attempts, "the attempt to be logged"
        )
    assert receiver.requests == []
    (logged,) = deliveries.list_newest(db, view.id)[0].attempts
    assert logged["status"] is None
    assert "CUEMILL_WEBHOOK_PRIVATE" in json.dumps(logged)


def test_a_worker_that_is_no_sender_leaves_webhooks_to_the_program_that_does_nothing_else(
    db: Database, release_id: int
) -> None:
    with run_receiver() as receiver:
        view, _ = webhooks.create(db, receiver.url, list(Event))
        cancellation.cancel(db, submit_job(db, release_id, images=1))
        sweep(db, SETTINGS.model_copy(update={"webhook_sender": False}))
        assert deliveries.claim(db, "h:1", 0.0) is not None  # Nobody had claimed it.

        def stop(_: object) -> Answer:
            os.kill(os.getpid(), signal.SIGTERM)
            return 204, {}

        receiver.answer = stop
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        try:
            courier.run_courier(SETTINGS.model_copy(update={"webhook_sender": False}), db)
        finally:
            for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
                signal.signal(number, handler)
        wait_until(
            lambda: deliveries.list_newest(db, view.id)[0].attempts, "the attempt to be logged"
        )
    assert len(receiver.requests) == 1
