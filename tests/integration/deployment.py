"""Cuemill as users run it: the command in processes of its own, over either kind of database and queue."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
from PIL import Image

from models.settings import Settings
from models.store.database import Database
from tests.faults.oracle import Verdict, judge
from tests.services import free_port, wait_until

CUEMILL = [str(Path(sys.executable).parent / "cuemill")]


@dataclass
class Deployment:
    """Settings by which Cuemill's programs find one another, and the programs started with them."""

    kind: str
    environment: dict[str, str]
    programs: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def variables(self) -> dict[str, str]:
        others = {
            name: value for name, value in os.environ.items() if not name.startswith("CUEMILL_")
        }
        return {**others, **self.environment}

    def run(
        self, *arguments: str | Path, exit_code: int = 0, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Runs one command to its end and checks its exit code."""
        done = subprocess.run(
            [*CUEMILL, *map(str, arguments)],
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == exit_code, (
            arguments,
            done.returncode,
            done.stdout[-3000:],
            done.stderr[-3000:],
        )
        return done

    def json(self, *arguments: str | Path) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a program that runs until the deployment is stopped."""
        process = subprocess.Popen(
            [*CUEMILL, *arguments], env=self.variables, start_new_session=True
        )
        self._stack.callback(stop, process)
        self.programs.append(process)
        return process

    def serve(self, images: Path) -> httpx.Client:
        """Starts the API, allowed to read `images`, and waits until it answers."""
        port = free_port()
        self.environment |= {"CUEMILL_IMAGE_ROOTS": str(images), "CUEMILL_PORT": str(port)}
        self.start("serve")
        return self._client(port)

    def up(self, images: Path) -> httpx.Client:
        """Starts everything in one command, and waits until it answers."""
        port = free_port()
        self.start("up", "--images", str(images), "--port", str(port))
        return self._client(port)

    def _client(self, port: int) -> httpx.Client:
        client = self._stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        )
        wait_until(lambda: _answers(client), "the API to answer")
        return client

    def database(self) -> Database:
        """The same database, seen by the test itself."""
        variables = {
            name.removeprefix("CUEMILL_").lower(): value for name, value in self.environment.items()
        }
        settings = Settings(_env_file=None, **variables)  # type: ignore[arg-type]
        database = Database(settings.database)
        self._stack.callback(database.close)
        return database

    def close(self) -> None:
        self._stack.close()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a program and, should it not end by itself, its whole group."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def deployment(kind: str, environment: dict[str, str]) -> Iterator[Deployment]:
    made = Deployment(kind, environment)
    try:
        yield made
    finally:
        made.close()


def worker_processes(parent: int) -> list[int]:
    """The processes that classify: children of a worker program, whichever of its threads started them."""
    found = []
    for thread in Path(f"/proc/{parent}/task").iterdir():
        children = []
        with suppress(FileNotFoundError, ProcessLookupError):
            children = (thread / "children").read_text().split()
        for child in children:
            with suppress(FileNotFoundError, ProcessLookupError):
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
    return found


@dataclass(frozen=True)
class Usage:
    """What the processes of an embedded worker program have taken up to one moment."""

    classified: int
    rss_mb: float  # Of the largest.
    processor_s: float  # Of all.

    def per_image(self, later: "Usage") -> float:
        """Milliseconds of a processor."""
        return 1000 * (later.processor_s - self.processor_s) / (later.classified - self.classified)


def usage(program: int, classified: int) -> Usage:
    pids = worker_processes(program)
    rss = [
        int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        for pid in pids
    ]
    ticks = [
        sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
        for pid in pids
    ]
    return Usage(classified, max(rss), sum(ticks) / os.sysconf("SC_CLK_TCK"))


def make_faces(folder: Path, count: int, size: int = 48) -> Path:
    """A folder of small, distinct grey JPEGs."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        image = (
            Image.linear_gradient("L")
            .resize((size, size))
            .rotate(i % 360)
            .point([(v * (1 + i % 7)) % 256 for v in range(256)])
        )
        image.save(folder / f"face-{i:05}.jpg", quality=90)
    return folder


def audit(database: Database, job_id: int, expected: int) -> None:
    """Checks that nothing in the database is lost, doubled or miscounted, nor left undone."""
    assert (
        judge(database.url.render_as_string(hide_password=False), {job_id: expected}) == Verdict()
    )


def processes_of(group: int) -> list[int]:
    """The living processes of a program that was started."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (
                entry.name.isdigit()
                and os.getpgid(int(entry.name)) == group
                and not _is_zombie(entry)
            ):
                found.append(int(entry.name))
        except (ProcessLookupError, FileNotFoundError):
            continue
    return found


def _is_zombie(process: Path) -> bool:
    return (process / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
