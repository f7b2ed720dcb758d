"""Signing in: a key becomes a session, which does what its key may, and ends with it."""

import logging
from collections.abc import Callable
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from api import auth
from api.dashboard.pages.sign_in import ATTEMPTS
from models.store import audit, jobs, keys, sessions
from models.store.database import Database
from models.store.keys import Scope
from tests.api.dashboard.reading import Page
from tests.api.responses import problem_detail
from tests.builders import add_release, list_folder

HTML = {"Accept": "text/html"}
SignIn = Callable[[Scope], str]


def post_key(client: TestClient, key: str, target: str = "/", **headers: str) -> Any:
    form = {"key": key, "next": target}
    return client.post("/sign-in", data=form, headers=HTML | headers, follow_redirects=False)


def cookie_of(response: Any) -> Any:
    (morsel,) = SimpleCookie(response.headers["Set-Cookie"]).values()
    return morsel


@pytest.fixture
def sign_in(client: TestClient, db: Database) -> SignIn:
    """Makes a key of a scope, named like it, and signs the client in; the key."""

    def enter(scope: Scope) -> str:
        key = keys.create(db, scope.value, scope)
        assert post_key(client, key).status_code == 303
        return key

    return enter


def is_signed_in(client: TestClient) -> bool:
    return client.get("/v1/jobs").status_code == 200


def test_a_visit_without_a_session_leads_to_the_page_to_sign_in_and_back(
    client: TestClient, db: Database, faces: str
) -> None:
    client.post("/v1/jobs", json={"folder": faces})
    key = keys.create(db, "ada", Scope.READ)
    asked = "/jobs/1/results?score.fear=gte:0.4&path_prefix=a+b"
    response = client.get(asked, headers=HTML, follow_redirects=False)
    assert response.status_code == 303
    assert parse_qs(urlsplit(response.headers["Location"]).query) == {"next": [asked]}

    page = Page(client.get(response.headers["Location"], headers=HTML))
    (field,) = page.all("input", id="key")
    assert field["type"] == "password"
    assert page.all("form", action="/sign-in", method="post")
    (target,) = page.all("input", type="hidden")
    assert target["value"] == asked
    assert "/submit" not in page.links()

    response = post_key(client, f" {key}\n", target["value"])
    assert (response.status_code, response.headers["Location"]) == (303, asked)
    assert Page(client.get(asked, headers=HTML)).all("form", action="/sign-out")


def test_what_is_no_visit_of_a_page_is_told_that_it_has_no_key(
    client: TestClient, db: Database
) -> None:
    key = keys.create(db, "ada", Scope.READ)
    for path in ("/v1/jobs", "/v1/jobs/1/results.csv", "/metrics"):
        response = client.get(path, headers=HTML, follow_redirects=False)
        problem_detail(response, 401, "unauthenticated")
    problem_detail(client.get("/", follow_redirects=False), 401, "unauthenticated")

    response = client.post("/jobs/1/cancel", headers=HTML, follow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (303, "/sign-in")
    # A key that a proxy adds would only be sent again.
    wrong = HTML | {"Authorization": f"Bearer {key[:-1]}"}
    assert "There is no such key." in Page(client.get("/", headers=wrong), 401).text


def test_the_cookie_is_for_this_service_alone_and_holds_nothing_of_the_key(
    client: TestClient, db: Database
) -> None:
    key = keys.create(db, "ada", Scope.READ)
    cookie = cookie_of(post_key(client, key))
    assert cookie["httponly"]
    assert cookie["samesite"] == "strict"
    assert (cookie["path"], cookie["domain"], cookie["secure"]) == ("/", "", "")
    assert int(cookie["max-age"]) == sessions.LIFE.total_seconds()
    assert key[3:11] not in cookie.value
    assert key[12:] not in cookie.value


def test_the_cookie_is_for_https_alone_if_the_browser_came_by_it(
    client: TestClient, db: Database
) -> None:
    key = keys.create(db, "ada", Scope.READ)
    assert cookie_of(post_key(client, key, Origin="https://localhost:8000"))["secure"]
    client.base_url = "https://localhost:8000"
    assert cookie_of(post_key(client, key))["secure"]


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "/\t/evil.example/",
        "/\r\nSet-Cookie: a=b",
        "\\\\evil.example",
        "javascript:alert(1)",
        "evil.example",
        "",
        " /jobs/1",
    ],
)
def test_an_address_of_another_site_is_not_gone_to(
    client: TestClient, db: Database, target: str
) -> None:
    page = Page(client.get("/sign-in", params={"next": target}))
    assert page.all("input", type="hidden")[0]["value"] == "/"
    response = post_key(client, keys.create(db, "ada", Scope.READ), target)
    assert (response.status_code, response.headers["Location"]) == (303, "/")


@pytest.mark.parametrize("what", ["nothing", "another", "revoked", "expired"])
def test_a_key_that_is_not_good_is_refused_beside_the_field_and_said_nowhere(
    client: TestClient, db: Database, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    caplog.set_level(logging.DEBUG)
    key = keys.create(db, "ada", Scope.ADMIN, expires_days=-1 if what == "expired" else None)
    if what == "revoked":
        keys.revoke(db, "ada")
    sent = {"nothing": "", "another": f"{key[:-1]}{'b' if key[-1] == 'a' else 'a'}"}.get(what, key)

    response = post_key(client, sent, "/jobs/7")
    page = Page(response, 401)
    expected = {"revoked": "is revoked", "expired": "is expired"}.get(what, "no such key")
    assert expected in page.text
    (field,) = page.all("input", id="key")
    assert field["aria-describedby"] == "key-error"
    assert page.all("input", type="hidden")[0]["value"] == "/jobs/7"

    assert "Set-Cookie" not in response.headers
    assert "value" not in field
    assert key[12:-1] not in response.text + caplog.text
    assert not is_signed_in(client)


def test_attempts_are_limited_even_for_a_good_key(client: TestClient, db: Database) -> None:
    key = keys.create(db, "ada", Scope.READ)
    for _ in range(ATTEMPTS):
        assert post_key(client, "cm_").status_code == 401
    response = post_key(client, key)
    assert "attempts to sign in" in Page(response, 429).text
    assert int(response.headers["Retry-After"]) >= 1
    assert "Set-Cookie" not in response.headers


def test_pages_show_what_the_key_allows_and_nothing_else(
    client: TestClient, db: Database, sign_in: SignIn, faces: str
) -> None:
    for _ in range(2):
        client.post("/v1/jobs", json={"folder": faces})
    list_folder(db, jobs.get(db, 2), 3)
    client.post("/v1/jobs/2/cancel")
    other = add_release(db, "other")
    actions: dict[Scope, set[str]] = {
        Scope.READ: set(),
        Scope.SUBMIT: {"/jobs/1/cancel", "/jobs/2/retry"},
        Scope.ADMIN: {"/jobs/1/delete", "/jobs/2/delete", f"/models/{other}/promote"},
    }
    actions[Scope.ADMIN] |= actions[Scope.SUBMIT]

    for scope, expected in actions.items():
        sign_in(scope)
        pages = [Page(client.get(path)) for path in ("/", "/jobs/1", "/jobs/2", "/models")]
        forms = {form["action"] for page in pages for form in page.all("form")}
        assert forms == expected | {"/sign-out"}
        assert ("/submit" in pages[0].links()) is (scope is not Scope.READ)
        assert client.get("/submit").status_code == (403 if scope is Scope.READ else 200)
        assert f"{scope} Sign out" in pages[0].text


def test_without_keys_pages_offer_everything_but_to_sign_out(
    client: TestClient, faces: str
) -> None:
    client.post("/v1/jobs", json={"folder": faces})
    page = Page(client.get("/jobs/1"))
    assert {form["action"] for form in page.all("form")} == {"/jobs/1/cancel", "/jobs/1/delete"}
    assert "/submit" in page.links()


def test_a_session_may_what_its_key_may_and_acts_in_its_name(
    client: TestClient, db: Database, sign_in: SignIn, faces: str
) -> None:
    sign_in(Scope.SUBMIT)
    assert client.post("/v1/jobs", json={"folder": faces}).status_code == 202
    for path in ("/v1/jobs/1", "/v1/jobs/1/results.csv", "/metrics"):
        assert client.get(path).status_code == 200
    assert client.post("/jobs/1/cancel", follow_redirects=False).status_code == 303
    for method, path in (("DELETE", "/v1/jobs/1"), ("POST", "/jobs/1/delete")):
        problem_detail(client.request(method, path), 403, "insufficient_scope")

    limits = client.get("/v1/limits")
    assert limits.json()["key"]["name"] == "submit"
    assert "RateLimit" in limits.headers
    assert [entry.actor for entry in audit.list_newest(db, 2)] == ["submit", "submit"]


@pytest.mark.parametrize("path", ["/jobs/1/delete", "/v1/jobs", "/sign-in", "/sign-out"])
@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}],
)
def test_a_post_of_another_site_is_refused_even_with_the_cookie(
    client: TestClient, sign_in: SignIn, path: str, headers: dict[str, str]
) -> None:
    key = sign_in(Scope.ADMIN)
    response = client.post(path, data={"key": key}, headers=headers)
    problem_detail(response, 403, "cross_site")
    assert is_signed_in(client)


def test_a_key_that_is_sent_counts_for_more_than_the_session(
    client: TestClient, db: Database, sign_in: SignIn
) -> None:
    sign_in(Scope.ADMIN)
    reader = {"Authorization": f"Bearer {keys.create(db, 'ada', Scope.READ)}"}
    assert client.get("/v1/limits", headers=reader).json()["key"]["name"] == "ada"
    problem_detail(client.get("/v1/audit", headers=reader), 403, "insufficient_scope")
    wrong = {"Authorization": "Bearer cm_"}
    problem_detail(client.get("/v1/jobs", headers=wrong), 401, "unauthenticated")
    # What a proxy asks for is no key.
    assert client.get("/v1/jobs", headers={"Authorization": "Basic eA=="}).status_code == 200


def test_signing_out_ends_the_session_of_any_key_and_forgets_the_cookie(
    client: TestClient, sign_in: SignIn
) -> None:
    sign_in(Scope.READ)
    token = client.cookies["cuemill_session"]
    response = client.post("/sign-out", headers=HTML, follow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (303, "/sign-in")
    assert cookie_of(response)["max-age"] == "0"
    assert not client.cookies

    client.cookies.set("cuemill_session", token)
    assert "session has ended" in problem_detail(client.get("/v1/jobs"), 401, "unauthenticated")
    assert client.post("/sign-out", follow_redirects=False).status_code == 303


def test_signing_in_again_ends_the_session_before(
    client: TestClient, db: Database, sign_in: SignIn
) -> None:
    key = sign_in(Scope.READ)
    before = client.cookies["cuemill_session"]
    post_key(client, key)
    assert is_signed_in(client)
    assert keys.find_by_session(db, before) is None


@pytest.mark.parametrize("end", ["revoke", "expire", "time"])
def test_a_session_ends_at_once_with_its_key_and_in_time_by_itself(
    client: TestClient,
    db: Database,
    sign_in: SignIn,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    if end == "time":
        monkeypatch.setattr(sessions, "LIFE", timedelta(0))
    sign_in(Scope.READ)
    assert is_signed_in(client) is (end != "time")

    if end == "revoke":
        keys.revoke(db, "read")
    elif end == "expire":
        with db.write() as connection:
            connection.exec_driver_sql("UPDATE api_keys SET expires_at = created_at")
    assert not is_signed_in(client)
    response = client.get("/jobs/1", headers=HTML, follow_redirects=False)
    assert response.headers["Location"] == "/sign-in?next=%2Fjobs%2F1"


def test_what_stays_open_ends_when_its_session_is_signed_out_of(
    client: TestClient, db: Database, sign_in: SignIn
) -> None:
    api: Any = client.app

    async def still(request: Request) -> bool:
        if "leave" in request.query_params:
            sessions.end(db, request.cookies["cuemill_session"])
        return await auth.may_go_on(request)

    api.get("/still")(still)
    key = {"Authorization": f"Bearer {sign_in(Scope.READ)}"}
    assert client.get("/still", headers=key).json() is True
    assert client.get("/still?leave").json() is False, "not what was read for the key itself"


def test_a_link_on_another_site_is_followed_with_the_session(
    client: TestClient, sign_in: SignIn
) -> None:
    # From there, a browser sends no cookie that is SameSite=Strict.
    sign_in(Scope.READ)
    client.cookies.clear()
    foreign = HTML | {"Sec-Fetch-Site": "cross-site"}
    response = client.get("/?status=failed", headers=foreign)
    assert response.url.path == "/sign-in"
    assert response.headers["Refresh"] == "0; url=/?status=failed"
    own = client.get("/", headers=HTML | {"Sec-Fetch-Site": "same-origin"})
    assert own.url.path == "/sign-in"
    assert "Refresh" not in own.headers
