"""What keeps work from being done, each in a sentence that says what to do about it.

The database says more than any ping: a worker is alive when its heartbeat is fresh, and works when work moves on. A
worker may answer its queue and yet take nothing from it.
"""

import logging
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.errors import DatabaseError, FolderError
from models.settings import Settings
from models.sources.roots import check_folder
from models.store.database import Database, now_s
from models.store.heartbeats import SILENT_S
from models.store.states import LIVE, BatchState
from models.store.tables import REVISION, Batch, Job, Training, Worker

DISK_FULL_BYTES: Final = 16 * 2**20
"""SQLite's log alone grows to 4 MB before it is merged, and each open batch adds to it: below this, it may fail."""
DISK_LOW_BYTES: Final = 256 * 2**20
IMAGE_BYTES: Final = 600
"""What an image's rows and their indexes take in SQLite: 557 bytes were measured, with paths of 42 characters."""
ANSWER_S: Final = 4.0
"""Whoever asks is told within this, and so within the 5 s that monitors usually wait."""

_TRAINER: Final = "`cuemill worker --queue training` is one."

_log = logging.getLogger(__name__)


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `message` is one or more sentences: what was found, and the remedy."""

    name: str
    state: State
    message: str


def worst(checks: Sequence[Check]) -> State:
    """The state of all together."""
    order = list(State)
    return max((check.state for check in checks), key=order.index, default=State.OK)


@dataclass(frozen=True)
class Waiting:
    """Jobs that haven't ended. `since_s` is how long the oldest has been there; `images` may still grow."""

    jobs: int = 0
    images: int = 0
    since_s: float = 0.0

    def __str__(self) -> str:
        jobs = f"{self.jobs:,} {'job waits' if self.jobs == 1 else 'jobs wait'}"
        return f"{jobs}, with {_count(self.images, 'image')}" if self.images else jobs


@dataclass(frozen=True)
class Program:
    """A worker program, by its last heartbeat."""

    name: str
    processes: int
    job_id: int | None
    silent_s: float
    idle_s: float

    @property
    def alive(self) -> bool:
        return self.silent_s < SILENT_S


@dataclass(frozen=True)
class Snapshot:
    """Work and workers at one instant.

    Attributes:
        served, unserved: jobs that a living worker is there for, or none.
        batches: how many are queued, and how many running.
        lost: batches whose worker let its lease run out; a sweep queues them again.
    """

    programs: list[Program]
    served: Waiting
    unserved: Waiting
    batches: dict[str, int]
    lost: int

    @property
    def alive(self) -> list[Program]:
        return [program for program in self.programs if program.alive]

    @property
    def silent(self) -> list[Program]:
        return [program for program in self.programs if not program.alive]

    @property
    def standstill_s(self) -> float:
        """For how long there has been work for living workers, and no living one has seen it move on; 0 without."""
        return min((self.served.since_s, *(program.idle_s for program in self.alive)))


def snapshot(db: Database) -> Snapshot:
    """
    Raises:
        DatabaseError: out of reach.
    """
    with db.read() as connection:
        now = connection.execute(sa.select(now_s())).scalar_one()
        programs = [
            Program(
                row.name,
                row.processes,
                row.job_id,
                max(now - row.seen, 0.0),
                max(now - row.progressed, 0.0),
            )
            for row in connection.execute(sa.select(Worker).order_by(Worker.name))
        ]
        served_jobs = {
            program.job_id for program in programs if program.alive and program.processes
        }
        is_served = sa.true() if None in served_jobs else Job.id.in_(served_jobs)
        counted = connection.execute(
            sa.select(Batch.state, sa.func.count())
            .where(Batch.state.in_((BatchState.QUEUED, BatchState.RUNNING)))
            .group_by(Batch.state)
        )
        batches = {BatchState.QUEUED.value: 0, BatchState.RUNNING.value: 0} | dict(counted.all())
        lost = connection.execute(
            sa.select(sa.func.count())
            .select_from(Batch)
            .where(Batch.state == BatchState.RUNNING, Batch.lease_until < now_s())
        ).scalar_one()
        return Snapshot(
            programs,
            _waiting(connection, now, is_served),
            _waiting(connection, now, ~is_served),
            batches,
            lost,
        )


def _waiting(connection: Connection, now: float, which: sa.ColumnElement[bool]) -> Waiting:
    ended = Job.classified + Job.no_face + Job.unreadable + Job.failed + Job.cancelled
    since = sa.func.min(sa.func.coalesce(Job.running_at, Job.queued_at))
    jobs, images, oldest = connection.execute(
        sa.select(
            sa.func.count(), sa.func.coalesce(sa.func.sum(Job.total - ended), 0), since
        ).where(Job.status.in_(LIVE), which)
    ).one()
    return Waiting(jobs, int(images), max(now - oldest.timestamp(), 0.0) if oldest else 0.0)


def check_workers(found: Snapshot) -> Check:
    """Dead workers, and work that none is there for."""
    sentences = [
        f"{program.name} was last heard of {_ago(program.silent_s)} ago: it died, hangs, or can't write to the "
        "database. What it had in hand is run again."
        for program in found.silent
    ]
    working = [program for program in found.alive if program.processes]
    processes = sum(program.processes for program in working)
    if found.unserved.jobs:
        if working:
            why = "Workers run only for jobs of their own (`cuemill classify`)"
        elif found.alive:
            why = f"No worker process of {found.alive[0].name} lives; its log says why"
        else:
            why = "No worker is alive" if sentences else "No worker runs"
        return Check(
            "workers",
            State.PROBLEM,
            " ".join([f"{why}; {found.unserved}. Start one with `cuemill worker`.", *sentences]),
        )
    running = f"{_count(processes, 'process')} in {_count(len(working), 'program')}"
    first = f"Alive: {running}." if working else "No worker runs, and nothing waits for one."
    if sentences:
        return Check(
            "workers",
            State.WARNING,
            " ".join([first, *sentences, "Start it again if you miss it."]),
        )
    return Check("workers", State.OK, first)


def check_progress(found: Snapshot, settings: Settings) -> Check:
    """Work that stands still although there are workers for it."""
    if not found.served.jobs:
        return Check("progress", State.OK, "Nothing is being worked on.")
    # Twice what it takes at most until a batch whose worker and message are both lost is in hand again.
    patience_s = 2 * (settings.lease_s + settings.rehint_s + 2 * settings.sweep_s)
    if found.standstill_s > patience_s:
        return Check(
            "progress",
            State.PROBLEM,
            f"{found.served}, and nothing has moved for {_ago(found.standstill_s)} although workers are alive. They "
            "may hang on a drive that doesn't answer, or no longer hear the queue: look into their logs, and start "
            "them again. Nothing is lost by that.",
        )
    left = f"{_count(found.served.images, 'image')} of {_count(found.served.jobs, 'job')} to go"
    return Check("progress", State.OK, f"{left}; work moves on.")


def check_trainings(db: Database, settings: Settings) -> Check:
    """Trainings that no training worker takes up, or whose worker is gone.

    Their worker renews a lease every second, so the rows themselves say whether it lives.

    Raises:
        DatabaseError: out of reach.
    """
    with db.read() as connection:
        now = connection.execute(sa.select(now_s())).scalar_one()
        live = connection.execute(
            sa.select(Training.id, Training.queued_at, Training.lease_until)
            .where(Training.status.in_(LIVE))
            .order_by(Training.id)
        ).all()
    lost = [row for row in live if row.lease_until is not None and row.lease_until < now]
    if lost:
        one = f"The worker of training {lost[0].id} died or hangs."
        return Check(
            "trainings",
            State.PROBLEM,
            f"{one} Start one: it goes on from the last epoch. {_TRAINER}",
        )
    waits_s = now - min((row.queued_at.timestamp() for row in live), default=now)
    if (
        live
        and all(row.lease_until is None for row in live)
        and waits_s > settings.rehint_s + 2 * settings.sweep_s
    ):
        waiting = f"{_count(len(live), 'training')} {'waits' if len(live) == 1 else 'wait'}, and no worker trains."
        return Check("trainings", State.PROBLEM, f"{waiting} {_TRAINER}")
    under_way = (
        f"{_count(len(live), 'training')} under way or waiting."
        if live
        else "Nothing is being trained."
    )
    return Check("trainings", State.OK, under_way)


def check_writes(db: Database) -> Check:
    """Whether the database lets us write, by doing so and leaving nothing behind.

    In SQLite, a process that is stopped within a transaction keeps all others out. PostgreSQL's disk can't be looked at
    from here, but a new table, if only a temporary one, takes room on it.
    """
    try:
        with db.write() as connection:
            if not db.is_sqlite:
                connection.execute(
                    sa.text("CREATE TEMPORARY TABLE cuemill_probe ON COMMIT DROP AS SELECT 1")
                )
    except DatabaseError as error:
        if "permission denied" in str(error):
            return Check(
                "writes", State.OK, "Not looked at: the user may not make temporary tables."
            )
        return Check("writes", State.PROBLEM, str(error))
    return Check("writes", State.OK, "The database can be written.")


def check_disk(folder: Path, images: int = 0) -> Check:
    """Room in a folder for SQLite to write, and for the results of this many images."""
    if not os.access(folder, os.W_OK):
        return Check(
            "disk",
            State.PROBLEM,
            f"{folder} can't be written. Give it to the user who runs Cuemill.",
        )
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check("disk", State.PROBLEM, f"{folder} can't be looked at: {error.strerror}.")
    room = f"{_size(free)} are free for {folder}"
    if free < DISK_FULL_BYTES:
        remedy = "Free some space; work then goes on by itself, and nothing recorded is lost."
        return Check("disk", State.PROBLEM, f"The disk is full: {room}. {remedy}")
    if free < images * IMAGE_BYTES:
        need = f"{_count(images, 'image')} that wait need about {_size(images * IMAGE_BYTES)}"
        return Check(
            "disk", State.WARNING, f"The disk will be full: {room}, and {need}. Free some space."
        )
    if free < DISK_LOW_BYTES:
        return Check("disk", State.WARNING, f"The disk is nearly full: {room}. Free some space.")
    return Check("disk", State.OK, f"{room[0].upper()}{room[1:]}.")


def check_images(settings: Settings) -> Check:
    """The folders that the API may read."""
    broken = []
    for root in settings.image_roots:
        try:
            check_folder(root)
        except FolderError as error:
            broken.append(str(error))
    if broken:
        remedy = "Mount it, or change CUEMILL_IMAGE_ROOTS."
        return Check("images", State.PROBLEM, " ".join([*broken, remedy]))
    if not settings.image_roots:
        return Check("images", State.OK, "CUEMILL_IMAGE_ROOTS is empty: the API takes no folders.")
    return Check("images", State.OK, f"{_count(len(settings.image_roots), 'folder')} may be read.")


def check_queue(settings: Settings, ping: Callable[[], bool]) -> Check:
    """The broker, where there is one."""
    if ping():
        answers = (
            "The broker answers."
            if settings.broker_url
            else "There is no broker: workers poll the database."
        )
        return Check("queue", State.OK, answers)
    return Check(
        "queue",
        State.PROBLEM,
        "The queue at CUEMILL_BROKER_URL can't be reached; jobs are kept and sent later. Start Redis again.",
    )


def check_database(db: Database, settings: Settings) -> list[Check]:
    """The database, what its tables say of work and workers, and, of SQLite, its disk."""
    images = 0
    try:
        db.check_revision()
        found = snapshot(db)
        where = db.url.render_as_string(hide_password=True)
        checks = [
            Check("database", State.OK, f"{where} answers; its tables are of revision {REVISION}."),
            check_workers(found),
            check_progress(found, settings),
            check_trainings(db, settings),
        ]
        if not db.is_sqlite:  # There it may hang, and is asked apart.
            checks.append(check_writes(db))
        images = found.served.images + found.unserved.images
    except DatabaseError as error:
        checks = [Check("database", State.PROBLEM, str(error))]
    if db.is_sqlite and db.url.database:
        checks.append(check_disk(Path(db.url.database).absolute().parent, images))
    return checks


class Watch:
    """Looks at everything, within `ANSWER_S`, whatever hangs: a server that was stopped takes calls and never answers.

    Each thing is looked at by one thread at a time, so that whoever asks again and again doesn't pile up threads.
    """

    def __init__(
        self, db: Database, settings: Settings, ping: Callable[[], bool], *, roots: bool = True
    ) -> None:
        """
        Args:
            ping: whether the broker can be reached.
            roots: look at the folders that the API may read, too.
        """
        self._asked: dict[str, Callable[[], list[Check]]] = {
            "database": lambda: check_database(db, settings),
            "queue": lambda: [check_queue(settings, ping)],
        }
        if db.is_sqlite:
            self._asked["writes"] = lambda: [check_writes(db)]
        if roots:
            self._asked["images"] = lambda: [check_images(settings)]
        self._answers: dict[str, Future[list[Check]]] = {}
        self._lock = threading.Lock()

    def look(self) -> list[Check]:
        """What was found; a thing that didn't answer in time is a problem."""
        with self._lock:
            answers = {name: self._begin(name) for name in self._asked}
        wait(answers.values(), ANSWER_S)
        checks: list[Check] = []
        for name, answer in answers.items():
            checks += answer.result() if answer.done() else [_hangs(name)]
        return checks

    def _begin(self, name: str) -> Future[list[Check]]:
        answer = self._answers.get(name)
        if answer is None or answer.done():
            answer = self._answers[name] = Future()
            threading.Thread(
                target=_ask, args=(name, self._asked[name], answer), daemon=True
            ).start()
        return answer


def _ask(name: str, question: Callable[[], list[Check]], answer: Future[list[Check]]) -> None:
    try:
        answer.set_result(question())
    except Exception as error:  # Whatever it is, the other answers are wanted all the same.
        _log.warning("check=%s failed", name, exc_info=error)
        answer.set_result(
            [Check(name, State.PROBLEM, f"It can't be looked at ({error}); the log says more.")]
        )


def _hangs(name: str) -> Check:
    remedy = {
        "database": "Is its server, or its drive, overloaded or stopped?",
        "writes": "Some process keeps the database locked: is one stopped, or does its drive hang?",
        "queue": "Is Redis overloaded or stopped? Jobs are kept and sent later.",
        "images": "Does the drive of CUEMILL_IMAGE_ROOTS hang?",
    }[name]
    return Check(name, State.PROBLEM, f"No answer for {ANSWER_S:.0f} s. {remedy}")


def _count(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _size(size: int) -> str:
    return f"{size / 2**30:,.0f} GB" if size >= 10 * 2**30 else f"{size / 2**20:,.0f} MB"


def _ago(seconds: float) -> str:
    for size_s, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{seconds:.0f} s"
