"""What keeps work from being done. Each check is a sentence that names the cause and the remedy."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from models.errors import DatabaseError, FolderError, QueueError
from models.health.snapshot import Backlog, Snapshot, take_snapshot
from models.queue import Ping
from models.settings import Settings
from models.sources.roots import check_folder
from models.store import clocks
from models.store.causes import INSUFFICIENT_PRIVILEGE
from models.store.database import Database, now_s
from models.store.states import LIVE
from models.store.tables import REVISION, Training

DISK_FULL_BYTES: Final = 16 * 2**20
"""SQLite may fail below this: its log grows to 4 MB before it is merged, plus the open batches."""
DISK_LOW_BYTES: Final = 256 * 2**20
IMAGE_BYTES: Final = 600
"""An image's rows and index entries in SQLite: 557 bytes, measured with paths of 42 characters."""

UNSWEPT_S: Final = 180.0
"""Three sweeps, however seldom a program sweeps."""

START_TRAINER: Final = "Start one with `cuemill worker --queue training`"


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Args:
        message: what is wrong and what to do, or that all is well.
        public: the same for clients of the API, without the database's URL; empty = as it is.
    """

    name: str
    state: State
    message: str
    public: str = ""


def worst(checks: Sequence[Check]) -> State:
    """The worst state among checks."""
    order = list(State)
    return max((check.state for check in checks), key=order.index, default=State.OK)


def check_workers(snapshot: Snapshot) -> Check:
    """Checks for dead workers, and for work that no worker does."""
    silent = [
        f"{program.name} last reported {_duration(program.silent_s)} ago: it has died, hangs, or "
        "cannot write to the database. Other workers run its unfinished batches again."
        for program in snapshot.silent
    ]
    working = [program for program in snapshot.alive if program.processes]

    if snapshot.unserved.jobs:
        if working:
            cause = "The only workers belong to `cuemill classify` and work on its job alone"
        elif snapshot.alive:
            cause = f"All processes of {snapshot.alive[0].name} have died; its log says why"
        elif silent:
            cause = "No worker is alive"
        else:
            cause = "No worker is running"
        unserved = _describe(snapshot.unserved)
        problem = f"{cause}. Waiting: {unserved}. Start a worker with `cuemill worker`."
        return Check("workers", State.PROBLEM, " ".join([problem, *silent]))

    if working:
        programs = _count(len(working), "worker program")
        processes = _count(sum(program.processes for program in working), "process")
        running = f"Running: {programs} with {processes}."
    else:
        running = "No worker is running, and no work is waiting."

    troubled = [
        f"{program.name} stays away from some jobs: {reason}"
        for program in working
        for reason in program.troubles
    ]
    unswept = [
        f"{program.name} has not swept without an error for {_duration(program.unswept_s)}, so "
        "that interrupted work may wait. Its log says why."
        for program in snapshot.alive
        if program.unswept_s > UNSWEPT_S
    ]
    if troubled and all(program.troubles for program in working):
        return Check("workers", State.PROBLEM, " ".join([running, *troubled]))
    if silent:
        silent.append("Look into its log, and start it again if you need it.")
    if silent or troubled or unswept:
        warnings = [*troubled, *unswept, *silent]
        return Check("workers", State.WARNING, " ".join([running, *warnings]))
    return Check("workers", State.OK, running)


def check_progress(snapshot: Snapshot, settings: Settings) -> Check:
    """Checks for work that stands still although workers are alive."""
    if not snapshot.served.jobs:
        return Check("progress", State.OK, "No work is in progress.")

    waiting = [f"Job {job_id} waits: {reason}" for job_id, reason in snapshot.waiting.items()]
    all_wait = len(waiting) >= snapshot.served.jobs
    served = _describe(snapshot.served)
    # A batch that loses both its worker and its message is taken up again within half of this.
    patience_s = 2 * (settings.lease_s + settings.rehint_s + 2 * settings.sweep_s)
    if snapshot.standstill_s > patience_s and not all_wait:
        return Check(
            "progress",
            State.PROBLEM,
            f"No progress for {_duration(snapshot.standstill_s)}, although workers are alive. "
            f"Waiting: {served}. The workers may hang on a drive that does not answer, or may "
            "receive nothing from the queue. Look into their logs and restart them; no work is "
            "lost.",
        )
    if waiting:
        return Check("progress", State.WARNING, " ".join(waiting))
    return Check("progress", State.OK, f"Work is progressing. Left: {served}.")


def check_clocks(snapshot: Snapshot, *, is_sqlite: bool) -> Check:
    """Checks that the clocks of the workers' hosts agree with the database's."""
    apart = [program for program in snapshot.alive if clocks.are_apart(program.clock_ahead_s)]
    if not apart:
        return Check("clocks", State.OK, "No worker's clock differs from the database's.")

    consequence = "No job is deleted by its retention there until they agree."
    host = apart[0].name.rsplit(":", 2)[0]
    host_time = _time(snapshot.now + apart[0].clock_ahead_s)
    if is_sqlite:
        return Check(
            "clocks",
            State.WARNING,
            f"The clock of {host} says {_time(snapshot.now)}, but by the time that has passed "
            f"since Cuemill started it should say {host_time}. {consequence} Set the clock, by NTP "
            "if you can. If it is right now, restart Cuemill.",
        )
    return Check(
        "clocks",
        State.WARNING,
        f"The clock of {host} says {host_time}, but that of the database's server "
        f"{_time(snapshot.now)}. {consequence} Set both clocks, by NTP if you can.",
    )


def check_trainings(db: Database, settings: Settings) -> Check:
    """Checks for trainings that no training worker has claimed, or whose worker is gone.

    A training worker renews its lease every second, so the rows themselves show whether it is
    alive.

    Raises:
        DatabaseError: the database cannot be used.
    """
    with db.read() as connection:
        now = connection.execute(sa.select(now_s())).scalar_one()
        live = connection.execute(
            sa.select(Training.id, Training.queued_at, Training.lease_until)
            .where(Training.status.in_(LIVE))
            .order_by(Training.id)
        ).all()

    if not live:
        return Check("trainings", State.OK, "No training is queued or running.")

    claimed = [row for row in live if row.lease_until is not None]
    lost = [row for row in claimed if row.lease_until < now]
    if lost:
        return Check(
            "trainings",
            State.PROBLEM,
            f"The worker of training {lost[0].id} has died or hangs. {START_TRAINER}; it resumes "
            "after the last epoch.",
        )

    waits_s = now - min(row.queued_at.timestamp() for row in live)
    if not claimed and waits_s > settings.rehint_s + 2 * settings.sweep_s:
        waiting = _count(len(live), "training")
        return Check(
            "trainings",
            State.PROBLEM,
            f"No training worker is running. Waiting: {waiting}. {START_TRAINER}.",
        )
    return Check("trainings", State.OK, f"Queued or running: {_count(len(live), 'training')}.")


def check_writes(db: Database) -> Check:
    """Checks that the database accepts writes, by writing and leaving nothing behind.

    In SQLite, a process that is stopped within a transaction locks all others out. The disk of a
    PostgreSQL server cannot be seen from here, but a new table takes room on it, even a temporary
    one.
    """
    try:
        with db.write() as connection:
            if not db.is_sqlite:
                connection.execute(
                    sa.text("CREATE TEMPORARY TABLE cuemill_probe ON COMMIT DROP AS SELECT 1")
                )
    except DatabaseError as error:
        if error.sqlstate == INSUFFICIENT_PRIVILEGE:
            return Check(
                "writes",
                State.OK,
                "Not checked: the database user may not create temporary tables.",
            )
        return Check("writes", State.PROBLEM, str(error), error.public)

    return Check("writes", State.OK, "The database accepts writes.")


def check_disk(folder: Path, images: int = 0) -> Check:
    """Checks that a folder has room for SQLite, and for the results of this many images."""
    if not os.access(folder, os.W_OK):
        return Check(
            "disk",
            State.PROBLEM,
            f"{folder} is not writable. Give it to the user that runs Cuemill.",
        )
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check(
            "disk",
            State.PROBLEM,
            f"Cannot read the free space of {folder}: {error.strerror}. Check that it is mounted.",
        )

    room = f"{_size(free)} are free in {folder}"
    if free < DISK_FULL_BYTES:
        remedy = "Free some space; work then continues, and no recorded result is lost."
        return Check("disk", State.PROBLEM, f"The disk is full: {room}. {remedy}")

    if free < images * IMAGE_BYTES:
        need = f"the results of {_count(images, 'waiting image')} need about"
        return Check(
            "disk",
            State.WARNING,
            f"The disk will fill up: {room}, and {need} {_size(images * IMAGE_BYTES)}. "
            "Free some space.",
        )
    if free < DISK_LOW_BYTES:
        return Check("disk", State.WARNING, f"The disk is nearly full: {room}. Free some space.")
    return Check("disk", State.OK, f"{room}.")


def check_images(settings: Settings) -> Check:
    """Checks the folders that the API may read."""
    errors = []
    for root in settings.image_roots:
        try:
            check_folder(root)
        except FolderError as error:
            errors.append(str(error))

    if errors:
        remedy = "Mount it, or change CUEMILL_IMAGE_ROOTS."
        return Check("images", State.PROBLEM, " ".join([*errors, remedy]))

    if not settings.image_roots:
        return Check(
            "images", State.OK, "CUEMILL_IMAGE_ROOTS is empty, so the API accepts no folder."
        )
    return Check("images", State.OK, f"Readable: {_count(len(settings.image_roots), 'folder')}.")


def check_queue(settings: Settings, ping: Ping) -> Check:
    """Checks the broker, if there is one."""
    try:
        ping()
    except QueueError as error:
        return Check("queue", State.PROBLEM, str(error), error.public)

    if not settings.broker_url:
        return Check("queue", State.OK, "There is no broker; workers poll the database.")
    return Check("queue", State.OK, "The broker answers.")


def check_database(db: Database, settings: Settings) -> list[Check]:
    """Checks the database, what its tables show of work and workers, and the disk of SQLite."""
    checks = []
    images = 0
    try:
        db.check_revision()
        snapshot = take_snapshot(db)
        images = snapshot.served.images + snapshot.unserved.images

        url = db.url.render_as_string(hide_password=True)
        answers = f"answers; its tables are at revision {REVISION}."
        checks = [
            Check("database", State.OK, f"{url} {answers}", f"It {answers}"),
            check_workers(snapshot),
            check_progress(snapshot, settings),
            check_clocks(snapshot, is_sqlite=db.is_sqlite),
            check_trainings(db, settings),
        ]
        # With SQLite this may hang, and is a check of its own.
        if not db.is_sqlite:
            checks.append(check_writes(db))
    except DatabaseError as error:
        checks = [Check("database", State.PROBLEM, str(error), error.public)]

    if db.is_sqlite and db.url.database:
        folder = Path(db.url.database).absolute().parent
        disk = check_disk(folder, images)
        public = disk.message.replace(str(folder), "the database's folder")
        checks.append(replace(disk, public=public))
    return checks


def _describe(backlog: Backlog) -> str:
    jobs = _count(backlog.jobs, "job")
    return f"{jobs} with {_count(backlog.images, 'image')}" if backlog.images else jobs


def _count(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _size(size: int) -> str:
    return f"{size / 2**30:,.0f} GB" if size >= 10 * 2**30 else f"{size / 2**20:,.0f} MB"


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _duration(seconds: float) -> str:
    for unit_s, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"
