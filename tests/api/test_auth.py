"""Keys over HTTP: who is let in, with what, and what becomes of a key that is sent wrongly."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from fastapi import Request
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient

from api import auth, latest
from api.auth import KeylessLog
from api.callers import get_caller
from api.context import Context
from api.server import make_api
from models.settings import Settings
from models.store import audit, keys
from models.store.database import Database
from models.store.keys import Scope
from tests.api.conftest import BASE_URL
from tests.api.responses import problem_detail
from tests.services import wait_until

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

Headers = dict[str, str]


def bearer(text: str) -> Headers:
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def make_key(db: Database) -> Callable[..., Headers]:
    """Makes a key, and gives the headers that send it."""

    def make(scope: Scope = Scope.READ, **options: Any) -> Headers:
        return bearer(keys.create(db, scope.value, scope, **options))

    return make


def is_let_in(client: TestClient, headers: Headers | None = None) -> bool:
    return client.get("/v1/jobs", headers=headers).status_code == 200


def test_without_any_key_a_local_api_is_open_and_what_is_sent_is_not_read(
    client: TestClient, db: Database, faces: str
) -> None:
    assert is_let_in(client)
    assert is_let_in(client, {"Authorization": "Basic of-a-proxy"})
    client.post("/v1/jobs", json={"folder": faces})
    assert client.delete("/v1/jobs/1").status_code == 204
    assert {entry.actor for entry in audit.list_newest(db)} == {"anonymous"}
    limits = client.get("/v1/limits").json()
    assert (limits["key"], limits["requests"], limits["live_jobs"]) == (None, None, None)


def test_once_there_is_a_key_every_request_needs_one_even_after_it_is_revoked(
    client: TestClient, db: Database, make_key: Callable[..., Headers]
) -> None:
    key = make_key()
    assert is_let_in(client, key)

    for path in ("/v1/jobs", "/metrics", "/", "/nowhere", "/openapi.json2"):
        response = client.get(path)
        detail = problem_detail(response, 401, "unauthenticated")
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert "cuemill keys create" in detail
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert client.get(path).status_code == 200, path

    keys.revoke(db, "read")
    assert "is revoked" in problem_detail(
        client.get("/v1/jobs", headers=key), 401, "unauthenticated"
    )
    assert not is_let_in(client)

    keys.revoke(db, keys.list_all(db)[0].id, forget=True)
    assert is_let_in(client)


def test_an_api_beyond_this_machine_is_never_open_by_itself(db: Database) -> None:
    for no_auth, status in ((False, 401), (True, 200)):
        settings = Settings(_env_file=None, host="0.0.0.0", no_auth=no_auth)
        context = Context(db, settings, announce=lambda: None, ping_queue=lambda: None)
        with TestClient(make_api(context), base_url=BASE_URL) as client:
            assert client.get("/v1/jobs").status_code == status
            keys.create(db, f"{no_auth}", Scope.READ)
            assert client.get("/v1/jobs").status_code == 401
            keys.revoke(db, f"{no_auth}", forget=True)


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/v1/jobs", Scope.READ),
        ("HEAD", "/v1/jobs", Scope.READ),
        ("OPTIONS", "/v1/jobs", Scope.READ),
        ("GET", "/metrics", Scope.READ),
        ("POST", "/v1/jobs", Scope.SUBMIT),
        ("POST", "/v1/jobs/1/cancel", Scope.SUBMIT),
        ("PUT", "/v1/nowhere", Scope.SUBMIT),
        ("DELETE", "/v1/jobs/1", Scope.ADMIN),
        ("POST", "/v1/models/99/promote", Scope.ADMIN),
        ("GET", "/v1/audit", Scope.ADMIN),
        ("HEAD", "/v1/audit", Scope.ADMIN),
    ],
)
def test_a_scope_that_does_not_suffice_is_a_403_that_names_the_one_needed(
    client: TestClient, make_key: Callable[..., Headers], method: str, path: str, needed: Scope
) -> None:
    for scope in Scope:
        response = client.request(method, path, headers=make_key(scope))
        if scope.includes(needed):
            assert response.status_code not in (401, 403)
        elif method == "HEAD":
            assert response.status_code == 403
        else:
            detail = problem_detail(response, 403, "insufficient_scope")
            assert f"scope {needed};" in detail
            assert f"the key {scope} has" in detail


def test_what_a_key_does_is_audited_under_its_name(
    client: TestClient, db: Database, make_key: Callable[..., Headers], faces: str
) -> None:
    submit, admin = make_key(Scope.SUBMIT), make_key(Scope.ADMIN)
    client.post("/v1/jobs", json={"folder": faces}, headers=submit)
    client.post("/v1/jobs/1/cancel", headers=submit)
    client.post("/v1/jobs/1/retry", headers=submit)
    client.delete("/v1/jobs/1", headers=admin)

    rows = [(entry.actor, str(entry.act)) for entry in audit.list_newest(db, 4)][::-1]
    assert rows == [
        ("submit", "job.submit"),
        ("submit", "job.cancel"),
        ("submit", "job.retry"),
        ("admin", "job.delete"),
    ]


HOSTILE: list[list[tuple[str, str | bytes]]] = [
    [("Authorization", "{key}")],
    [("Authorization", "Basic {key}")],
    [("Authorization", "Bearer")],
    [("Authorization", "Bearer ")],
    [("Authorization", "Bearer {key}{key}")],
    [("Authorization", "Bearer {key},Bearer {key}")],
    [("Authorization", "Bearer {key} {key}")],
    [("Authorization", 'Bearer "{key}"')],
    [("Authorization", "Bearer\t{key}")],
    [("Authorization", "Bearer {key}"), ("Authorization", "Bearer {key}")],
    [("Authorization", "Bearer {key}"), ("authorization", "Basic x")],
    [("Authorization", b"Bearer \xff\xfe\x80")],
    [("Authorization", b"\xffearer x")],
    [("Authorization", "Bearer " + 30_000 * "x")],
    [("Authorization", "Bearer ' OR 1=1 --")],
    [("Authorization", "Bearer cm_%_%")],
    [("X-API-Key", "{key}")],
    [("Cookie", "key={key}")],
]


@pytest.mark.parametrize("headers", HOSTILE)
def test_a_hostile_header_is_a_401_that_quotes_nothing(
    client: TestClient,
    make_key: Callable[..., Headers],
    caplog: pytest.LogCaptureFixture,
    headers: list[tuple[str, str | bytes]],
) -> None:
    caplog.set_level(logging.DEBUG)
    key = make_key(Scope.ADMIN)["Authorization"].removeprefix("Bearer ")
    sent = [
        (name, value.format(key=key) if isinstance(value, str) else value)
        for name, value in headers
    ]
    response = client.get("/v1/jobs", headers=sent)  # type: ignore[arg-type]
    problem_detail(response, 401, "unauthenticated")
    assert key not in response.text + caplog.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_scheme_is_read_as_http_says(
    client: TestClient, make_key: Callable[..., Headers], scheme: str
) -> None:
    key = make_key()["Authorization"].removeprefix("Bearer ")
    assert is_let_in(client, {"Authorization": f"{scheme} {key}"})


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs?key={}",
        "/v1/jobs?a=1&access_token={}",
        "/v1/jobs?after=%63m_{}",
        "/v1/jobs/{}",
        "/healthz?key={}",
        "/v1/jobs?{}",
    ],
)
def test_a_key_in_a_url_is_refused_even_with_the_same_in_the_header(
    client: TestClient, make_key: Callable[..., Headers], path: str
) -> None:
    headers = make_key(Scope.ADMIN)
    key = headers["Authorization"].removeprefix("Bearer ")
    url = path.format(key.removeprefix("cm_") if "%63" in path else key)
    detail = problem_detail(client.get(url, headers=headers), 400, "key_in_url")
    assert "Revoke this key" in detail
    assert key not in detail


def test_the_log_of_requests_has_no_key_not_even_of_those_that_the_guards_refuse(
    make_key: Callable[..., Headers], caplog: pytest.LogCaptureFixture
) -> None:
    key = make_key()["Authorization"].removeprefix("Bearer ")
    logger = logging.getLogger("keyless")
    logger.addFilter(KeylessLog())
    # As Uvicorn's own access log is written.
    logger.warning('%s - "%s %s HTTP/%s" %d', "::1", "GET", f"/v1/jobs?key={key}&a=1", "1.1", 421)
    assert caplog.messages == ['::1 - "GET /v1/jobs?key=cm_...&a=1 HTTP/1.1" 421']


def test_the_guards_stand_before_the_keys(
    client: TestClient, make_key: Callable[..., Headers]
) -> None:
    key = make_key(Scope.ADMIN)
    assert client.get("/v1/jobs", headers=key | {"Host": "evil.example"}).status_code == 421
    response = client.post("/v1/jobs", headers=key | {"Origin": "http://evil.example"})
    assert problem_detail(response, 403, "cross_site")


def test_a_body_is_not_read_without_a_key(
    client: TestClient, make_key: Callable[..., Headers]
) -> None:
    make_key()
    for content in (b"{", b"x" * 70_000):
        assert client.post("/v1/jobs", content=content).status_code == 401


def test_a_use_is_noted_beside_the_request(
    client: TestClient, db: Database, make_key: Callable[..., Headers]
) -> None:
    key = make_key()
    with db.write():  # Nothing can be noted now, but the request is answered.
        assert is_let_in(client, key)
    wait_until(lambda: keys.list_all(db)[0].last_used_at is not None, "the use to be noted")


def test_what_stays_open_may_ask_whether_its_key_is_good(
    client: TestClient,
    db: Database,
    make_key: Callable[..., Headers],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latest, "PERIOD_S", 0.01)
    api: Any = client.app

    async def still(request: Request) -> None:
        assert await auth.may_go_on(request)
        if get_caller(request).key is None:
            make_key()
        else:
            keys.revoke(db, "read")
        async with asyncio.timeout(30):
            while await auth.may_go_on(request):
                await asyncio.sleep(0.01)

    api.get("/still")(still)
    assert client.get("/still").is_success, "a key was made"
    keys.revoke(db, "read", forget=True)
    assert client.get("/still", headers=make_key()).is_success, "it was revoked"


def test_what_goes_on_sending_is_cut_off_once_its_key_is_revoked(
    client: TestClient,
    db: Database,
    make_key: Callable[..., Headers],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auth, "RECHECK_S", -1.0)
    monkeypatch.setattr(latest, "PERIOD_S", 0.01)
    api: Any = client.app

    async def send_for_long() -> StreamingResponse:
        async def pieces() -> AsyncIterator[str]:
            yield "before"
            keys.revoke(db, "read")
            for _ in range(3_000):
                await asyncio.sleep(0.01)
                yield " after"
            yield " all"

        return StreamingResponse(pieces())

    api.get("/long")(send_for_long)
    sent = client.get("/long", headers=make_key()).text
    assert sent.startswith("before")
    assert not sent.endswith("all")


def test_the_description_names_the_scheme_and_what_needs_no_key(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    assert description["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    security = {
        (method, path): operation.get("security")
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
    }
    assert {path for (_, path), needed in security.items() if not needed} == {
        "/healthz",
        "/readyz",
    }
    assert security["get", "/v1/jobs"] == [{"key": []}]
    assert security["get", "/v1/audit"] == [{"key": ["admin"]}]
