"""States and outcomes, and who may move what.

A job::

    queued ──claim──▶ running ──complete──▶ completed ─┐
      │                 │                              │
      ├─────cancel──────┼─────────────────▶ cancelled ─┤
      └──────fail───────┴─────────────────▶ failed ────┴─retry──▶ running, or queued if its folder isn't listed

    move       by function              who                        only while
    claim      scans.claim              a worker that will list    queued or running, not listed, nobody's lease
    complete   jobs.complete_if_ended   who ended its last image   running, listed, nothing pending
    cancel     jobs.cancel, deletion    a user                     queued or running
    fail       jobs.fail                a worker                   queued or running: no folder, or no model
    retry      retries.retry            a user, and nobody else    ended

A batch::

    add──▶ queued ──claim──▶ running ──complete──▶ done
            │ ▲                │ │ └─halve, give up─▲
            │ └────requeue─────┘ │
            └──────cancel────────┴──▶ cancelled ──retry──▶ queued

    move       by function                      who                   only while
    add        scans.record, retries.retry      a worker, a user      the scan's claim holds; asked
    claim      batches.claim (attempt + 1)      a worker              queued
    complete   batches.complete                 its worker            running, and attempt is still mine
    requeue    batches.sweep, batches.release   any worker program    running, lease over or worker dead
    halve      the same; two new batches        the same              the same, for the MAX_ATTEMPTS-th time
    give up    the same; the image has its row  the same              the same, for an image alone
    cancel     jobs.cancel, jobs.fail           as its job is ended   queued or running; of a re-run: done
    retry      retries.retry                    a user                cancelled

A training, which has a job's states::

    queued ──claim: attempt + 1, lease──▶ running ──pickled and registered──▶ completed
       ▲                                     ├──it can't be trained, or MAX_ATTEMPTS workers died──▶ failed
       └──lease expired, or worker stopped───┤
    queued ──────────────cancel──────────────┴──▶ cancelled

Each move is one UPDATE, guarded by what stands under "only while"; whoever touches no row has lost the race and drops
the work. tests/models/test_state_machine.py tries the moves of jobs and batches in any order.
"""

from enum import StrEnum
from typing import Final


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self not in LIVE


class BatchState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """What became of an image. `total = pending + these + cancelled`."""

    CLASSIFIED = "classified"
    NO_FACE = "no_face"
    UNREADABLE = "unreadable"
    FAILED = "failed"


LIVE: Final = (JobStatus.QUEUED, JobStatus.RUNNING)
MAX_ATTEMPTS: Final = 3
"""Times a batch may lose its worker before it is halved in search of the image that kills."""
