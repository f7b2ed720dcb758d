"""The synchronous client."""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2 as httpx

from cuemill_client.calls import Calls
from cuemill_client.files import LocalFile
from cuemill_client.options import JobFilters, JobOptions, ResultFilters
from cuemill_client.pages import Pages, Results
from cuemill_client.progress import show_progress
from cuemill_client.records import Job, Release, Retried, Summary, Upload, UploadedFile
from cuemill_client.server import AT_A_TIME, RETRIES, TIMEOUT_S, Server
from cuemill_client.steps import Read, Request, Step, Steps, Together

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T")


class Client:
    """Speaks with a Cuemill server.

    All calls raise `ApiError` if the server refuses them and `ConnectionFailedError` if it does not
    answer. Until then they are tried again where that is safe, after the time that the server asks
    for. It may be used by several threads, and as a context manager.

    Args:
        base_url: of the server, such as http://localhost:8000.
        key: as `cuemill keys create` prints it, if the server asks for one.
        retries: how often a request is sent again.
        http: an HTTP client of your own, with its certificates, proxies and time limits.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        *,
        retries: int = RETRIES,
        http: httpx.Client | None = None,
    ) -> None:
        self._server = Server(base_url, key)
        self._calls = Calls(retries)
        self._http = http or httpx.Client(timeout=TIMEOUT_S)
        self._owns_http = http is None

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        if self._owns_http:
            self._http.close()

    def submit(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        upload: Upload | str | None = None,
        idempotency_key: str | None = None,
        **options: "Unpack[JobOptions]",
    ) -> Job:
        """Queues a folder that the server can read, or an upload, for classification.

        Args:
            folder: its absolute path on the server.
            idempotency_key: the same key with the same request gives the same job; by default, a
                new key for each call.
            options: how to classify.
        """
        return self._run(self._calls.submit(folder, upload, idempotency_key, options))

    def wait(
        self, job: Job | int, *, timeout_s: float | None = None, progress: bool | None = None
    ) -> Job:
        """Waits until a job has ended, and returns it.

        Args:
            progress: show a bar on the standard error; by default, in a terminal or a notebook.

        Raises:
            JobFailedError: it has failed. A cancelled job is returned.
            WaitTimeoutError: it has not ended in time.
        """
        with show_progress("classifying", progress) as show:
            return self._run(self._calls.wait(job, timeout_s, show))

    def job(self, job: Job | int) -> Job:
        """A job as it is now."""
        return self._run(self._calls.job(job))

    def jobs(self, **filters: "Unpack[JobFilters]") -> Pages[Job]:
        """Jobs, newest first."""
        return Pages(self._run, self._calls.jobs(filters))

    def cancel(self, job: Job | int) -> Job:
        """Stops a job; it keeps the results that it has."""
        return self._run(self._calls.cancel(job))

    def retry(self, job: Job | int, *codes: str, stale: bool = False) -> Retried:
        """Queues a job's failed and unreadable images again.

        Args:
            codes: only images with these error codes.
            stale: instead, images that another release than the current default predicted.
        """
        return self._run(self._calls.retry(job, codes, stale))

    def delete(self, job: Job | int) -> None:
        """Deletes a job and its results. Images in a folder of the server's are not touched."""
        self._run(self._calls.delete(job))

    def results(self, job: Job | int | None = None, **filters: "Unpack[ResultFilters]") -> Results:
        """The results that a job has so far, or those of all jobs, as an iterable."""
        return Results(self._run, self._calls.results(job, filters))

    def summary(self, job: Job | int) -> Summary:
        """How a job's faces spread over the emotions."""
        return self._run(self._calls.summary(job))

    def models(self) -> list[Release]:
        """The model releases that jobs can use, oldest first."""
        return self._run(self._calls.models())

    def model(self, release: Release | int) -> Release:
        """A model release as it is now."""
        return self._run(self._calls.model(release))

    def upload(
        self,
        files: str | os.PathLike[str] | Iterable[LocalFile],
        *,
        into: Upload | str | None = None,
        progress: bool | None = None,
    ) -> Upload:
        """Sends the pictures of a folder of this machine. Submit a job of the upload next.

        Args:
            files: a folder, with its subfolders, or files of your choice.
            into: an upload that was begun: only what it lacks is sent.
            progress: show a bar on the standard error; by default, in a terminal or a notebook.

        Raises:
            NotADirectoryError: the folder is not there.
        """
        with show_progress("uploading", progress) as show:
            return self._run(self._calls.upload_files(files, into, show))

    def create_upload(self) -> Upload:
        """Begins an upload without files, so that its id is known if `upload` is interrupted."""
        return self._run(self._calls.create_upload())

    def get_upload(self, upload: Upload | str) -> Upload:
        """An upload as it is now."""
        return self._run(self._calls.upload(upload))

    def uploaded_files(self, upload: Upload | str) -> Pages[UploadedFile]:
        """The files that an upload has so far."""
        return Pages(self._run, self._calls.uploaded_files(upload))

    def delete_upload(self, upload: Upload | str) -> None:
        """Deletes an upload that no job has."""
        self._run(self._calls.delete_upload(upload))

    def _run(self, steps: Steps[T], stopped: threading.Event | None = None) -> T:
        """Carries a call out, and returns its result.

        Args:
            stopped: set if the call is no longer wanted.
        """
        stopped = stopped or threading.Event()
        proceed: Callable[[Any], Any] = steps.send
        outcome: Any = None
        while True:
            try:
                step = proceed(outcome)
            except StopIteration as end:
                result: T = end.value
                return result

            try:
                proceed, outcome = steps.send, self._carry_out(step, stopped)
            except (httpx.TransportError, OSError) as error:
                proceed, outcome = steps.throw, error

    def _carry_out(self, step: Step, stopped: threading.Event) -> Any:
        if isinstance(step, Request):
            return self._http.request(**self._server.arguments(step))
        if isinstance(step, Read):
            return step.path.read_bytes()
        if isinstance(step, Together):
            return self._run_together(step)
        if stopped.wait(step.seconds):
            raise _StoppedError
        return None

    def _run_together(self, together: Together) -> None:
        """Runs many calls, some at a time, until one fails."""
        stopped = threading.Event()
        lock = threading.Lock()

        def work() -> None:
            while not stopped.is_set():
                with lock:
                    steps = next(together.calls, None)
                if steps is None:
                    return
                self._run(steps, stopped)
                with lock:
                    together.done()

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            try:
                for future in as_completed([pool.submit(work) for _ in range(AT_A_TIME)]):
                    future.result()
            finally:
                stopped.set()


class _StoppedError(Exception):
    """Another of the calls that run together has failed."""
