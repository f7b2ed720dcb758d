"""Settings from environment variables and the user's settings file, with the prefix `CUEMILL_`.

A program creates them once, at its entry point, and passes them down. The current folder is never
searched: a folder of pictures must not be able to change the settings.
"""

import ipaddress
import math
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from models.errors import UsageError
from models.logs import LogFormat

SHIPPED_MODEL: Final = Path(__file__).parent / "trained" / "Cuemill1_trained.pkl"
MAX_LEASE_S: Final = 600.0
CPU_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")

_TLS_PARAMETERS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")

Precision = Literal["auto", "f32", "bf16", "int8"]


def _user_folder(variable: str, default: str) -> Path | None:
    """Cuemill's folder among the user's own; None for a user without a home folder."""
    base = Path(os.environ.get(variable, ""))

    # By the XDG specification, a relative path in the variable is ignored.
    if not base.is_absolute():
        try:
            base = Path.home() / default
        except RuntimeError:
            return None

    # A relative home folder would lead to the current one, which is not trusted.
    return base / "cuemill" if base.is_absolute() else None


def find_settings_file() -> Path | None:
    """The file that settings are read from, if there is one.

    This is the file that `CUEMILL_ENV_FILE` names, else `.env` in Cuemill's config folder.

    Raises:
        UsageError: `CUEMILL_ENV_FILE` names a file that cannot be read.
    """
    named = os.environ.get("CUEMILL_ENV_FILE")

    if named:
        try:
            path = Path(named).expanduser().absolute()
            path.open().close()
        except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder for `~`.
            raise UsageError(
                f"The file {named}, named by CUEMILL_ENV_FILE, cannot be read "
                f"({getattr(error, 'strerror', error)}). Create it, or unset the variable."
            ) from error
        return path

    folder = _user_folder("XDG_CONFIG_HOME", ".config")
    if folder is None or not os.path.isfile(folder / ".env"):
        return None
    return folder / ".env"


def find_secrets() -> Path | None:
    """The folder that `CUEMILL_SECRETS_DIR` names: of files with a setting each.

    A file is named as the variable in lower case, such as `cuemill_database_url`.

    Raises:
        UsageError: there is no such folder.
    """
    named = os.environ.get("CUEMILL_SECRETS_DIR")
    if not named:
        return None
    if not os.path.isdir(named):
        raise UsageError(f"{named}, named by CUEMILL_SECRETS_DIR, is not a folder. Correct it.")
    return Path(named)


class Settings(BaseSettings):
    """The settings of every program.

    `database_url` and `broker_url` decide how Cuemill runs: embedded by default, or scaled out over
    PostgreSQL and Redis.
    """

    model_config = SettingsConfigDict(
        env_prefix="CUEMILL_",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    data_dir: Path | None = Field(
        None,
        description="Folder for the SQLite database and for the runs of the trainer. `~` is the "
        "home folder; a relative path begins in the current folder.",
    )
    database_url: str = Field(
        "",
        description="SQLAlchemy URL of the database, such as postgresql://user:password@host/name. "
        "Empty: SQLite in DATA_DIR.",
    )
    broker_url: str = Field(
        "",
        description="Redis URL of the queue, such as redis://host:6379/0. "
        "Empty: no queue; workers poll the database.",
    )
    image_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        description="Folders that the API may read, with everything below them, separated by `:`. "
        "Empty: none.",
    )
    spool: Path | None = Field(
        None,
        description="Folder for the pictures that are uploaded. Empty: `spool` in DATA_DIR. If "
        "workers run on other hosts, a folder that all of them and the API share.",
    )
    upload_files: int = Field(
        100_000, ge=1, le=10_000_000, description="Most files of an upload or of its archive."
    )
    upload_file_bytes: int = Field(
        100_000_000, ge=1, description="Most bytes of an uploaded file. Larger images are not read."
    )
    upload_bytes: int = Field(
        10_000_000_000, ge=1, description="Most bytes of an upload, packed and unpacked."
    )
    upload_ratio: int = Field(
        100,
        ge=1,
        le=1032,
        description="How many times its own size an uploaded archive may be unpacked.",
    )
    upload_expiry_h: float = Field(
        24.0,
        ge=0.01,
        le=8760.0,
        description="Hours after its last file when an upload without a job is removed.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Names under which the API may be addressed, besides IP addresses, `localhost` "
        "and this host's own, separated by `,`: those of a proxy, for example.",
    )
    model: Path = Field(
        SHIPPED_MODEL,
        description="Model file that new jobs use until a model is promoted.",
    )
    engine: Literal["openvino", "keras"] = Field(
        "openvino",
        description="Library that runs the network. `keras` needs the trainer extra, and uses an "
        "NVIDIA GPU where TensorFlow finds one.",
    )
    precision: Precision = Field(
        "auto",
        description="Arithmetic of the network. `auto` is the fastest that the CPU supports and "
        "the model allows.",
    )
    batch_size: int = Field(
        256,
        ge=1,
        le=1024,
        description="Most images in a batch. A job's first batches are smaller, so that it starts "
        "quickly.",
    )
    workers: int = Field(
        0,
        ge=0,
        le=256,
        description="Number of worker processes. 0: one for each available CPU core.",
    )
    lease_s: float = Field(
        30.0,
        ge=1.0,
        le=MAX_LEASE_S,
        description="Seconds without a sign of life from a worker after which its work is given to "
        "another.",
    )
    give_up_s: float = Field(
        600.0,
        ge=1.0,
        le=86_400.0,
        description="Seconds that work is tried again while a drive, a mount or every worker's "
        "host fails, before the images or the job are recorded as failed.",
    )
    sweep_s: float = Field(
        5.0,
        ge=0.1,
        le=60.0,
        description="Seconds between two sweeps, which requeue the work of dead workers, send "
        "messages that are due and delete expired jobs.",
    )
    rehint_s: float = Field(
        30.0,
        ge=1.0,
        le=600.0,
        description="Seconds after which a message to the queue that no worker answered is sent "
        "again.",
    )
    dispatch_window: int = Field(
        64,
        ge=1,
        le=100_000,
        description="Most batches that are announced to the queue at the same time.",
    )
    retention_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Days after its end when a job and its results are deleted, unless the job "
        "sets its own. 0: never.",
    )
    audit_days: int = Field(
        365,
        ge=0,
        le=36_500,
        description="Days for which the audit keeps who did what. 0: forever.",
    )
    log_format: LogFormat = Field(
        "text",
        description="Lines of the logs: text, or one JSON object each, for programs that collect "
        "logs.",
    )
    host: str = Field("127.0.0.1", description="Address on which the API listens.")
    pictures: bool = Field(
        True,
        description="Whether the API shows thumbnails and faces, to those who may read results.",
    )
    webhook_sender: bool = Field(
        True,
        description="Whether workers send webhooks. False where they can reach no receiver; then "
        "`cuemill worker --queue webhooks` must run where receivers can be reached.",
    )
    webhook_private: bool = Field(
        False,
        description="Whether webhooks may be sent to this machine and to private networks, and "
        "without encryption. If not: only to public addresses, by HTTPS.",
    )
    port: int = Field(8000, ge=1, le=65535, description="Port on which the API listens.")
    no_auth: bool = Field(
        False,
        description="Listen beyond this machine even though no API key exists, and answer "
        "everybody. Once a key exists, every request needs one all the same.",
    )
    key_requests: int = Field(
        6000,
        ge=0,
        le=1_000_000,
        description="Requests a minute that an API key may make, unless it has a limit of its own. "
        "0: any number.",
    )
    key_jobs: int = Field(
        1000,
        ge=0,
        le=1_000_000,
        description="Queued and running jobs that an API key may have at a time, unless it has a "
        "limit of its own. 0: any number.",
    )

    @field_validator("data_dir", "spool")
    @classmethod
    def _make_absolute(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        try:
            return value.expanduser().absolute()
        except (OSError, RuntimeError) as error:  # No home folder, or no current one.
            raise ValueError(f"{value} has no absolute path ({error}); write one") from error

    @field_validator("image_roots", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(path for path in value.split(os.pathsep) if path)

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(name.strip() for name in value.split(",") if name.strip())

    @field_validator("broker_url")
    @classmethod
    def _check_redis_url(cls, value: str) -> str:
        problem = _broker_problem(value) if value else None
        if problem:
            raise ValueError(
                f"{problem}; expected redis://host:6379/0, or rediss://host:6379/0 for TLS, "
                "where 0 is the number of the Redis database"
            )
        return value

    @property
    def data_folder(self) -> Path:
        """DATA_DIR or its default, absolute.

        Raises:
            UsageError: there is no default, because the user has no home folder.
        """
        folder = self.data_dir or _user_folder("XDG_DATA_HOME", ".local/share")
        if folder is None:
            raise UsageError(
                "This user has no home folder to keep data in. "
                "Set CUEMILL_DATA_DIR to a folder that this user can write."
            )
        return folder

    @property
    def is_local(self) -> bool:
        """Whether the API listens on this machine alone."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def spool_folder(self) -> Path:
        """SPOOL or its default, absolute.

        Raises:
            UsageError: as `data_folder`.
        """
        return self.spool or self.data_folder / "spool"

    @property
    def worker_count(self) -> int:
        """The number of worker processes to start."""
        if self.workers:
            return self.workers
        cores = len(os.sched_getaffinity(0))
        return min(cores, _container_cores() or sys.maxsize)


def _broker_problem(url: str) -> str | None:
    """What a Redis URL has that cannot work, without quoting its password; None if nothing."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        port = 0

    if port == 0:
        return "the port is not a number from 1 to 65535"
    if parts.scheme not in ("redis", "rediss"):
        return "only Redis over TCP is supported, neither Unix sockets nor Sentinel"
    if not parts.hostname:
        return "there is no host"
    if not re.fullmatch(r"(/\d*)?", parts.path, re.ASCII) or parts.fragment:
        return "the database is not a number"

    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if parts.scheme == "redis" or name not in _TLS_PARAMETERS:
            return (
                f"the parameter {name} is not supported (with rediss://, "
                f"{', '.join(_TLS_PARAMETERS)} are; instead of a key prefix, use a database number)"
            )
    return None


def _container_cores() -> int | None:
    """CPU time that this container may use, in cores, rounded up; None = unlimited."""
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return math.ceil(int(quota) / int(period))
    except OSError:  # Not in a container with cgroup 2.
        return None
    except ValueError:  # The quota is "max".
        return None


def load_settings(**overrides: object) -> Settings:
    """Loads the settings from the environment and the settings file.

    Args:
        overrides: values that take precedence; None = no override.

    Raises:
        UsageError: settings are invalid; names each, and why.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    file = find_settings_file()

    try:
        return Settings(_env_file=file, _secrets_dir=find_secrets(), **given)  # type: ignore[arg-type]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The settings file {file} cannot be read: {error}.") from error
    except ValidationError as error:
        problems = []
        for problem in error.errors():
            variable = f"CUEMILL_{str(problem['loc'][0]).upper()}"
            problems.append(f"{variable}: {problem['msg'].removeprefix('Value error, ')}")

        place = "the environment variable"
        if file is not None:
            place += f" or the line in {file}"
        if find_secrets() is not None:
            place += " or the file in CUEMILL_SECRETS_DIR"
        raise UsageError(f"Invalid settings. {'; '.join(problems)}. Correct {place}.") from error
