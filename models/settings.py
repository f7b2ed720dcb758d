"""Settings: environment variables or `.env`, prefix `CUEMILL_`; built at the entry point, passed down."""

import math
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from models.errors import UsageError

SHIPPED_MODEL = Path(__file__).parent / "trained" / "Cuemill1_trained.pkl"
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")

_REDIS = re.compile(r"rediss?://[^/?]+(/\d*)?(\?.*)?")

Precision = Literal["auto", "f32", "bf16", "int8"]


def _data_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "cuemill"


class Settings(BaseSettings):
    """What a program of ours can be told. Two of these choose how it runs: `database_url` and `broker_url`."""

    model_config = SettingsConfigDict(
        env_prefix="CUEMILL_", env_file=".env", extra="ignore", frozen=True
    )

    data_dir: Path = Field(
        default_factory=_data_home, description="Where the embedded database and caches lie."
    )
    database_url: str = Field("", description="SQLAlchemy URL; empty = SQLite in DATA_DIR.")
    broker_url: str = Field(
        "", description="Redis URL of the queue; empty = embedded, workers poll the database."
    )
    image_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Folders the API may read, by ':'."
    )
    model: Path = Field(
        SHIPPED_MODEL, description="The pickle that new jobs use while no release was promoted."
    )
    engine: Literal["openvino", "keras"] = Field("openvino", description="What runs the network.")
    precision: Precision = Field(
        "auto", description="Of the network's arithmetic; auto = the fastest that is sound."
    )
    batch_size: int = Field(
        256, ge=1, le=1024, description="Images a batch, at most; a job's first ones are smaller."
    )
    workers: int = Field(0, ge=0, le=256, description="Worker processes; 0 = one a core.")
    lease_s: float = Field(
        30.0, ge=1.0, le=600.0, description="A batch whose worker is silent this long is run again."
    )
    sweep_s: float = Field(5.0, ge=0.1, le=60.0, description="Pause between two sweeps.")
    rehint_s: float = Field(
        30.0, ge=1.0, le=600.0, description="A message unanswered this long is sent again."
    )
    dispatch_window: int = Field(
        64, ge=1, le=100_000, description="Batches announced to the queue at a time."
    )
    retention_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Jobs that don't say themselves are deleted this long after their end; 0 = never.",
    )
    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8000, ge=1, le=65535, description="Port the API listens on.")

    @field_validator("image_roots", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part for part in value.split(os.pathsep) if part)
            if isinstance(value, str)
            else value
        )

    @field_validator("broker_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        if value and not _REDIS.fullmatch(value):
            raise ValueError(
                "expected redis://host:6379/0, or rediss:// for TLS; /0 is the number of Redis' database"
            )
        return value

    @property
    def database(self) -> str:
        """The database's URL, with our driver named."""
        if not self.database_url:
            return f"sqlite:///{self.data_dir / 'cuemill.db'}"
        scheme, rest = self.database_url.split("://", 1) if "://" in self.database_url else ("", "")
        return (
            f"postgresql+psycopg://{rest}"
            if scheme in ("postgres", "postgresql")
            else self.database_url
        )

    @property
    def worker_count(self) -> int:
        """Worker processes to start: the setting, or the cores this process may use."""
        return self.workers or min(len(os.sched_getaffinity(0)), _quota() or sys.maxsize)


def _quota() -> int | None:
    """How many cores' time this container may use, rounded up (Docker's `cpus`); None without a limit."""
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return math.ceil(int(quota) / int(period))
    except (
        OSError,
        ValueError,
    ):  # No such file outside a container of cgroup 2, and `max` where there is no limit.
        return None


def load_settings(**overrides: object) -> Settings:
    """Settings from environment and `.env`; an override that is None doesn't count.

    Raises:
        UsageError: names each setting that is wrong, and why.
    """
    try:
        return Settings(**{k: v for k, v in overrides.items() if v is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = "; ".join(
            f"CUEMILL_{str(e['loc'][0]).upper()}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        )
        raise UsageError(f"A setting is wrong. {wrong}.") from error
