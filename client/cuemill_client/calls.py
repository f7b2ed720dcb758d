"""The calls of the API: what is sent, and what the answer means."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx2 as httpx

from cuemill_client.errors import (
    InvalidAnswerError,
    InvalidRequestError,
    JobFailedError,
    UploadIncompleteError,
    WaitTimeoutError,
)
from cuemill_client.files import LocalFile, list_files
from cuemill_client.options import JobFilters, JobOptions, ResultFilters, check_names, to_params
from cuemill_client.progress import Show
from cuemill_client.records import (
    Job,
    Release,
    Result,
    Retried,
    Summary,
    Upload,
    UploadedFile,
    parse,
)
from cuemill_client.steps import Pause, Read, Request, Steps, Together, send

PAGE: Final = 1000
"""Items of a page; the most that the API gives."""

MAX_REFUSED: Final = 100
"""Files of an upload that may fail, each for itself."""

_FIRST_POLL_S: Final = 0.2
_POLL_S: Final = 2.0

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some items of a list, and where the next ones begin; None at the end."""

    data: list[T]
    next: str | None


Fetch = Callable[[str | None], Steps[Page[T]]]
"""Gets the page that begins at `next` of the one before."""


@dataclass(frozen=True)
class Calls:
    """All calls, with what they have in common.

    Args:
        retries: how often a request is sent again.
    """

    retries: int

    def submit(
        self,
        folder: str | os.PathLike[str] | None,
        upload: Upload | str | None,
        idempotency_key: str | None,
        options: JobOptions,
    ) -> Steps[Job]:
        check_names(JobOptions, options)
        if (folder is None) == (upload is None):
            raise TypeError("expected either a folder of the server's or an upload")

        body: dict[str, Any] = {**options}
        if folder is not None:
            body["folder"] = os.fspath(folder)
        else:
            body["upload"] = upload.id if isinstance(upload, Upload) else upload
        response = yield from self._create("/v1/jobs", body, idempotency_key)
        return _read(partial(parse, Job), response)

    def job(self, job: Job | int) -> Steps[Job]:
        return (yield from self._get(Job, _path(job)))

    def jobs(self, filters: JobFilters) -> Fetch[Job]:
        check_names(JobFilters, filters)
        return self._list(Job, "/v1/jobs", filters)

    def cancel(self, job: Job | int) -> Steps[Job]:
        response = yield from self._send(Request("POST", f"{_path(job)}/cancel"))
        return _read(partial(parse, Job), response)

    def retry(self, job: Job | int, code: tuple[str, ...], stale: bool) -> Steps[Retried]:
        params = to_params({"code": code, "stale": stale})
        request = Request("POST", f"{_path(job)}/retry", params, is_repeatable=False)
        response = yield from self._send(request)
        return _read(partial(parse, Retried), response)

    def delete(self, job: Job | int) -> Steps[None]:
        yield from self._send(Request("DELETE", _path(job)))

    def wait(self, job: Job | int, timeout_s: float | None, show: Show) -> Steps[Job]:
        began, pause_s = time.monotonic(), _FIRST_POLL_S
        while True:
            current = yield from self.job(job)
            show(current.counts.total - current.counts.pending, current.counts.total or None)
            if current.status == "failed":
                raise JobFailedError(current)
            if current.has_ended:
                return current

            if timeout_s is not None and time.monotonic() - began + pause_s > timeout_s:
                raise WaitTimeoutError(
                    f"Job {current.id} is still {current.status} after {timeout_s:g} s. It goes "
                    "on: wait again, or cancel it."
                )
            yield Pause(pause_s)
            pause_s = min(1.5 * pause_s, _POLL_S)

    def summary(self, job: Job | int) -> Steps[Summary]:
        return (yield from self._get(Summary, f"{_path(job)}/summary"))

    def results(self, job: Job | int | None, filters: ResultFilters) -> Fetch[Result]:
        check_names(ResultFilters, filters)
        path = "/v1/results" if job is None else f"{_path(job)}/results"
        return self._list(Result, path, filters)

    def models(self) -> Steps[list[Release]]:
        response = yield from self._send(Request("GET", "/v1/models"))
        return _read(partial(_parse_page, Release), response).data

    def model(self, release: Release | int) -> Steps[Release]:
        number = release.id if isinstance(release, Release) else int(release)
        return (yield from self._get(Release, f"/v1/models/{number}"))

    def create_upload(self) -> Steps[Upload]:
        response = yield from self._create("/v1/uploads", None, None)
        return _read(partial(parse, Upload), response)

    def upload(self, upload: Upload | str) -> Steps[Upload]:
        return (yield from self._get(Upload, _upload_path(upload)))

    def uploaded_files(self, upload: Upload | str) -> Fetch[UploadedFile]:
        return self._list(UploadedFile, f"{_upload_path(upload)}/files", {})

    def upload_files(
        self,
        files: str | os.PathLike[str] | Iterable[LocalFile],
        into: Upload | str | None,
        show: Show,
    ) -> Steps[Upload]:
        chosen = list_files(files) if isinstance(files, str | os.PathLike) else files
        wanted = {file.name: file for file in chosen}
        upload = yield from (self.create_upload() if into is None else self.upload(into))

        uploaded = yield from _collect(self.uploaded_files(upload))
        sizes = {file.path: file.bytes for file in uploaded}
        missing = [file for name, file in wanted.items() if sizes.get(name) != file.bytes]
        number = len(wanted) - len(missing)
        show(number, len(wanted))

        def count() -> None:
            nonlocal number
            number += 1
            show(number, len(wanted))

        refused: dict[str, str] = {}
        yield Together((self._put(upload, file, refused) for file in missing), count)

        upload = yield from self.upload(upload)
        if refused:
            raise UploadIncompleteError(upload, refused)
        return upload

    def _put(self, upload: Upload, file: LocalFile, refused: dict[str, str]) -> Steps[None]:
        path = f"{_upload_path(upload)}/files/{quote(os.fsencode(file.name))}"
        try:
            content: bytes = yield Read(file.path)
            yield from self._send(Request("PUT", path, content=content))
        except (OSError, InvalidRequestError) as error:
            # No other file need suffer. But if many fail, it is the upload that cannot be.
            refused[file.name] = str(error)
            if len(refused) > MAX_REFUSED:
                raise

    def delete_upload(self, upload: Upload | str) -> Steps[None]:
        yield from self._send(Request("DELETE", _upload_path(upload)))

    def _send(self, request: Request) -> Steps[httpx.Response]:
        return (yield from send(request, self.retries))

    def _get(self, kind: type[T], path: str) -> Steps[T]:
        response = yield from self._send(Request("GET", path))
        return _read(partial(parse, kind), response)

    def _create(self, path: str, body: Any, idempotency_key: str | None) -> Steps[httpx.Response]:
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        return (yield from self._send(Request("POST", path, json=body, headers=headers)))

    def _list(self, kind: type[T], path: str, filters: Mapping[str, Any]) -> Fetch[T]:
        def fetch(after: str | None) -> Steps[Page[T]]:
            params = to_params({**filters, "limit": PAGE, "after": after})
            response = yield from self._send(Request("GET", path, params))
            return _read(partial(_parse_page, kind), response)

        return fetch


def _collect(fetch: Fetch[T]) -> Steps[list[T]]:
    """The items of all pages."""
    items: list[T] = []
    after = None
    while True:
        page = yield from fetch(after)
        items += page.data
        if page.next is None:
            return items
        after = page.next


def _parse_page(kind: type[T], page: Any) -> Page[T]:
    return Page([parse(kind, item) for item in page["data"]], page["next"])


def _read(read: Callable[[Any], T], response: httpx.Response) -> T:
    try:
        return read(response.json())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidAnswerError(
            f"{response.url} gave an answer that Cuemill's API does not give: {error!r}. Check the "
            "address, and that this package is not older than the server."
        ) from error


def _path(job: Job | int) -> str:
    return f"/v1/jobs/{job.id if isinstance(job, Job) else int(job)}"


def _upload_path(upload: Upload | str) -> str:
    return f"/v1/uploads/{quote(upload.id if isinstance(upload, Upload) else upload, safe='')}"
