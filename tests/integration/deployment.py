"""Cuemill as users run it: its command in separate processes, over either database and queue."""

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
from models.store.database import Database, open_database
from tests.faults.oracle import Verdict, judge
from tests.services import free_port, patience, wait_until

CUEMILL = [str(Path(sys.executable).parent / "cuemill")]


@dataclass
class Deployment:
    """The environment that Cuemill's programs share, and the programs started with it."""

    kind: str
    environment: dict[str, str]
    programs: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def variables(self) -> dict[str, str]:
        others = {
            name: value for name, value in os.environ.items() if not name.startswith("CUEMILL_")
        }
        # The user's own settings file is not read.
        return {**others, "CUEMILL_ENV_FILE": os.devnull, **self.environment}

    def run(
        self, *arguments: str | Path, exit_code: int = 0, timeout_s: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Runs one command and checks its exit code."""
        result = subprocess.run(
            [*CUEMILL, *map(str, arguments)],
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=patience(timeout_s),
            check=False,
        )

        assert result.returncode == exit_code, (
            arguments,
            result.returncode,
            result.stdout[-3000:],
            result.stderr[-3000:],
        )
        return result

    def json(self, *arguments: str | Path) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Starts a program that runs until the deployment is stopped.

        Args:
            variables: its environment, besides that of all programs.
        """
        process = subprocess.Popen(
            [*CUEMILL, *arguments], env=self.variables | variables, start_new_session=True
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
        """Starts `cuemill up`, and waits until its API answers."""
        port = free_port()
        self.start("up", "--images", str(images), "--port", str(port))
        return self._client(port)

    def _client(self, port: int) -> httpx.Client:
        client = self._stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=patience(30))
        )
        wait_until(lambda: _answers(client), "the API to answer")
        return client

    def database(self) -> Database:
        """The deployment's database, for the test itself to read."""
        variables = {
            name.removeprefix("CUEMILL_").lower(): value for name, value in self.environment.items()
        }
        settings = Settings(_env_file=None, **variables)  # type: ignore[arg-type]
        database = open_database(settings)
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
    """Ends a program; if it does not stop by itself, kills its process group."""
    process.terminate()
    try:
        process.wait(patience(60))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def deployment(kind: str, environment: dict[str, str]) -> Iterator[Deployment]:
    started = Deployment(kind, environment)
    try:
        yield started
    finally:
        started.close()


def worker_processes(program: int) -> list[int]:
    """The ids of a worker program's child processes, whichever of its threads started them."""
    pids = []
    for thread in Path(f"/proc/{program}/task").iterdir():
        children: list[str] = []
        with suppress(FileNotFoundError, ProcessLookupError):
            children = (thread / "children").read_text().split()

        for child in children:
            with suppress(FileNotFoundError, ProcessLookupError):
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    pids.append(int(child))
    return pids


def processes_of(group: int) -> list[int]:
    """The ids of all living processes of a program, itself included."""
    pids = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(ProcessLookupError, FileNotFoundError):
            if os.getpgid(int(entry.name)) == group and not _is_zombie(entry):
                pids.append(int(entry.name))
    return pids


def _is_zombie(process: Path) -> bool:
    return _stat_fields(process)[0] == "Z"


def _stat_fields(process: Path) -> list[str]:
    """The fields of `stat` behind the name, which may contain anything."""
    return (process / "stat").read_text().rsplit(")", 1)[1].split()


@dataclass(frozen=True)
class Usage:
    """What the processes of an embedded worker program have used so far.

    Attributes:
        rss_mb: memory of the largest process.
        processor_s: time of all processes.
    """

    classified: int
    rss_mb: float
    processor_s: float

    def per_image(self, later: "Usage") -> float:
        """Milliseconds of processor time per image between this moment and a later one."""
        return 1000 * (later.processor_s - self.processor_s) / (later.classified - self.classified)


def usage(program: int, classified: int) -> Usage:
    page_mb = os.sysconf("SC_PAGE_SIZE") / 1e6
    rss_mb = []
    ticks = 0
    for pid in worker_processes(program):
        process = Path(f"/proc/{pid}")
        rss_mb.append(int((process / "statm").read_text().split()[1]) * page_mb)
        user, system = _stat_fields(process)[11:13]
        ticks += int(user) + int(system)
    return Usage(classified, max(rss_mb), ticks / os.sysconf("SC_CLK_TCK"))


def make_faces(folder: Path, count: int, size: int = 48) -> Path:
    """Fills a folder with small, distinct grey JPEGs."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = Image.linear_gradient("L").resize((size, size)).rotate(number % 360)
        image = image.point([(value * (1 + number % 7)) % 256 for value in range(256)])
        image.save(folder / f"face-{number:05}.jpg", quality=90)
    return folder


def audit(database: Database, job_id: int, expected: int, kept: int = 0) -> None:
    """Checks that no image is lost, doubled or miscounted, and that no work is left undone.

    Args:
        kept: predictions by an older release that a re-run could not replace.
    """
    url = database.url.render_as_string(hide_password=False)
    assert judge(url, {job_id: expected}) == Verdict(misplaced=kept)
