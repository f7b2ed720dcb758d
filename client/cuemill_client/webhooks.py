"""Webhooks as Standard Webhooks 1.0 signs them (https://www.standardwebhooks.com)."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cuemill_client.errors import WebhookError
from cuemill_client.records import Job, parse


@dataclass(frozen=True)
class Event:
    """What a webhook tells.

    Attributes:
        type: `job.completed`, `job.cancelled` or `job.failed`.
        data: the job, as JSON; `job` is it as a record.
    """

    type: str
    timestamp: datetime
    data: dict[str, Any]

    @property
    def job(self) -> Job:
        return parse(Job, self.data)


def unwrap(
    body: bytes | str, headers: Mapping[str, str], secret: str, tolerance_s: float = 300
) -> Event:
    """Checks that a webhook is genuine and recent, and reads it.

    A webhook may arrive twice, with the same `webhook-id`: remember those that you have handled.

    Args:
        body: as it arrived; not read and written again.
        secret: of the webhook, `whsec_...`.
        tolerance_s: how far the sender's clock, and the way, may be from this one.

    Raises:
        WebhookError: it is not, or headers are missing.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        identity, sent_at, signatures = (
            given[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
        )
        age_s = time.time() - int(sent_at)
    except (KeyError, ValueError) as error:
        raise WebhookError(f"A header is missing or malformed: {error}.") from error
    if abs(age_s) > tolerance_s:
        raise WebhookError(f"It is {age_s:.0f} s old; {tolerance_s:g} s are tolerated.")

    raw = body.encode() if isinstance(body, str) else body
    signed = b".".join([identity.encode(), sent_at.encode(), raw])
    digest = hmac.digest(_key_of(secret), signed, hashlib.sha256)
    expected = b"v1," + base64.b64encode(digest)
    # A secret that is being replaced signs, too: any signature may match.
    if not any(hmac.compare_digest(expected, one.encode()) for one in signatures.split()):
        raise WebhookError("No signature matches the secret.")

    try:
        return parse(Event, json.loads(raw))
    except (ValueError, TypeError, AttributeError) as error:
        raise WebhookError(f"It is signed, but is no event: {error!r}.") from error


def _key_of(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise WebhookError("The secret is not in base64, after whsec_.") from error
