"""The asynchronous client, for asyncio."""

import asyncio
import os
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2 as httpx

from cuemill_client.calls import Calls
from cuemill_client.files import LocalFile
from cuemill_client.options import JobFilters, JobOptions, ResultFilters
from cuemill_client.pages import AsyncPages, AsyncResults
from cuemill_client.progress import show_progress
from cuemill_client.records import Job, Release, Retried, Summary, Upload, UploadedFile
from cuemill_client.server import AT_A_TIME, RETRIES, TIMEOUT_S, Server
from cuemill_client.steps import Read, Request, Step, Steps, Together

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T")


class AsyncClient:
    """As `Client`: the same calls and arguments, to be awaited. Lists are for `async for`."""

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        *,
        retries: int = RETRIES,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._server = Server(base_url, key)
        self._calls = Calls(retries)
        self._http = http or httpx.AsyncClient(timeout=TIMEOUT_S)
        self._owns_http = http is None

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """As `Client.close`."""
        if self._owns_http:
            await self._http.aclose()

    async def submit(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        upload: Upload | str | None = None,
        idempotency_key: str | None = None,
        **options: "Unpack[JobOptions]",
    ) -> Job:
        """As `Client.submit`."""
        return await self._run(self._calls.submit(folder, upload, idempotency_key, options))

    async def wait(
        self, job: Job | int, *, timeout_s: float | None = None, progress: bool | None = None
    ) -> Job:
        """As `Client.wait`."""
        with show_progress("classifying", progress) as show:
            return await self._run(self._calls.wait(job, timeout_s, show))

    async def job(self, job: Job | int) -> Job:
        """As `Client.job`."""
        return await self._run(self._calls.job(job))

    def jobs(self, **filters: "Unpack[JobFilters]") -> AsyncPages[Job]:
        """As `Client.jobs`."""
        return AsyncPages(self._run, self._calls.jobs(filters))

    async def cancel(self, job: Job | int) -> Job:
        """As `Client.cancel`."""
        return await self._run(self._calls.cancel(job))

    async def retry(self, job: Job | int, *codes: str, stale: bool = False) -> Retried:
        """As `Client.retry`."""
        return await self._run(self._calls.retry(job, codes, stale))

    async def delete(self, job: Job | int) -> None:
        """As `Client.delete`."""
        await self._run(self._calls.delete(job))

    def results(
        self, job: Job | int | None = None, **filters: "Unpack[ResultFilters]"
    ) -> AsyncResults:
        """As `Client.results`."""
        return AsyncResults(self._run, self._calls.results(job, filters))

    async def summary(self, job: Job | int) -> Summary:
        """As `Client.summary`."""
        return await self._run(self._calls.summary(job))

    async def models(self) -> list[Release]:
        """As `Client.models`."""
        return await self._run(self._calls.models())

    async def model(self, release: Release | int) -> Release:
        """As `Client.model`."""
        return await self._run(self._calls.model(release))

    async def upload(
        self,
        files: str | os.PathLike[str] | Iterable[LocalFile],
        *,
        into: Upload | str | None = None,
        progress: bool | None = None,
    ) -> Upload:
        """As `Client.upload`."""
        with show_progress("uploading", progress) as show:
            return await self._run(self._calls.upload_files(files, into, show))

    async def create_upload(self) -> Upload:
        """As `Client.create_upload`."""
        return await self._run(self._calls.create_upload())

    async def get_upload(self, upload: Upload | str) -> Upload:
        """As `Client.get_upload`."""
        return await self._run(self._calls.upload(upload))

    def uploaded_files(self, upload: Upload | str) -> AsyncPages[UploadedFile]:
        """As `Client.uploaded_files`."""
        return AsyncPages(self._run, self._calls.uploaded_files(upload))

    async def delete_upload(self, upload: Upload | str) -> None:
        """As `Client.delete_upload`."""
        await self._run(self._calls.delete_upload(upload))

    async def _run(self, steps: Steps[T]) -> T:
        """Carries a call out, and returns its result."""
        proceed: Callable[[Any], Any] = steps.send
        outcome: Any = None
        while True:
            try:
                step = proceed(outcome)
            except StopIteration as end:
                result: T = end.value
                return result

            try:
                proceed, outcome = steps.send, await self._carry_out(step)
            except (httpx.TransportError, OSError) as error:
                proceed, outcome = steps.throw, error

    async def _carry_out(self, step: Step) -> Any:
        if isinstance(step, Request):
            return await self._http.request(**self._server.arguments(step))
        if isinstance(step, Read):
            return await asyncio.to_thread(step.path.read_bytes)
        if isinstance(step, Together):
            return await self._run_together(step)
        return await asyncio.sleep(step.seconds)

    async def _run_together(self, together: Together) -> None:
        """Runs many calls, some at a time, until one fails."""

        async def work() -> None:
            for steps in together.calls:
                await self._run(steps)
                together.done()

        workers = [asyncio.create_task(work()) for _ in range(AT_A_TIME)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
