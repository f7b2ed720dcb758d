"""Settings from the environment and the settings file."""

from pathlib import Path

import pytest

from models import settings as settings_module
from models.errors import UsageError
from models.settings import Settings, find_settings_file, load_settings
from models.store.database import open_database


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUEMILL_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def write_settings(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_without_settings_it_is_embedded_and_uses_the_shipped_model(elsewhere: Path) -> None:
    settings = load_settings()
    assert open_database(settings).url.database == f"{elsewhere}/cuemill.db"
    assert settings.broker_url == ""
    assert settings.model.name == "Cuemill1_trained.pkl"
    assert settings.worker_count >= 1


def test_two_variables_scale_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUEMILL_DATABASE_URL", "postgres://u:p@host/name")
    monkeypatch.setenv("CUEMILL_BROKER_URL", "redis://host/0")
    settings = load_settings()
    url = open_database(settings).url
    assert url.render_as_string(hide_password=False) == "postgresql+psycopg://u:p@host/name"
    assert settings.broker_url == "redis://host/0"


def test_the_file_in_the_config_folder_is_read_and_the_environment_goes_before_it(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_settings(
        elsewhere / "config" / "cuemill" / ".env",
        "CUEMILL_BATCH_SIZE=7\nCUEMILL_WORKERS=3\nCUEMILL_IMAGE_ROOTS=/a:/b c\n",
    )
    monkeypatch.setenv("CUEMILL_WORKERS", "5")
    assert find_settings_file() == file
    settings = load_settings(port=9000, host=None)
    assert (settings.batch_size, settings.workers, settings.port, settings.host) == (
        7,
        5,
        9000,
        "127.0.0.1",
    )
    assert settings.image_roots == (Path("/a"), Path("/b c"))


@pytest.mark.parametrize("config_home", [None, "", "relative"])
def test_without_a_config_folder_of_its_own_it_is_the_one_in_the_home_folder(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, config_home: str | None
) -> None:
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    if config_home is not None:
        monkeypatch.setenv("XDG_CONFIG_HOME", config_home)
        write_settings(elsewhere / config_home / "cuemill" / ".env", "CUEMILL_BATCH_SIZE=1\n")
    file = write_settings(elsewhere / ".config" / "cuemill" / ".env", "CUEMILL_BATCH_SIZE=7\n")
    assert find_settings_file() == file
    assert load_settings().batch_size == 7


def test_a_file_in_the_current_folder_is_not_read(elsewhere: Path) -> None:
    write_settings(elsewhere / ".env", "CUEMILL_BATCH_SIZE=7\nCUEMILL_DATA_DIR=/elsewhere\n")
    settings = load_settings()
    assert find_settings_file() is None
    assert (settings.batch_size, settings.data_dir) == (256, elsewhere)


def test_a_relative_home_folder_counts_as_none(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(elsewhere / ".config" / "cuemill" / ".env", "CUEMILL_BATCH_SIZE=7\n")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", ".")
    assert find_settings_file() is None


def test_a_named_file_is_read_instead_of_the_one_in_the_config_folder(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(elsewhere / "config" / "cuemill" / ".env", "CUEMILL_WORKERS=3\n")
    file = write_settings(elsewhere / "mine.env", "CUEMILL_BATCH_SIZE=7\n")
    monkeypatch.setenv("CUEMILL_ENV_FILE", "mine.env")
    settings = load_settings()
    assert find_settings_file() == file
    assert (settings.batch_size, settings.workers) == (7, 0)


def test_a_named_file_that_cannot_be_read_is_refused(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUEMILL_ENV_FILE", "absent.env")
    with pytest.raises(UsageError, match=r"absent\.env, named by CUEMILL_ENV_FILE, .*No such file"):
        load_settings()
    monkeypatch.setenv("CUEMILL_ENV_FILE", str(elsewhere))
    with pytest.raises(UsageError, match=r"CUEMILL_ENV_FILE.*Is a directory"):
        load_settings()
    (elsewhere / "latin1.env").write_bytes(b"CUEMILL_HOST=\xe9\n")
    monkeypatch.setenv("CUEMILL_ENV_FILE", "latin1.env")
    with pytest.raises(UsageError, match=r"latin1\.env cannot be read: .*utf-8"):
        load_settings()


def test_a_wrong_setting_in_a_file_is_named_with_the_file(elsewhere: Path) -> None:
    file = write_settings(elsewhere / "config" / "cuemill" / ".env", "CUEMILL_PORT=no\n")
    with pytest.raises(UsageError, match=rf"CUEMILL_PORT: .* or the line in {file}\."):
        load_settings()


def test_empty_variables_are_unset(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Compose writes those of its own that nobody has set."""
    write_settings(elsewhere / "config" / "cuemill" / ".env", "CUEMILL_PORT=9000\nCUEMILL_HOST=\n")
    monkeypatch.setenv("CUEMILL_ENV_FILE", "")
    for name in Settings.model_fields:
        monkeypatch.setenv(f"CUEMILL_{name.upper()}", "")
    assert load_settings() == Settings(port=9000)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("relative", "here/relative"),
        ("../up", "here/../up"),
        ("~", "home"),
        ("~/of mine", "home/of mine"),
        ("a?b#c%41 d", "here/a?b#c%41 d"),
    ],
)
def test_the_data_folder_is_absolute_from_the_start(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: str
) -> None:
    (elsewhere / "here").mkdir()
    monkeypatch.chdir(elsewhere / "here")
    monkeypatch.setenv("HOME", str(elsewhere / "home"))
    monkeypatch.setenv("CUEMILL_DATA_DIR", value)
    settings = load_settings()
    monkeypatch.chdir("/")
    assert settings.data_folder == elsewhere / expected


def test_by_default_data_is_kept_in_the_home_folder(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUEMILL_DATA_DIR")
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.setenv("XDG_DATA_HOME", "")
    assert load_settings().data_folder == elsewhere / ".local" / "share" / "cuemill"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert load_settings().data_folder == Path("/data/cuemill")


def test_a_user_without_a_home_folder_needs_a_data_folder_only_where_data_is_kept(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "CUEMILL_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 5)  # Has no entry in passwd.

    with pytest.raises(UsageError, match=r"no home folder .* Set CUEMILL_DATA_DIR"):
        open_database(load_settings())

    monkeypatch.setenv("CUEMILL_DATA_DIR", "~/data")
    with pytest.raises(UsageError, match="CUEMILL_DATA_DIR: ~/data has no absolute path"):
        load_settings()

    monkeypatch.setenv("CUEMILL_DATA_DIR", str(elsewhere / "data"))
    open_database(load_settings()).upgrade()

    monkeypatch.delenv("CUEMILL_DATA_DIR")
    monkeypatch.setenv("CUEMILL_DATABASE_URL", "postgresql://host/name")
    assert not open_database(load_settings()).is_sqlite


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


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("amqp://host", "only Redis over TCP"),
        ("host:6379", "only Redis over TCP"),
        ("redis+socket:///run/redis.sock", "only Redis over TCP .* Unix sockets"),
        ("sentinel://host:26379", "only Redis over TCP .* Sentinel"),
        ("redis://", "there is no host"),
        ("redis://host/name", "the database is not a number"),
        ("redis://host:99999/0", "the port is not a number from 1 to 65535"),
        ("redis://host:0/0", "the port is not a number from 1 to 65535"),
        ("redis://host:secret/0", "the port is not a number"),
        ("redis://host/0?global_keyprefix=secret", "the parameter global_keyprefix is not"),
        ("redis://host/0?ssl_cert_reqs=none", "the parameter ssl_cert_reqs is not"),
    ],
)
def test_any_other_broker_is_refused_with_what_is_expected(
    monkeypatch: pytest.MonkeyPatch, url: str, problem: str
) -> None:
    monkeypatch.setenv("CUEMILL_BROKER_URL", url)
    expected = rf"CUEMILL_BROKER_URL: {problem}.*; expected redis://host:6379/0"
    with pytest.raises(UsageError, match=expected) as caught:
        load_settings()
    assert "secret" not in str(caught.value)


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


def test_a_setting_may_lie_in_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cuemill_database_url").write_text("postgresql://u:secret@host/name\n")
    monkeypatch.setenv("CUEMILL_SECRETS_DIR", str(tmp_path))
    assert load_settings().database_url == "postgresql://u:secret@host/name"
    monkeypatch.setenv("CUEMILL_DATABASE_URL", "postgresql://other/name")
    assert load_settings().database_url == "postgresql://other/name"

    monkeypatch.setenv("CUEMILL_SECRETS_DIR", str(tmp_path / "absent"))
    with pytest.raises(UsageError, match=r"absent, named by CUEMILL_SECRETS_DIR, is not a folder"):
        load_settings()
