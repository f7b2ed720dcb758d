"""Both ways of running Cuemill, for the same tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.deployment import Deployment, deployment
from tests.services import Postgres, Redis


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
        "CUEMILL_BROKER_URL": redis_server.url,
    }
    with deployment("scaled", settings(tmp_path, tiny_model) | services) as scaled:
        yield scaled


@pytest.fixture(params=["embedded", "scaled"])
def either(request: pytest.FixtureRequest) -> Deployment:
    """Runs a test over SQLite with polling workers, and over PostgreSQL with Celery workers."""
    chosen: Deployment = request.getfixturevalue(request.param)
    return chosen
