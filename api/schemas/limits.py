"""Limits of a key, and of uploads, over HTTP."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from models.store.keys import Scope


class KeyInfo(BaseModel):
    id: str = Field(description="Public id; the key itself is not kept.")
    name: str
    scope: Scope
    expires_at: datetime | None = Field(description="null = never.")


class RequestLimit(BaseModel):
    """Requests a minute."""

    limit: int
    remaining: int = Field(description="Requests left now.")
    reset_seconds: int = Field(description="Seconds until all are left again.")


class JobLimit(BaseModel):
    """Unfinished jobs at a time."""

    limit: int
    used: int


class UploadLimits(BaseModel):
    """What one upload may hold, whoever sends it."""

    model_config = ConfigDict(from_attributes=True)

    files: int
    file_bytes: int = Field(description="Bytes of one file.")
    bytes: int = Field(description="Bytes of all files together.")
    ratio: int = Field(description="How many times its own size an archive may unpack to.")


class Limits(BaseModel):
    key: KeyInfo | None = Field(description="The key of this request; null = none is needed.")
    requests: RequestLimit | None = Field(description="null = any number.")
    live_jobs: JobLimit | None = Field(description="null = any number.")
    uploads: UploadLimits
