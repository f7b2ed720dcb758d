"""The name of a worker, and how it keeps its claim on a thread beside its work."""

import os
import socket
import subprocess
import sys
import threading

from models.errors import DatabaseError
from tests.services import patience, wait_until
from worker.lease import program_token, renew_in_background, worker_name

LONG_S = 1e6


def test_a_worker_is_named_after_its_host_process_and_program() -> None:
    assert worker_name(7, "0123abcd") == f"{socket.gethostname()}:7:0123abcd"
    assert worker_name(7) == f"{socket.gethostname()}:7:{program_token()}"
    assert worker_name() == worker_name(os.getpid())


def test_two_programs_with_one_host_name_and_process_id_have_different_names() -> None:
    """As in two containers that share a host name."""
    program = "from worker.lease import worker_name; print(worker_name(1), worker_name(1))"
    names = [
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert all(first == second for first, second in names)
    assert names[0] != names[1]


def test_a_lease_is_renewed_in_the_background_until_the_block_ends() -> None:
    renewals: list[str] = []

    def renew() -> bool:
        renewals.append(threading.current_thread().name)
        return True

    with renew_in_background(renew, LONG_S, at_least_every_s=0.01) as lost:
        wait_until(lambda: len(renewals) >= 3, "three renewals")
        assert not lost.is_set()
    assert threading.current_thread().name not in renewals
    assert "lease" not in [thread.name for thread in threading.enumerate()]


def test_a_claim_lost_in_the_background_is_shown_and_no_longer_renewed() -> None:
    answers = [True, False]

    def renew() -> bool:
        return answers.pop(0)  # A third renewal would raise.

    with renew_in_background(renew, LONG_S, at_least_every_s=0.01) as lost:
        assert lost.wait(patience(10))
    assert answers == []


def test_a_renewal_that_the_database_refuses_is_tried_again() -> None:
    renewals: list[bool] = []

    def renew() -> bool:
        renewals.append(True)
        if len(renewals) == 1:
            raise DatabaseError("The database cannot be used.")
        return True

    with renew_in_background(renew, LONG_S, at_least_every_s=0.01) as lost:
        wait_until(lambda: len(renewals) >= 2, "another renewal")
        assert not lost.is_set()
