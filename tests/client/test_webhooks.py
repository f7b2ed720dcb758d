"""Webhooks are genuine and recent, or refused."""

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import standardwebhooks

from cuemill_client import Client, WebhookError, webhooks
from models.settings import Settings
from models.store import batches, deliveries, releases
from models.store import webhooks as hooks
from models.store.database import Database
from models.store.states import Event
from tests.builders import LEASE_S, claim_batch, records_of, submit_job
from tests.receiver import run_receiver
from worker import courier

SECRET = "whsec_" + base64.b64encode(b"twenty-four secret bytes").decode()
BODY = json.dumps(
    {"type": "job.completed", "timestamp": "2026-12-01T03:00:00Z", "data": {"id": 7}}
).encode()


def signed(body: bytes = BODY, age_s: float = 0, secret: str = SECRET) -> dict[str, str]:
    """The headers of a webhook, as the standard's own library makes them."""
    sent_at = datetime.now(UTC) - timedelta(seconds=age_s)
    signature = standardwebhooks.Webhook(secret).sign("msg_1", sent_at, body.decode())
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(sent_at.timestamp())),
        "Webhook-Signature": f"v1,b2xk v2,odd v1a,\u00e9 {signature}",
    }


def test_the_standards_own_example_is_genuine(monkeypatch: pytest.MonkeyPatch) -> None:
    # From the specification's test vector.
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    monkeypatch.setattr(time, "time", lambda: 1614265330.0)
    with pytest.raises(WebhookError, match="signed, but is no event"):
        webhooks.unwrap('{"test": 2432232314}', headers, secret)


def test_what_cuemill_sends_is_an_event_with_the_job(
    database: Database, cuemill: Client, tiny_model: Path
) -> None:
    job_id = submit_job(database, releases.resolve(database, None, tiny_model), images=1)
    with run_receiver() as receiver:
        _, secret = hooks.create(database, receiver.url, list(Event))
        work = claim_batch(database)
        assert batches.complete(database, work, records_of(work))
        claim = deliveries.claim(database, "worker", LEASE_S)
        assert claim is not None
        courier.send(database, Settings(_env_file=None, webhook_private=True), claim)

    ((headers, body),) = receiver.requests
    event = webhooks.unwrap(body, headers, secret)
    assert (event.type, event.job) == ("job.completed", cuemill.job(job_id))


def test_a_genuine_one_is_an_event() -> None:
    event = webhooks.unwrap(BODY, signed(), SECRET)
    assert event.timestamp == datetime(2026, 12, 1, 3, tzinfo=UTC)
    assert (event.type, event.data) == ("job.completed", {"id": 7})
    assert webhooks.unwrap(BODY.decode(), signed(), SECRET) == event


@pytest.mark.parametrize("age_s", [301, -301])
def test_one_of_long_ago_is_refused(age_s: float) -> None:
    with pytest.raises(WebhookError, match="300 s are tolerated"):
        webhooks.unwrap(BODY, signed(age_s=age_s), SECRET)
    assert webhooks.unwrap(BODY, signed(age_s=age_s), SECRET, tolerance_s=400).type


def test_any_other_body_id_time_or_secret_is_refused() -> None:
    headers = signed()
    other = "whsec_" + base64.b64encode(b"another secret").decode()
    later = {**headers, "Webhook-Timestamp": str(int(headers["Webhook-Timestamp"]) + 1)}
    cases = [
        (BODY + b" ", headers, SECRET),
        (BODY, {**headers, "Webhook-Id": "msg_2"}, SECRET),
        (BODY, later, SECRET),
        (BODY, headers, other),
    ]
    for body, given, secret in cases:
        with pytest.raises(WebhookError, match="No signature matches"):
            webhooks.unwrap(body, given, secret)


@pytest.mark.parametrize("name", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
def test_a_missing_header_is_named(name: str) -> None:
    headers = signed()
    del headers[name]
    with pytest.raises(WebhookError, match=name.lower()):
        webhooks.unwrap(BODY, headers, SECRET)


def test_a_malformed_time_or_secret_is_refused() -> None:
    with pytest.raises(WebhookError, match="soon"):
        webhooks.unwrap(BODY, {**signed(), "Webhook-Timestamp": "soon"}, SECRET)
    with pytest.raises(WebhookError, match="base64"):
        webhooks.unwrap(BODY, signed(), "whsec_not base64")
