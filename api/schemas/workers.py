"""Worker programs over HTTP."""

from pydantic import BaseModel, ConfigDict, Field


class Worker(BaseModel):
    """A worker program, by its last heartbeat. One that has died is listed for a day."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(description="Host, process id and a token that is new at each start.")
    alive: bool = Field(description="Whether its last heartbeat is recent.")
    processes: int = Field(description="Processes that classify batches.")
    job_id: int | None = Field(description="The only job it works on; null = all.")
    silent_s: float = Field(description="Seconds since its last heartbeat.")
    idle_s: float = Field(description="Seconds since it last saw work progress.")
    unswept_s: float = Field(
        description="Seconds between its last sweep without an error and its last heartbeat."
    )
    clock_ahead_s: float = Field(
        description="How far its host's clock is ahead of the database's, in seconds."
    )
    troubles: list[str] = Field(description="Why it stays away from some jobs.")
