"""The watch in real processes: what hangs is ended, and what is only slow goes on."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import patience
from worker.watch import HUNG, answers

PROGRAM = """
import time
from worker.lease import ClaimLostError
from worker.watch import watch

def give_back(path):
    print("gives back", path or "its folder", flush=True)

def work(state):
    {work}

try:
    with watch(lambda: {renewed}, give_back, {lease_s}, image_leases={image_leases}) as state:
        work(state)
    print("ends by itself")
except ClaimLostError:
    print("stops")
"""


def run(
    work: str, *, renewed: bool = True, lease_s: float = 0.3, image_leases: float = 100.0
) -> tuple[int, str]:
    """Runs the work in a process; returns its exit code and what it printed."""
    program = PROGRAM.format(work=work, renewed=renewed, lease_s=lease_s, image_leases=image_leases)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.returncode, done.stdout.strip()


@pytest.mark.parametrize(("path", "shown"), [("a.jpg", "a.jpg"), ("", "its folder")])
def test_a_process_that_hangs_in_reading_gives_its_claim_back_and_ends(
    path: str, shown: str
) -> None:
    assert run(f"state.read({path!r}); time.sleep(600)") == (HUNG, f"gives back {shown}")


def test_a_file_that_is_read_slowly_keeps_its_claim_for_longer_than_a_lease() -> None:
    work = "state.read('a.jpg'); [(time.sleep(0.2), state.alive()) for _ in range(20)]"
    assert run(work, lease_s=1.0) == (0, "ends by itself")


def test_a_file_that_is_read_too_slowly_is_given_back_in_the_end() -> None:
    work = "state.read('a.jpg'); [(time.sleep(0.01), state.alive()) for _ in range(60000)]"
    assert run(work, image_leases=2.0) == (HUNG, "gives back a.jpg")


def test_work_that_computes_may_take_longer_than_a_lease_but_not_for_ever() -> None:
    computing = "state.read('a.jpg'); state.compute(); time.sleep({})"
    assert run(computing.format(1.0)) == (0, "ends by itself")
    assert run(computing.format(600), image_leases=3.0) == (HUNG, "")


def test_a_process_whose_claim_is_lost_stops_or_ends_if_it_hangs() -> None:
    alive = "state.read('a.jpg'); [(time.sleep(0.01), state.alive()) for _ in range(60000)]"
    assert run(alive, renewed=False) == (0, "stops")
    assert run("state.read('a.jpg'); time.sleep(600)", renewed=False) == (HUNG, "")


def test_a_folder_answers_if_it_can_be_listed_and_a_file_in_it_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert answers(str(tmp_path), ["a.jpg"], timeout_s=patience(60))
    # One that is gone answers too.
    assert answers(str(tmp_path / "gone"), ["a.jpg"], timeout_s=patience(60))
