"""The dashboard in Chromium, as people see it: one service and one browser for all tests."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from models.labels import EMOTIONS
from tests.builders import add_release
from tests.integration.deployment import Deployment, deployment, make_faces, worker_processes
from tests.services import find_program, patience, wait_until

FACES: Final = 60
MISSING: Final = "/jobs/404404"
PHONE: Final = {"width": 360, "height": 740}
AXE: Final[dict[Literal["light", "dark"], dict[str, Any]]] = {
    "light": {"resultTypes": ["violations"]},
    "dark": {"resultTypes": ["violations"], "runOnly": ["color-contrast"]},
}
"""The rules of axe for each scheme. All others judge the same in the dark."""
OPEN_ALL: Final = "parts => parts.forEach((part) => { part.name = ''; part.open = true })"
NO_SIDEWAYS_SCROLL: Final = "document.documentElement.scrollWidth <= window.innerWidth"


@dataclass
class Service:
    """A running service with one ended job, and a second folder to submit.

    Attributes:
        job: the address of the job's page.
        folder: its pictures can all be read; one of the job's cannot.
    """

    client: httpx.Client
    deployment: Deployment
    job: str
    folder: Path

    @property
    def origin(self) -> str:
        return str(self.client.base_url).rstrip("/")

    def submit(self, folder: Path) -> str:
        """Submits a job, and waits until it ends."""
        address: str = self.client.post("/v1/jobs", json={"folder": str(folder)}).headers[
            "Location"
        ]
        wait_until(lambda: self.client.get(address).json()["completed_at"], "the job to end")
        return address.removeprefix("/v1")

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Its workers do nothing meanwhile."""
        workers = worker_processes(self.deployment.programs[0].pid)
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("dashboard")
    first = make_faces(folder / "images" / "first", FACES)
    (first / "torn.jpg").write_bytes(b"\xff\xd8")
    second = make_faces(folder / "images" / "second", FACES)
    settings = {
        "CUEMILL_DATA_DIR": str(folder / "data"),
        "CUEMILL_MODEL": str(tiny_model),
        "CUEMILL_WORKERS": "1",
    }
    with deployment("embedded", settings) as embedded:
        client = embedded.up(folder / "images")
        started = Service(client, embedded, "", second)
        started.job = started.submit(first)
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of the distribution, also for root and in a container with a small `/dev/shm`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_program("chromium", "google-chrome"),
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()


@dataclass
class Visit:
    """What a browser does in one test: at its end, nothing may have left the origin or gone wrong.

    Attributes:
        requests: the addresses of all requests.
        complaints: errors of scripts, refusals of the content policy, and files that did not come.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def visit(browser: Browser, service: Service, **options: Any) -> Iterator[Visit]:
    context = browser.new_context(base_url=service.origin, **options)
    context.set_default_timeout(1000 * patience(20))
    expect.set_options(timeout=1000 * patience(20))
    try:
        visit = Visit(context.new_page())
        listen(context, visit)
        yield visit
    finally:
        context.close()

    assert visit.complaints == []
    assert {
        address for address in visit.requests if not address.startswith(service.origin)
    } == set()


def listen(context: BrowserContext, visit: Visit) -> None:
    def note(message: ConsoleMessage) -> None:
        is_expected = message.location["url"].endswith(MISSING)
        if message.type in ("error", "warning") and not is_expected:
            visit.complaints.append(message.text)

    context.on("request", lambda request: visit.requests.append(request.url))
    context.on("weberror", lambda error: visit.complaints.append(str(error.error)))
    context.on("console", note)


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    with visit(browser, service) as visited:
        yield visited.page


def faces_said(page: Page) -> int:
    """The number of faces in the heading of results."""
    heading = page.get_by_role("heading", level=1).inner_text()
    return int(re.sub(r"\D", "", heading))


def submit_form(page: Page, folder: Path) -> None:
    page.goto("/submit")
    page.get_by_label("Folder", exact=True).fill(str(folder))
    page.get_by_role("button", name="Classify").click()
    expect(page).to_have_url(re.compile(r"/jobs/\d+$"))


def test_a_job_that_a_form_submits_is_seen_to_end_without_reloading(
    page: Page, service: Service
) -> None:
    with service.busy():
        submit_form(page, service.folder)
        expect(page.get_by_role("main")).to_contain_text(re.compile("Queued|Running"))
        page.evaluate("window.unchanged = true")

    expect(page.get_by_role("main")).to_contain_text("Completed")
    expect(page.get_by_role("region", name="Images")).to_contain_text(f"{FACES} classified")
    assert page.evaluate("window.unchanged")


def test_a_bar_of_the_chart_filters_all_that_is_shown_and_back_undoes_it(
    page: Page, service: Service
) -> None:
    page.goto(f"{service.job}/results")
    assert faces_said(page) == FACES + 1  # And the file that is none.
    everything = page.url

    bar = page.get_by_role("complementary", name="Filters").locator("a[href*='emotion=']").last
    label = bar.locator(".label").inner_text()
    count = int(bar.locator(".figure").inner_text())
    assert count < FACES
    bar.click()

    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(rf"^{count} faces?$"))
    emotion = urlsplit(page.url).query
    assert emotion == f"emotion={label.lower()}"
    captions = page.get_by_role("region", name="Results").locator("li b")
    assert captions.all_inner_texts() == [label] * count
    csv = page.get_by_role("link", name="These as CSV").get_attribute("href")
    assert csv is not None
    assert len(service.client.get(csv).text.splitlines()) == count + 1

    page.go_back()
    expect(page).to_have_url(everything)
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{FACES + 1} results")


def test_arrow_keys_walk_from_image_to_image(page: Page, service: Service) -> None:
    page.goto(f"{service.job}/images/0")
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"/images/1(#|$)"))
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile(r"/images/2(#|$)"))
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(re.compile(r"/images/1(#|$)"))


def test_arrow_keys_move_the_focus_through_the_grid(page: Page, service: Service) -> None:
    page.goto(f"{service.job}/results")
    faces = page.get_by_role("region", name="Results").get_by_role("listitem").get_by_role("link")
    page.keyboard.press("ArrowRight")
    expect(faces.nth(0)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(faces.nth(1)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/images/0(#|$)"))


def test_deleting_a_job_asks_first(page: Page, service: Service) -> None:
    job = service.submit(service.folder)
    page.goto(job)
    sure = page.get_by_role("button", name=re.compile("Delete job"))
    expect(sure).to_be_hidden()

    page.locator("summary", has_text="Delete").click()
    expect(page.get_by_text("for good")).to_be_visible()
    assert service.client.get(f"/v1{job}").is_success

    sure.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
    assert service.client.get(f"/v1{job}").status_code == 404


def addresses(service: Service) -> list[str]:
    """One of each kind of page that links lead to, and the kinds that need more than a number."""
    found = {
        "results": f"{service.job}/results?emotion={EMOTIONS[0]}&sort=score",
        "image": f"{service.job}/images/0",
        "folders": f"{service.job}/folders",
        "missing": MISSING,
        "sign-in": "/sign-in",
        "nothing": f"{service.job}/results?glob=nothing",
        "failures": f"{service.job}/results?outcome=unreadable",
        "unreadable": f"{service.job}/images/{FACES}",
        "folder": f"/submit?folder={service.folder}",
    }
    waiting = ["/"]
    while waiting:
        address = waiting.pop()
        kind = re.sub(r"\b\d+\b", "N", urlsplit(address).path)
        if kind in found or kind.startswith(("/v1", "/static", "/docs")):
            continue
        found[kind] = address
        text = service.client.get(address, headers={"Accept": "text/html"}).text
        waiting += re.findall(r'<a [^>]*href="(/[^"#]*)', text.replace("&amp;", "&"))
    return list(found.values())


def test_axe_finds_nothing_on_any_page_in_light_and_dark(page: Page, service: Service) -> None:
    found = []
    for address in addresses(service):
        page.goto(address)
        page.locator("details").evaluate_all(OPEN_ALL)
        for scheme, options in AXE.items():
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found += [
                (address, scheme, violation["id"], node["target"], node["failureSummary"])
                for violation in Axe().run(page, options=options).response["violations"]
                for node in violation["nodes"]
            ]
    assert not found, found


def test_no_page_scrolls_sideways_on_a_phone(browser: Browser, service: Service) -> None:
    with visit(browser, service, viewport=PHONE) as visited:
        wide = []
        for address in addresses(service):
            visited.page.goto(address)
            if not visited.page.evaluate(NO_SIDEWAYS_SCROLL):
                wide.append(address)
        assert not wide, wide


def test_everything_works_without_javascript(browser: Browser, service: Service) -> None:
    with visit(browser, service, java_script_enabled=False) as visited:
        page = visited.page
        for address in addresses(service):
            page.goto(address)
            expect(page.get_by_role("heading", level=1)).to_be_visible()

        submit_form(page, service.folder)
        job = urlsplit(page.url).path
        wait_until(lambda: service.client.get(f"/v1{job}").json()["completed_at"], "the job to end")
        page.reload()
        expect(page.get_by_role("main")).to_contain_text("Completed")

        page.get_by_role("link", name="Look at the faces").click()
        page.locator("a[href*='emotion=']").first.click()
        expect(page.get_by_role("navigation", name="Filters in use")).to_be_visible()
        page.get_by_role("region", name="Results").get_by_role("listitem").first.click()
        page.get_by_role("link", name="Next").click()
        expect(page).to_have_url(re.compile(r"/images/\d+\?emotion="))

        page.goto(job)
        page.locator("summary", has_text="Delete").click()
        page.get_by_role("button", name=re.compile("Delete job")).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
        assert service.client.get(f"/v1{job}").status_code == 404


@contextmanager
def foreign_site() -> Iterator[int]:
    """The port of a server, each of whose pages has a form."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b'<form method="post"><button>Win a prize</button></form>')

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


# A page on another port of the same address is of the same site, but not of the same origin.
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_of_another_origin_changes_nothing(
    browser: Browser, service: Service, host: str
) -> None:
    other = add_release(service.deployment.database(), f"other on {host}")
    models = service.client.get("/v1/models").json()
    page = browser.new_page()
    page.set_default_timeout(1000 * patience(20))

    with service.busy(), foreign_site() as port:
        location = service.client.post("/v1/jobs", json={"folder": str(service.folder)})
        job = location.headers["Location"].removeprefix("/v1")
        before = service.client.get(f"/v1{job}").json()

        for act in (f"{job}/cancel", f"{job}/delete", f"/models/{other}/promote"):
            page.goto(f"http://{host}:{port}/")
            page.eval_on_selector(
                "form", "(form, to) => { form.action = to }", service.origin + act
            )
            with page.expect_navigation() as navigation:
                page.get_by_role("button").click()
            assert navigation.value.status == 403

        page.goto(f"http://{host}:{port}/")
        for method, path in (
            ("POST", f"/v1{job}/cancel"),
            ("POST", f"{job}/delete"),
            ("DELETE", f"/v1{job}"),
            ("POST", f"/v1/models/{other}/promote"),
        ):
            for mode in ("cors", "no-cors"):
                options = {"method": method, "mode": mode}
                outcome = page.evaluate(
                    """([to, options]) => fetch(to, options).then(() => "read", () => "refused")""",
                    [service.origin + path, options],
                )
                assert outcome == "refused"

        assert service.client.get(f"/v1{job}").json() == before
        assert service.client.get("/v1/models").json() == models
    page.close()
