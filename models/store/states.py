"""States and outcomes, and who may move what.

A job::

    queued ──claim──▶ running ──complete──▶ completed ─┐
      │                 │                              │
      ├─────cancel──────┼─────────────────▶ cancelled ─┤
      └──────fail───────┴─────────────────▶ failed ────┴─retry──▶ running (queued if not listed)

    move       function                     by                          only while
    claim      scans.claim                  the worker that lists it    live, not listed, no lease
    complete   jobs.complete_if_ended       who ends its last image     running, listed, 0 pending,
                                                                        0 cancelled
    cancel     cancellation, deletion       a user                      queued or running
               jobs.complete_if_ended       who ends its last image     running, listed, 0 pending,
                                                                        some cancelled
    fail       cancellation.fail            the worker that claimed its running, same claim of
                                            scan or a batch             the scan or the batch
    retry      retries.retry                a user                      ended
    requeue    revocation                   who upgrades the tables     running, not listed

A batch::

    add──▶ queued ──claim──▶ running ──complete──▶ done
            │ ▲                │ │ └─split, give up─▲
            │ └────requeue─────┘ │
            └──────cancel────────┴──▶ cancelled ──retry──▶ queued

    move       function                     by                          only while
    add        scans.record, retries.retry  a worker, a user            the scan's claim is valid
    claim      batches.claim                a worker                    queued, and no pause
                                                                        (`backoff.py`)
    complete   batches.complete             the worker that claimed it  running, same claim,
                                                                        the job's release
    requeue    recovery                     any worker program          running, lease expired or
                                                                        worker dead
               revocation                   who upgrades the tables     running
               batches.complete             the worker that claimed it  running, same claim,
                                                                        another release, or images
                                                                        left for another try
    split      recovery: two new batches    the same                    the same, MAX_ATTEMPTS times
    give up    recovery: the image failed   the same                    the same, for a single image
    cancel     cancellation                 as its job ends             queued or running
    retry      retries.retry                a user                      cancelled

`batches.py` writes all of these, whichever module decides the move. A batch of a re-run is not
cancelled but done: its images have their old results. A retry with a new release also requeues
running batches.

A training, whose states are those of a job::

    queued ──claim──▶ running ──complete──▶ completed
      │ ▲               │ │ └────fail─────▶ failed
      │ └────requeue────┘ │
      └──────cancel───────┴──────▶ cancelled

    move       function                     by                          only while
    claim      trainings.claim              a training worker           queued
    complete   trainings.complete           the worker that claimed it  running, same claim
    fail       trainings.fail               the worker that claimed it  running, same claim
               trainings.requeue_expired    any training worker         running, lease expired
                                                                        MAX_ATTEMPTS times
    requeue    trainings.requeue_expired    any training worker         running, lease expired
               trainings.put_back           the worker, as it stops     running, same claim
               revocation                   who upgrades the tables     running
    cancel     trainings.cancel             a user                      queued or running

A delivery of a webhook::

    add──▶ pending ──deliver──▶ delivered ─┐
              │ ▲                          │
              └─┼───give up───▶ failed ────┤
                └──────────replay──────────┘

    move       function                     by                          only while
    add        deliveries.add               who ends a job              the webhook is enabled
    deliver    deliveries.record            who claimed it              pending, same claim
    give up    deliveries.record            the same                    the same, last try; or all
                                                                        of a webhook that is gone
    replay     deliveries.replay            a user                      the webhook is enabled

Each move is one UPDATE, guarded by its "only while". If another program was faster, the UPDATE
matches no row, and the work is dropped. The same claim means the same nonce (`leases.py`).
`tests/models/store/test_state_machine.py` tries the moves of jobs and batches in any order.
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
    """The result of an image. For a job, `total = pending + these + cancelled`."""

    CLASSIFIED = "classified"
    NO_FACE = "no_face"
    UNREADABLE = "unreadable"
    FAILED = "failed"


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Event(StrEnum):
    """What webhooks are told of."""

    JOB_COMPLETED = "job.completed"
    JOB_CANCELLED = "job.cancelled"
    JOB_FAILED = "job.failed"


LIVE: Final = (JobStatus.QUEUED, JobStatus.RUNNING)
MAX_ATTEMPTS: Final = 3
"""How often a batch may lose its worker before it is split to find the image that kills it."""
