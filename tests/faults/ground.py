"""What fault campaigns run on: programs as users run them, and work that keeps flowing to them."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import sqlalchemy as sa

from models.errors import DatabaseError
from models.store import jobs, releases
from models.store.jobs import Submission
from tests.faults.oracle import Truth, Verdict, count_unswept, judge, read_truth, watch
from tests.integration.deployment import Deployment, deployment, make_faces, processes_of
from tests.services import Postgres, Redis, wait_until

IMAGES = 96
BATCH = 8
LEASE_S = 2.0
SWEEP_S = 0.3
REHINT_S = 2.0
PATIENCE_S = 120.0
"""How long a campaign waits for something before it takes it for never happening."""

Claimed = set[tuple[int, int]]
"""(batch, attempt) of batches in progress."""


@dataclass(frozen=True)
class Faces:
    """The images that every job of a campaign classifies, and their results without faults."""

    folder: Path
    truth: Truth


def make_ground_truth(folder: Path, model: Path) -> Faces:
    """Creates the images and classifies them without any fault."""
    faces = make_faces(folder / "faces", IMAGES)
    with deployment(
        "embedded", {"CUEMILL_DATA_DIR": str(folder), "CUEMILL_MODEL": str(model)}
    ) as embedded:
        embedded.run("classify", faces)
    return Faces(faces, read_truth(f"sqlite:///{folder / 'cuemill.db'}"))


@dataclass
class Ground:
    """What a campaign is given.

    Attributes:
        advance: called after each strike, or with how many there were.
    """

    model: Path
    faces: Faces
    postgres: Postgres
    redis: Redis
    advance: Callable[..., object] = lambda _strikes=1: None

    def repeat(self, dose: int, strike: Callable[[int], float]) -> list[float]:
        """Strikes `dose` times and returns the seconds until each recovery."""
        recovery_s = []
        for number in range(dose):
            recovery_s.append(strike(number))
            self.advance()
        return recovery_s

    @contextmanager
    def renamed(self, image: str, name: str) -> Iterator[Path]:
        """A copy of the folder in which an image has another name."""
        with self.copied("faces") as folder:
            (folder / f"{image}.jpg").rename(folder / name)
            yield folder

    @contextmanager
    def copied(self, name: str) -> Iterator[Path]:
        """A copy of the folder, of this name."""
        with tempfile.TemporaryDirectory(prefix="cuemill-faults-") as scratch:
            folder = Path(scratch) / name
            shutil.copytree(self.faces.folder, folder)
            yield folder

    @contextmanager
    def flow(
        self, kind: str, *, workers: int = 1, broker_port: int | None = None, injected: bool = True
    ) -> Iterator["Flow"]:
        """Starts a new deployment whose work keeps flowing.

        Args:
            kind: "embedded" runs over SQLite, "scaled" over PostgreSQL and Redis.
            injected: whether the programs run the code of `injected/`. It delays each image, so
                that most strikes hit a batch in progress, and kills programs where it is armed.
        """
        with tempfile.TemporaryDirectory(prefix="cuemill-faults-") as name:
            folder = Path(name)
            code = [str(Path(__file__).parent / "injected")] if injected else []
            environment = {
                "CUEMILL_DATA_DIR": str(folder / "data"),
                "CUEMILL_MODEL": str(self.model),
                "CUEMILL_WORKERS": str(workers),
                "CUEMILL_BATCH_SIZE": str(BATCH),
                "CUEMILL_LEASE_S": str(LEASE_S),
                "CUEMILL_SWEEP_S": str(SWEEP_S),
                "CUEMILL_REHINT_S": str(REHINT_S),
                "FAULTS_FOLDER": str(folder / "faults"),
                "PYTHONPATH": os.pathsep.join([*code, os.environ.get("PYTHONPATH", "")]),
            }

            (folder / "faults").mkdir()

            if kind == "scaled":
                self.redis.flush()
                port = broker_port or self.redis.port
                environment["CUEMILL_DATABASE_URL"] = self.postgres.create_database()
                environment["CUEMILL_BROKER_URL"] = f"redis://127.0.0.1:{port}/0"

            with deployment(kind, environment) as programs:
                yield Flow(programs, self.faces, folder / "faults")


@dataclass
class Flow:
    """Work that never runs out during a campaign: a few jobs are always unfinished."""

    deployment: Deployment
    faces: Faces
    faults: Path
    client: httpx.Client | None = None
    acknowledged: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.database = self.deployment.database()
        self.database.upgrade()
        self.url = self.database.url.render_as_string(hide_password=False)
        watch(self.url)
        self._release = releases.resolve(
            self.database, None, Path(self.deployment.environment["CUEMILL_MODEL"])
        )

    def serve(self) -> httpx.Client:
        """Starts the API, through which all further jobs are submitted."""
        self.client = self.deployment.serve(self.faces.folder)
        return self.client

    def submit(self) -> None:
        """Submits a job; every second one may reuse earlier predictions.

        Raises:
            DatabaseError: the database is unreachable.
        """
        fresh = len(self.acknowledged) % 2 == 0
        if self.client is None:
            submission = Submission(
                str(self.faces.folder), self._release, batch_size=BATCH, fresh=fresh
            )
            self.acknowledged[jobs.submit(self.database, submission)[0].id] = IMAGES
            return

        answer = self.client.post(
            "/v1/jobs", json={"folder": str(self.faces.folder), "fresh": fresh}
        )

        if answer.status_code == 503 and answer.json()["code"] == "database":
            raise DatabaseError(answer.json()["detail"])
        assert answer.status_code == 202, answer.text
        self.acknowledged[answer.json()["id"]] = IMAGES

    def submit_folder(self, folder: Path) -> int:
        """Submits a job of another folder with as many images; returns its id."""
        submission = Submission(str(folder), self._release, batch_size=BATCH, fresh=True)
        job, _ = jobs.submit(self.database, submission)
        self.acknowledged[job.id] = IMAGES
        return job.id

    @contextmanager
    def armed(self, fault: str) -> Iterator[None]:
        """Lets the injected code do this for as long as the block runs."""
        (self.faults / fault).touch()
        try:
            yield
        finally:
            (self.faults / fault).unlink()

    def has_returned(self) -> Callable[[], bool]:
        """Returns a condition: that images have gone back, uncounted, since this call."""

        def count() -> int:
            return int(self.ask("SELECT coalesce(sum(tries), 0) FROM batches")[0][0])

        before = count()
        return lambda: count() > before

    def until(self, condition: Callable[[], object], what: str) -> float:
        """Waits for a condition while work keeps flowing, and returns how many seconds it took.

        An unreachable database counts as a condition that does not hold yet.
        """
        started = time.monotonic()

        def look() -> object:
            with suppress(DatabaseError):
                if self.live() < 3:
                    self.submit()
            try:
                return condition()
            except DatabaseError:
                return False

        wait_until(look, what, PATIENCE_S)
        return time.monotonic() - started

    def ask(self, sql: str) -> list[Any]:
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(sa.text(sql))]

    def live(self) -> int:
        """How many jobs have not ended."""
        return int(
            self.ask("SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')")[0][0]
        )

    def ended(self) -> int:
        """How many images have a result so far."""
        return int(
            self.ask("SELECT coalesce(sum(classified + failed + unreadable), 0) FROM jobs")[0][0]
        )

    def progress(self, batches: int = 1) -> float:
        """Waits until this many more batches have ended; returns the seconds."""
        started = time.monotonic()
        before: list[int] = []

        def moved() -> bool:
            before.append(self.ended())
            return before[-1] >= before[0] + batches * BATCH

        self.until(moved, f"{batches} batches to be classified")
        return time.monotonic() - started

    def claims(self, processes: Collection[int] | None = None) -> Claimed:
        """The batches in progress, of these processes or of all."""
        rows = self.ask("SELECT id, attempt, worker FROM batches WHERE state = 'running'")
        names = (
            None if processes is None else {f"{socket.gethostname()}:{pid}" for pid in processes}
        )
        return {
            (batch, attempt)
            for batch, attempt, worker in rows
            if names is None or worker.rpartition(":")[0] in names
        }

    def hold(self, program: subprocess.Popen[bytes]) -> list[int]:
        """Waits until a program has a batch in progress, and returns its processes."""
        self.until(
            lambda: self.claims(processes_of(program.pid)),
            "the program to work on a batch",
        )
        return processes_of(program.pid)

    def reclaimed(self, held: Claimed) -> float:
        """Waits until none of these claims holds its batch any more; returns the seconds."""
        return self.until(lambda: not held & self.claims(), "a lost batch to be claimed again")

    def notes(self, name: str) -> list[str]:
        """The lines that injected code has written to a file."""
        path = self.faults / name
        return path.read_text().splitlines() if path.exists() else []

    def verdict(self, truth: Truth | None = None) -> Verdict:
        """Waits for every job to end, and judges the database even if one does not."""
        with suppress(TimeoutError):
            wait_until(lambda: self.live() == 0, "every job to end", PATIENCE_S)
            # A program that was stopped may report before it sweeps again; the dead are replaced.
            wait_until(lambda: count_unswept(self.url) == 0, "every program to sweep", PATIENCE_S)
        return judge(self.url, self.acknowledged, truth or self.faces.truth)
