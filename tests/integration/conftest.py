"""Both ways of running Cuemill, for the same tests."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.integration.deployment import Deployment, deployment
from tests.services import PASSWORD, Postgres, Redis

SEAL = Path(__file__).parent / "sealed"


def settings(tmp_path: Path, tiny_model: Path) -> dict[str, str]:
    return {
        "CUEMILL_DATA_DIR": str(tmp_path / "data"),
        "CUEMILL_MODEL": str(tiny_model),
        "CUEMILL_WORKERS": "2",
        "CUEMILL_BATCH_SIZE": "16",
        "CUEMILL_LEASE_S": "3",
        "CUEMILL_SWEEP_S": "0.5",
        "CUEMILL_REHINT_S": "5",
    }


def limited_user(server: Redis) -> str:
    """The URL of a user of Redis with the rights that docs/deployment.md says, and no more."""
    return f"redis://cuemill:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/0"


@pytest.fixture
def embedded(tmp_path: Path, tiny_model: Path) -> Iterator[Deployment]:
    with deployment("embedded", settings(tmp_path, tiny_model)) as embedded:
        yield embedded


@pytest.fixture
def scaled(
    tmp_path: Path, tiny_model: Path, postgres_server: Postgres, redis_server: Redis
) -> Iterator[Deployment]:
    redis_server.flush()
    services = {
        "CUEMILL_DATABASE_URL": postgres_server.create_database(),
        "CUEMILL_BROKER_URL": limited_user(redis_server),
    }
    with deployment("scaled", settings(tmp_path, tiny_model) | services) as scaled:
        yield scaled


@pytest.fixture(params=["embedded", "scaled"])
def either(request: pytest.FixtureRequest) -> Deployment:
    """Runs a test over SQLite with polling workers, and over PostgreSQL with Celery workers."""
    chosen: Deployment = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def sealed(
    embedded: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployment]:
    """Commands that connect nowhere else, and write nothing outside of the test's folder.

    HOME is another folder, which they leave empty.
    """
    with tempfile.TemporaryDirectory() as home:
        log = Path(home) / "log"
        for name in ("CI", "TF_BUILD", "JENKINS_URL"):  # Libraries behave better there.
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PYTHONPATH", str(SEAL), prepend=os.pathsep)
        embedded.environment |= {
            "SEALED_FOLDER": str(tmp_path),
            "SEALED_LOG": str(log),
            "HOME": home,
            "TMPDIR": str(tmp_path),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        yield embedded
        embedded.close()
        assert log.read_text() == ""
        assert os.listdir(home) == [log.name]
