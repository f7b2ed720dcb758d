"""Webhooks and their deliveries over HTTP."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from api.schemas.common import DIGITS, MAX_ID, Text
from models.addresses import URL_MAX
from models.store.states import DeliveryState, Event

WebhookId = Annotated[int, Path(ge=1, le=MAX_ID, description="Id of the webhook."), DIGITS]
DeliveryId = Annotated[int, Path(ge=1, le=MAX_ID, description="Id of the delivery."), DIGITS]

_PORT: Final = (
    "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
)
_URL: Final = rf"""^https?://[A-Za-z0-9][A-Za-z0-9.-]*(:({_PORT}))?(/[!"$-~]*)?$"""


class WebhookRequest(BaseModel):
    """A receiver of events."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Annotated[
        Text,
        Field(
            min_length=1,
            max_length=URL_MAX,
            description="Where events are sent by POST: https://, at a public address, unless "
            "CUEMILL_WEBHOOK_PRIVATE allows more.",
            examples=["https://example.org/cuemill"],
            json_schema_extra={"pattern": _URL},  # The code checks it, with a better message.
        ),
    ]
    events: Annotated[
        list[Annotated[Event, Field(strict=False)]],
        Field(min_length=1, max_length=len(Event), description="Which events; by default all."),
    ] = list(Event)


class Webhook(BaseModel):
    """A receiver of events. Its secret is shown only when it is created."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    url: str
    events: list[Event]
    enabled: bool = Field(
        description="Whether events are sent; no longer once the receiver answered 410 Gone."
    )
    created_at: datetime


class NewWebhook(Webhook):
    secret: str = Field(
        description="What the receiver checks signatures with. It is not shown again."
    )


class DeliveryAttempt(BaseModel):
    at: datetime
    status: int | None = Field(description="HTTP status; null if there was no answer.")
    error: str | None = Field(description="Why there was no answer.")
    seconds: float


class Delivery(BaseModel):
    """An event that a webhook is, or was, told of."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    webhook_id: int
    job_id: int
    message: str = Field(
        description="What the header `webhook-id` says: the same each time the event is sent."
    )
    event: Event
    state: DeliveryState
    created_at: datetime
    ended_at: datetime | None
    next_attempt_at: datetime | None = Field(description="Null if it is not pending.")
    attempts: list[DeliveryAttempt] = Field(description="The latest, oldest first.")
