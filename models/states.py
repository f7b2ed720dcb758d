"""States and outcomes, and who may move what.

A job::

    queued ──scan claimed──▶ running ──every batch ended──▶ completed
       │                        │
       ├────────cancel──────────┼──▶ cancelled
       └──the job can't run─────┴──▶ failed              (a job that has ended moves again only by a user's retry)

A batch::

    queued ──claim: attempt + 1, lease──▶ running ──complete, while attempt is still mine──▶ done
       ▲                                     │
       └──lease expired or worker gone───────┘  (after MAX_ATTEMPTS: halved; a single image gets its row and is done)

    queued | running ──its job was cancelled, or failed──▶ cancelled  (of a re-run: done, and the old results stay)

A training, which has a job's states::

    queued ──claim: attempt + 1, lease──▶ running ──pickled and registered──▶ completed
       ▲                                     ├──it can't be trained, or MAX_ATTEMPTS workers died──▶ failed
       └──lease expired, or worker stopped───┤
    queued ──────────────cancel──────────────┴──▶ cancelled

Each move is one guarded UPDATE in `models.jobs`, `models.batches` or `models.trainings`; whoever touches no row has
lost the race and drops the work.
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
