"""Private Redis and PostgreSQL servers, each with its own port and folder.

`make services` installs both, and Chromium.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import redis

WAIT_S = 120.0
MEASURED_S = 0.02
"""Processor time that suffices to measure how busy the machine is: programs take turns of 3 ms."""


PASSWORD = "p@ss/w:rd%"
LIMITED_USER = f"cuemill on >{PASSWORD} ~cuemill* ~training* ~unacked* ~_kombu.* +@all -@dangerous"
"""The user of Redis that docs/deployment.md describes. Each server has it whenever it starts."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(
    condition: Callable[[], object], what: str, timeout_s: float = WAIT_S, pause_s: float = 0.02
) -> None:
    """Waits until a condition holds; fails after `timeout_s`, naming what it waited for.

    On a busy machine it waits longer, as `patience` says.
    """
    started = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - started
        if waited_s > timeout_s and waited_s > patience(timeout_s):
            raise TimeoutError(f"waited {waited_s:.0f} s for {what}")
        time.sleep(pause_s)


def patience(seconds: float) -> float:
    """How long to wait for what takes less than `seconds` on an idle machine.

    Measures how much longer than its processor time a computation takes now, while other programs
    use the processors too.
    """
    began, used = time.monotonic(), time.thread_time()
    while time.thread_time() - used < MEASURED_S:
        pass
    return seconds * max((time.monotonic() - began) / (time.thread_time() - used), 1.0)


def find_program(*names: str) -> str:
    """The path of the first of these programs, also in the folders where Debian keeps PostgreSQL's.

    Raises:
        FileNotFoundError: none is installed.
    """
    places = [
        *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True),
        os.environ["PATH"],
    ]
    for name in names:
        path = shutil.which(name, path=os.pathsep.join(places))
        if path is not None:
            return path
    raise FileNotFoundError(f"{names[0]} is not installed. `make services` installs it.")


class Redis:
    """A Redis server that can be killed and started again.

    Args:
        persistent: it keeps its data.
        options: further ones of its command line.
    """

    def __init__(self, folder: Path, persistent: bool = True, options: Sequence[str] = ()) -> None:
        self._folder = folder
        self._persistent = persistent
        self._options = options
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            find_program("redis-server"),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self._folder),
        ]
        command += ["--appendonly", "yes" if self._persistent else "no", "--save", ""]
        command += ["--maxmemory-policy", "noeviction", "--loglevel", "warning"]
        command += ["--user", *LIMITED_USER.split(), *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._answers, "Redis to answer")

    def _answers(self) -> bool:
        with redis.Redis(port=self.port) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    def revive(self) -> None:
        """Starts the server again if it does not answer."""
        if not self._answers():
            self.kill()
            self.start()

    def flush(self) -> None:
        with redis.Redis(port=self.port) as client:
            client.flushall()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def run_redis(persistent: bool = True) -> Iterator[Redis]:
    with tempfile.TemporaryDirectory(prefix="cuemill-redis-") as folder:
        server = Redis(Path(folder), persistent)
        server.start()
        try:
            yield server
        finally:
            server.kill()


class Postgres:
    """A PostgreSQL server in which each test gets its own database."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._as_owner = _become_owner(folder)
        self.port = free_port()
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            "initdb",
            "--pgdata",
            str(folder / "data"),
            "--username",
            "cuemill",
            "--auth",
            "trust",
            "--encoding",
            "UTF8",  # In a locale such as C, the default is another.
            "--no-sync",
        )

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_owner, find_program(program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._folder)

    def start(self) -> None:
        options = [
            "-p",
            str(self.port),
            "-k",
            str(self._folder),
            "-c",
            "listen_addresses=127.0.0.1",
        ]
        options += ["-c", "log_min_messages=fatal"]
        command = [
            *self._as_owner,
            find_program("postgres"),
            "-D",
            str(self._folder / "data"),
            *options,
        ]
        self._process = subprocess.Popen(command, cwd=self._folder)
        wait_until(self._answers, "PostgreSQL to answer")

    def stop(self, *, immediately: bool = False) -> None:
        """Stops the server cleanly or, if `immediately`, as in a crash: its next start recovers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if immediately else signal.SIGINT)
            self._process.wait()

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def revive(self) -> None:
        """Starts the server again if it does not answer."""
        if not self._answers():
            self.stop(immediately=True)
            self.start()

    def url(self, name: str) -> str:
        return f"postgresql://cuemill@127.0.0.1:{self.port}/{name}"

    def create_database(self) -> str:
        """The URL of a new, empty database."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Runs a statement as the superuser and returns its rows."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def run_postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="cuemill-postgres-") as folder:
        server = Postgres(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop(
                immediately=True
            )  # A clean stop writes a checkpoint, which took a minute, of data that is thrown away.


def _become_owner(folder: Path) -> list[str]:
    """The prefix of a command that runs as Debian's user `postgres`: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return []
    account = pwd.getpwnam("postgres")
    os.chown(folder, account.pw_uid, account.pw_gid)
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
