"""The audit over HTTP."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from models.store.audit import Act


class AuditEntry(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    at: datetime
    actor: str = Field(description="A key's name, `anonymous`, or `cli:USER` for the command line.")
    key_id: str | None = Field(description="Public id of the key; null without one.")
    act: Act
    target: str = Field(description="Id of the job, training, model or key.")
