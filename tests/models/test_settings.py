"""Settings from environment and .env."""

from pathlib import Path

import pytest

from models import settings as settings_module
from models.errors import UsageError
from models.settings import load_settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUEMILL_DATA_DIR", str(tmp_path))
    return tmp_path


def test_without_settings_it_is_embedded_and_uses_the_shipped_model(elsewhere: Path) -> None:
    settings = load_settings()
    assert settings.database == f"sqlite:///{elsewhere}/cuemill.db"
    assert settings.broker_url == ""
    assert settings.model.name == "Cuemill1_trained.pkl"
    assert settings.worker_count >= 1


def test_two_variables_scale_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUEMILL_DATABASE_URL", "postgres://u:p@host/name")
    monkeypatch.setenv("CUEMILL_BROKER_URL", "redis://host/0")
    settings = load_settings()
    assert settings.database == "postgresql+psycopg://u:p@host/name"
    assert settings.broker_url == "redis://host/0"


def test_a_dot_env_file_is_read_and_the_environment_goes_before_it(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / ".env").write_text(
        "CUEMILL_BATCH_SIZE=7\nCUEMILL_WORKERS=3\nCUEMILL_IMAGE_ROOTS=/a:/b c\n"
    )
    monkeypatch.setenv("CUEMILL_WORKERS", "5")
    settings = load_settings(port=9000, host=None)
    assert (settings.batch_size, settings.workers, settings.port, settings.host) == (
        7,
        5,
        9000,
        "127.0.0.1",
    )
    assert settings.image_roots == (Path("/a"), Path("/b c"))


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUEMILL_BATCH_SIZE", "many")
    with pytest.raises(UsageError, match=r"CUEMILL_BATCH_SIZE: .*integer"):
        load_settings()


@pytest.mark.parametrize(
    "url", ["redis://host", "redis://host:6379/0", "rediss://:p%40ss@host/1?ssl_cert_reqs=none"]
)
def test_a_broker_is_redis(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CUEMILL_BROKER_URL", url)
    assert load_settings().broker_url == url


@pytest.mark.parametrize("url", ["amqp://host", "host:6379", "redis://host/name", "redis://"])
def test_any_other_broker_is_refused_with_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("CUEMILL_BROKER_URL", url)
    with pytest.raises(UsageError, match=r"CUEMILL_BROKER_URL: expected redis://host:6379/0"):
        load_settings()


@pytest.mark.parametrize(
    ("quota", "expected"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64)]
)
def test_a_container_gets_as_many_workers_as_it_may_use_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, expected: int
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(settings_module, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(64)))
    assert load_settings().worker_count == expected
    assert load_settings(workers=5).worker_count == 5
