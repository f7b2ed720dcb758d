"""Fixtures for all tests: real services, databases made by the migrations, and a tiny model."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from models.release.files import save_release
from models.store import releases
from models.store.database import Database
from tests.builders import tiny_release
from tests.services import Postgres, Redis, run_postgres, run_redis

# No test depends on how fast the machine is.
hypothesis.settings.register_profile("cuemill", deadline=None)
hypothesis.settings.load_profile("cuemill")

# A background job of a shell ignores Ctrl-C, and so would all programs that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def session_redis() -> Iterator[Redis]:
    with run_redis() as server:
        yield server


@pytest.fixture(scope="session")
def session_postgres() -> Iterator[Postgres]:
    with run_postgres() as server:
        yield server


@pytest.fixture
def redis_server(session_redis: Redis) -> Redis:
    """A server that answers, whatever an earlier test did to it."""
    session_redis.revive()
    return session_redis


@pytest.fixture
def postgres_server(session_postgres: Postgres) -> Postgres:
    """A server that answers, whatever an earlier test did to it."""
    session_postgres.revive()
    return session_postgres


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pickle of a small network whose scores depend on the image."""
    path = tmp_path_factory.mktemp("model") / "tiny.pkl"
    save_release(tiny_release(), path)
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'cuemill.db'}"
    server: Postgres = request.getfixturevalue("postgres_server")
    return server.create_database()


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """A database of each kind, as the migrations leave it."""
    url = database_url.replace("postgresql://", "postgresql+psycopg://")
    database = Database(url)
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def release_id(db: Database, tiny_model: Path) -> int:
    return releases.resolve(db, None, tiny_model)


@pytest.fixture
def small_disk(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A mounted file system of the size given by an indirect parameter, such as "4m"."""
    # Only root may read pytest's own folders, and PostgreSQL does not run as root.
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", folder], check=True
        )
        yield Path(folder)
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def another_user(tmp_path: Path) -> Iterator[None]:
    """Permissions don't bind root, so for root the test acts as another user."""
    if os.geteuid() != 0:
        yield
        return
    for folder in [tmp_path, *tmp_path.parents]:
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(0o755)  # How many there are depends on whether files are tested two at a time.
    os.chown(tmp_path, 65534, 65534)
    os.seteuid(65534)
    yield
    os.seteuid(0)
