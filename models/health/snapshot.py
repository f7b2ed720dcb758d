"""Work and workers at one instant, as the tables show them.

The database says more than a ping could: a worker is alive if its heartbeat is recent, and it works
if work progresses. A worker may answer its queue and yet take nothing from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.store import batches
from models.store.database import Database, now_s
from models.store.heartbeats import SILENT_S
from models.store.states import LIVE, BatchState
from models.store.tables import Batch, Job, Trouble, Worker

LOADING_S: Final = 30.0
"""No network takes longer to load, on a host that is well."""


@dataclass(frozen=True)
class Backlog:
    """Jobs that have not ended.

    Attributes:
        images: how many are left; the number may grow while folders are being listed.
        since_s: for how long the oldest of the jobs has been there.
    """

    jobs: int = 0
    images: int = 0
    since_s: float = 0.0


@dataclass(frozen=True)
class Program:
    """A worker program, by its last heartbeat.

    Attributes:
        job_id: the only job it works on; None = all.
        silent_s: seconds since that heartbeat.
        idle_s: seconds since it last saw work progress.
        unswept_s: seconds between its last sweep without an error, or its start, and its heartbeat.
        clock_ahead_s: how far its host's clock is ahead of the database's.
        troubles: why it stays away from some jobs.
    """

    name: str
    processes: int
    job_id: int | None
    silent_s: float
    idle_s: float
    unswept_s: float
    clock_ahead_s: float
    troubles: Sequence[str] = ()

    @property
    def alive(self) -> bool:
        return self.silent_s < SILENT_S


@dataclass(frozen=True)
class Snapshot:
    """Work and workers at one instant.

    Attributes:
        now: on the database's clock, in seconds since 1970.
        served, unserved: the jobs that a living worker works on, and those that none does.
        batches: how many are queued, and how many running.
        lost: running batches whose lease has run out; the next sweep queues them again.
        waiting: why jobs wait for their folders, by the jobs' ids.
    """

    now: float
    programs: list[Program]
    served: Backlog
    unserved: Backlog
    batches: dict[str, int]
    lost: int
    waiting: dict[int, str] = field(default_factory=dict)

    @property
    def alive(self) -> list[Program]:
        return [program for program in self.programs if program.alive]

    @property
    def silent(self) -> list[Program]:
        return [program for program in self.programs if not program.alive]

    @property
    def standstill_s(self) -> float:
        """How long living workers have had work without seeing progress; 0 if they have no work."""
        return min((self.served.since_s, *(program.idle_s for program in self.alive)))


def take_snapshot(db: Database) -> Snapshot:
    """
    Raises:
        DatabaseError: the database cannot be used.
    """
    with db.read() as connection:
        now = _read_now(connection)
        programs = _read_programs(connection, now)

        job_ids = {program.job_id for program in programs if program.alive and program.processes}
        is_served = sa.true() if None in job_ids else Job.id.in_(job_ids)

        return Snapshot(
            now,
            programs,
            _read_backlog(connection, now, is_served),
            _read_backlog(connection, now, ~is_served),
            _count_batches(connection),
            _count_lost(connection),
            _read_waiting(connection),
        )


def list_programs(db: Database) -> list[Program]:
    """The worker programs by name, living and dead.

    Raises:
        DatabaseError: the database cannot be used.
    """
    with db.read() as connection:
        return _read_programs(connection, _read_now(connection))


def _read_now(connection: Connection) -> float:
    return connection.execute(sa.select(now_s())).scalar_one()


def _read_programs(connection: Connection, now: float) -> list[Program]:
    rows = connection.execute(sa.select(Worker).order_by(Worker.name)).all()
    # One that has only just begun to load is in no trouble yet.
    in_trouble = sa.or_(Trouble.tries > 0, Trouble.since < now - LOADING_S)
    troubles = connection.execute(
        sa.select(Trouble.program, Trouble.reason).where(in_trouble).order_by(Trouble.since)
    ).all()
    return [
        Program(
            row.name,
            row.processes,
            row.job_id,
            # One that was last seen in the future died before the clock stepped back.
            silent_s=abs(now - row.seen),
            idle_s=max(now - row.progressed, 0.0),
            unswept_s=row.seen - (row.started if row.swept is None else row.swept),
            clock_ahead_s=row.clock_ahead_s,
            troubles=[trouble.reason for trouble in troubles if trouble.program == row.name],
        )
        for row in rows
    ]


def _read_backlog(connection: Connection, now: float, condition: sa.ColumnElement[bool]) -> Backlog:
    left = sa.func.coalesce(sa.func.sum(Job.pending), 0)
    since = sa.func.min(sa.func.coalesce(Job.running_at, Job.queued_at))

    jobs, images, oldest = connection.execute(
        sa.select(sa.func.count(), left, since).where(Job.status.in_(LIVE), condition)
    ).one()

    since_s = max(now - oldest.timestamp(), 0.0) if oldest else 0.0
    return Backlog(jobs, int(images), since_s)


def _count_batches(connection: Connection) -> dict[str, int]:
    states = (BatchState.QUEUED, BatchState.RUNNING)
    rows = connection.execute(
        sa.select(Batch.state, sa.func.count()).where(Batch.state.in_(states)).group_by(Batch.state)
    )
    return {state.value: 0 for state in states} | dict(rows.all())


def _count_lost(connection: Connection) -> int:
    query = sa.select(sa.func.count()).select_from(Batch)
    return connection.execute(query.where(*batches.LEASES.expired)).scalar_one()


def _read_waiting(connection: Connection) -> dict[int, str]:
    query = sa.select(Job.id, Job.trouble).where(Job.status.in_(LIVE), Job.trouble.is_not(None))
    return {row.id: row.trouble for row in connection.execute(query.order_by(Job.id))}
