"""All checks together, over both databases: in time, whatever hangs or fails."""

import threading

import pytest

from models.health.checks import Check, State, worst
from models.health.watch import Watch
from models.settings import Settings
from models.store.database import Database
from tests.services import free_port, wait_until

SETTINGS = Settings(_env_file=None)


def test_a_server_that_never_answers_is_reported_and_asked_by_one_thread_at_a_time(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.health.watch.ANSWER_S", 1.0)
    asked, answer = [], threading.Event()

    def ping() -> None:
        asked.append(True)
        answer.wait(60)

    watch = Watch(db, SETTINGS, ping)
    for _ in range(2):
        checks = {check.name: check for check in watch.look()}
        assert checks["database"].state is State.OK
        assert checks["queue"].message.startswith(
            "No answer within 1 s. Redis may be overloaded or stopped"
        )
        assert worst(list(checks.values())) is State.PROBLEM
    assert len(asked) == 1
    answer.set()
    wait_until(lambda: worst(watch.look()) is State.OK, "the queue to be found again")


def test_a_writer_that_never_ends_locks_sqlite_and_is_reported(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.health.watch.ANSWER_S", 1.0)
    watch = Watch(db, SETTINGS, lambda: None)
    with db.write():
        checks = {check.name: check for check in watch.look()}
        assert checks["database"].state is State.OK
        if db.is_sqlite:
            assert "A process keeps the database locked" in checks["writes"].message
        else:
            assert checks["writes"].state is State.OK
    wait_until(lambda: worst(watch.look()) is State.OK, "the database to be free again")


def test_a_check_that_fails_unexpectedly_is_a_problem_and_leaves_the_others(
    db: Database,
) -> None:
    def ping() -> None:
        raise RuntimeError("unforeseen")

    checks = {check.name: check for check in Watch(db, SETTINGS, ping).look()}
    assert checks["database"].state is State.OK
    assert checks["queue"] == Check(
        "queue", State.PROBLEM, "This check itself failed (unforeseen). See the log."
    )


def test_a_port_without_a_server_does_not_delay_the_report() -> None:
    away = Database(f"postgresql+psycopg://user@127.0.0.1:{free_port()}/x")
    assert [check.state for check in Watch(away, SETTINGS, lambda: None, roots=False).look()] == [
        State.PROBLEM,
        State.OK,
    ]


def test_a_check_that_gets_no_thread_is_a_problem_and_is_tried_again(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    watch = Watch(db, SETTINGS, lambda: None)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        checks = watch.look()
    assert {check.state for check in checks} == {State.PROBLEM}
    assert "can't start new thread" in checks[0].message
    wait_until(lambda: worst(watch.look()) is State.OK, "all checks to run again")
