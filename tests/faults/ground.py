"""The ground on which faults are tried: programs as users run them, and work that keeps flowing to them."""

import os
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
from tests.faults.oracle import Truth, Verdict, judge, read_truth, watch
from tests.integration.deployment import Deployment, deployment, make_faces, processes_of
from tests.services import Postgres, Redis, wait_until

IMAGES = 96
BATCH = 8
LEASE_S = 2.0
SWEEP_S = 0.3
REHINT_S = 2.0
PATIENCE_S = 120.0
"""After which something that was to happen never will."""

Claimed = set[tuple[int, int]]
"""(batch, attempt) of batches in hand."""


@dataclass(frozen=True)
class Faces:
    """Images that every job of a campaign classifies, and what a run without faults said of them."""

    folder: Path
    truth: Truth


def make_ground_truth(folder: Path, model: Path) -> Faces:
    """Draws the images and classifies them while nothing fails."""
    faces = make_faces(folder / "faces", IMAGES)
    with deployment(
        "embedded", {"CUEMILL_DATA_DIR": str(folder), "CUEMILL_MODEL": str(model)}
    ) as made:
        made.run("classify", faces)
    return Faces(faces, read_truth(f"sqlite:///{folder / 'cuemill.db'}"))


@dataclass
class Ground:
    """What a campaign is given. `struck` is called after each dose, or with how many."""

    model: Path
    faces: Faces
    postgres: Postgres
    redis: Redis
    struck: Callable[..., object] = lambda _doses=1: None

    def repeat(self, dose: int, strike: Callable[[int], float]) -> list[float]:
        """Strikes so many times; what each gave."""
        given = []
        for number in range(dose):
            given.append(strike(number))
            self.struck()
        return given

    @contextmanager
    def flow(
        self, kind: str, *, workers: int = 1, broker_port: int | None = None, injected: bool = True
    ) -> Iterator["Flow"]:
        """A deployment of its own, with work flowing, over SQLite ("embedded") or PostgreSQL and Redis ("scaled").

        With `injected` code, which holds each image up so that most strikes find a batch in hand, and can be armed.
        """
        with tempfile.TemporaryDirectory(prefix="cuemill-faults-") as name:
            folder = Path(name)
            within = [str(Path(__file__).parent / "injected")] if injected else []
            environment = {
                "CUEMILL_DATA_DIR": str(folder / "data"),
                "CUEMILL_MODEL": str(self.model),
                "CUEMILL_WORKERS": str(workers),
                "CUEMILL_BATCH_SIZE": str(BATCH),
                "CUEMILL_LEASE_S": str(LEASE_S),
                "CUEMILL_SWEEP_S": str(SWEEP_S),
                "CUEMILL_REHINT_S": str(REHINT_S),
                "FAULTS_FOLDER": str(folder / "faults"),
                "PYTHONPATH": os.pathsep.join([*within, os.environ.get("PYTHONPATH", "")]),
            }
            (folder / "faults").mkdir()
            if kind == "scaled":
                self.redis.flush()
                port = broker_port or self.redis.port
                environment["CUEMILL_DATABASE_URL"] = self.postgres.create_database()
                environment["CUEMILL_BROKER_URL"] = f"redis://127.0.0.1:{port}/0"
            with deployment(kind, environment) as made:
                yield Flow(made, self.faces, folder / "faults")


@dataclass
class Flow:
    """Work that never runs out while a campaign lasts: there is always a job or two under way."""

    made: Deployment
    faces: Faces
    faults: Path
    client: httpx.Client | None = None
    acknowledged: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.database = self.made.database()
        self.database.upgrade()
        self.url = self.database.url.render_as_string(hide_password=False)
        watch(self.url)
        self._release = releases.resolve(
            self.database, None, Path(self.made.environment["CUEMILL_MODEL"])
        )

    def serve(self) -> httpx.Client:
        """Starts the API, by which jobs are submitted from now on."""
        self.client = self.made.serve(self.faces.folder)
        return self.client

    def submit(self) -> None:
        """Every other job may use the predictions of earlier ones again.

        Raises:
            DatabaseError: the database is away.
        """
        fresh = len(self.acknowledged) % 2 == 0
        if self.client is None:
            asked = Submission(str(self.faces.folder), self._release, batch_size=BATCH, fresh=fresh)
            self.acknowledged[jobs.submit(self.database, asked)[0].id] = IMAGES
            return
        answer = self.client.post(
            "/v1/jobs", json={"folder": str(self.faces.folder), "fresh": fresh}
        )
        if answer.status_code == 503 and answer.json()["code"] == "database":
            raise DatabaseError(answer.json()["detail"])
        assert answer.status_code == 202, answer.text
        self.acknowledged[answer.json()["id"]] = IMAGES

    def until(self, condition: Callable[[], object], what: str) -> float:
        """Waits, while work flows on; the seconds that it took. A database that is away is waited for."""
        begun = time.monotonic()

        def look() -> object:
            with suppress(DatabaseError):
                if self.live() < 3:
                    self.submit()
            try:
                return condition()
            except DatabaseError:
                return False

        wait_until(look, what, PATIENCE_S)
        return time.monotonic() - begun

    def ask(self, sql: str) -> list[Any]:
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(sa.text(sql))]

    def live(self) -> int:
        """Jobs that haven't ended."""
        return int(
            self.ask("SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')")[0][0]
        )

    def ended(self) -> int:
        """Images that have ended so far."""
        return int(
            self.ask("SELECT coalesce(sum(classified + failed + unreadable), 0) FROM jobs")[0][0]
        )

    def progress(self, batches: int = 1) -> float:
        """Seconds until so many more batches have ended."""
        begun = time.monotonic()
        before: list[int] = []

        def moved() -> bool:
            before.append(self.ended())
            return before[-1] >= before[0] + batches * BATCH

        self.until(moved, f"{batches} batches to be classified")
        return time.monotonic() - begun

    def claims(self, processes: Collection[int] | None = None) -> Claimed:
        """Batches in hand, of these processes or of all."""
        rows = self.ask("SELECT id, attempt, worker FROM batches WHERE state = 'running'")
        names = (
            None if processes is None else {f"{socket.gethostname()}:{pid}" for pid in processes}
        )
        return {
            (batch, attempt) for batch, attempt, worker in rows if names is None or worker in names
        }

    def hold(self, program: subprocess.Popen[bytes]) -> list[int]:
        """Waits until a program has a batch in hand; its processes."""
        self.until(
            lambda: self.claims(processes_of(program.pid)),
            "the program to be in the midst of a batch",
        )
        return processes_of(program.pid)

    def reclaimed(self, held: Claimed) -> float:
        """Seconds until none of these claims holds its batch any more."""
        return self.until(lambda: not held & self.claims(), "a lost batch to be taken up again")

    def notes(self, name: str) -> list[str]:
        """What injected code wrote down."""
        path = self.faults / name
        return path.read_text().splitlines() if path.exists() else []

    def verdict(self, truth: Truth | None = None) -> Verdict:
        """Lets all that was begun end, and judges it."""
        wait_until(lambda: self.live() == 0, "every job to end", PATIENCE_S)
        return judge(self.url, self.acknowledged, truth or self.faces.truth)
