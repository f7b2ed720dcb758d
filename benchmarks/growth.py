"""Costs that must not grow with the number of images: of an image, a result page, a status request,
and a worker's memory.

python -m benchmarks.growth           takes minutes, with tens of thousands of images
python -m benchmarks.growth --full    a folder of 1,000,000, of which 200,000 are classified

What is compared takes turns in one run, or is counted in CPU time, so the ratios hold on a busy
machine too. "With the foreign key" restores what docs/decisions/0006 removed, for comparison.
"""

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import numpy as np
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from benchmarks.orders import make_scores
from models.labels import EMOTIONS
from models.settings import SHIPPED_MODEL
from models.store import batches, bulk, cancellation, jobs, records, releases, results, scans
from models.store.database import Database
from models.store.filters import ResultFilter, ScoreRange
from models.store.jobs import Submission
from models.store.order import Sort
from models.store.records import FaceRecord, ImageRecord, Origin
from models.store.scans import ScanClaim
from models.store.states import BatchState, Outcome
from models.store.tables import Batch, Image, Job, Prediction
from tests.integration.deployment import (
    CUEMILL,
    Deployment,
    _answers,
    deployment,
    make_faces,
    usage,
)
from tests.services import free_port, run_postgres, wait_until

SIZE, LEASE_S, PAGE = 64, 600.0, 100
SCORES = np.full(28, 1 / 28, np.float32)
CONSTRAINT = "ALTER TABLE predictions ADD FOREIGN KEY (job_id, number) REFERENCES images"


@dataclass(frozen=True)
class Sizes:
    """How large things grow.

    Attributes:
        images: recorded before the later of two costs is measured.
        rows: of a job whose pages are read.
        folder: names in a folder that is classified.
        classified: images of it that are classified after it has been listed.
    """

    images: int
    rows: int
    rounds: int
    polling_s: float
    folder: int
    classified: int


SMALL = Sizes(
    images=20_000, rows=50_000, rounds=100, polling_s=8, folder=250_000, classified=20_000
)
FULL = Sizes(
    images=200_000, rows=1_000_000, rounds=300, polling_s=30, folder=1_000_000, classified=200_000
)

FILTERS: Final[dict[str, dict[str, Any]]] = {
    "an emotion": {"emotion": "fear"},
    "an emotion's scores": {"scores": (ScoreRange("fear", "gte", 0.4),)},
    "top scores": {"min_score": 0.9},
    "uncertain faces": {"uncertain": True},
    "an outcome": {"outcome": Outcome.UNREADABLE},
    "an error code": {"code": "truncated"},
    "a prefix": {"path_prefix": "0"},
    "a pattern": {"glob": "*7.jpg"},
    "a model": {"model": "Cuemill1"},
    "large faces": {"min_face": 60},
    "sure faces": {"min_confidence": 0.9},
    "images with faces": {"min_faces": 1},
    "images without": {"max_faces": 0},
}
ORDERS: Final = ("score", "-score", "score.fear", "-score.fear")

Line = tuple[str, str, str, str, str]


class Growing:
    """A database with one job, to which images can be added directly or as workers do."""

    def __init__(self, url: str, constraint: str | None = None) -> None:
        self.db = Database(url)
        self.db.upgrade()
        if constraint is not None:
            with self.db.write() as connection:
                connection.exec_driver_sql(constraint)

        self.release_id = releases.resolve(self.db, None, SHIPPED_MODEL)
        submission = Submission("/nowhere", self.release_id, batch_size=SIZE)
        self.job_id = jobs.submit(self.db, submission)[0].id
        claim = scans.claim(self.db, self.job_id, "benchmark", LEASE_S)
        if claim is None:
            raise RuntimeError("The scan of a new job could not be claimed.")
        self._scan: ScanClaim = claim
        self.images = 0

    def _take_numbers(self, count: int) -> range:
        self.images += count
        return range(self.images - count, self.images)

    def fill(self, count: int) -> None:
        """Adds images as if they had been classified."""
        for start in range(0, count, 8_192):
            self._fill(self._take_numbers(min(8_192, count - start)))

    def _fill(self, numbers: range) -> None:
        images: list[tuple[object, ...]] = []
        predictions: list[tuple[object, ...]] = []
        for n, scores in zip(numbers, make_scores(len(numbers)).tolist(), strict=True):
            path = f"{n:08}.jpg"
            if n % 100 == 0:
                ending = ("unreadable", "truncated", "Cut off.", None, None, None, False, 0)
                images.append((self.job_id, n, path, *ending))
                continue

            images.append(
                (self.job_id, n, path, "classified", None, None, os.urandom(16), 1, 1, False, 1)
            )
            top = max(scores)
            face = (0, 0, 40 + n % 40, 80, 0.7 + n % 30 / 100, 0.0)
            values = (*face, EMOTIONS[scores.index(top)], top, *scores)
            predictions.append((self.job_id, n, 0, self.release_id, *values))

        batch = {"job_id": self.job_id, "size": SIZE, "state": BatchState.DONE, "attempt": 1}
        counts = {
            "total": Job.total + len(numbers),
            "classified": Job.classified + len(predictions),
            "unreadable": Job.unreadable + len(numbers) - len(predictions),
            "faces": Job.faces + len(predictions),
        }
        with self.db.write() as connection:
            bulk.insert(connection, Image, records.IMAGE_COLUMNS, images)
            bulk.insert(connection, Prediction, records.PREDICTION_COLUMNS, predictions)
            connection.execute(sa.insert(Batch), [batch] * (len(numbers) // SIZE))
            connection.execute(sa.update(Job).values(counts))

    def queue(self, count: int) -> None:
        """Adds batches as the scan does."""
        for start in range(0, count, SIZE):
            numbers = self._take_numbers(SIZE * min(SIZE, count - start))
            scans.record(self.db, self._scan, [(n, f"{n:08}.jpg") for n in numbers], LEASE_S)

    def classify(self) -> bool:
        """Claims and completes a batch, without a network; False when none is due."""
        return _classify(self.db)


def _classify(db: Database) -> bool:
    claim = batches.claim(db, None, "benchmark", LEASE_S)
    if claim is None:
        return False
    rows = []
    for number, path in claim.items:
        fingerprint = os.urandom(16)  # No two files are alike.
        origin = Origin(fingerprint, 1, 1)
        rows.append(
            ImageRecord(number, path, Outcome.CLASSIFIED, faces=[FaceRecord(SCORES)], origin=origin)
        )
    if not batches.complete(db, claim, rows):
        raise RuntimeError("The claim was lost.")
    return True


def in_turns(
    rounds: int, first: Callable[[], object], second: Callable[[], object]
) -> tuple[float, float]:
    """Median milliseconds of each; the first tenth of the rounds warms up."""
    milliseconds = np.empty((rounds, 2))
    for times in milliseconds:
        for i, work in enumerate((first, second)):
            started = time.perf_counter()
            work()
            times[i] = 1000 * (time.perf_counter() - started)
    first_ms, second_ms = np.median(milliseconds[rounds // 10 :], axis=0)
    return float(first_ms), float(second_ms)


def _line(what: str, unit: str, values: tuple[float, float], limit: str) -> Line:
    first, last = values
    return (what, f"{first:.3g} {unit}", f"{last:.3g} {unit}", f"{last / first:.2f}", limit)


def measure_store(
    name: str, sizes: Sizes, new_url: Callable[[], str], constraint: str | None = None
) -> Iterator[Line]:
    """The cost of a batch, from claim to completion, and of a result page, empty and grown."""
    young, old = Growing(new_url(), constraint), Growing(new_url(), constraint)
    old.fill(sizes.images)
    for growing in (young, old):
        growing.queue(sizes.rounds)

    batch_ms = in_turns(sizes.rounds, young.classify, old.classify)
    what = f"{name}: a batch of {SIZE}, after 0 and {sizes.images:,} images"
    yield _line(what, "ms", batch_ms, "1.1")
    young.db.close()

    if constraint is None:
        old.fill(sizes.rows - old.images)
        for later in (2, sizes.rows // PAGE):
            first_page = partial(_read_page, old, 1)
            later_page = partial(_read_page, old, later)
            page_ms = in_turns(sizes.rounds, first_page, later_page)
            yield _line(f"{name}: page 1 and page {later:,} of results", "ms", page_ms, "1.5")
        yield from measure_finding(name, old, sizes.rounds)
    old.db.close()


def _read_page(growing: Growing, number: int) -> None:
    after = None if number == 1 else f"{growing.job_id}.{(number - 1) * PAGE - 1}.0"
    if len(results.page(growing.db, ResultFilter(growing.job_id), PAGE, after)) != PAGE:
        raise RuntimeError(f"Page {number} is not full.")


def measure_finding(name: str, growing: Growing, rounds: int) -> Iterator[Line]:
    """A page of each filter, first and halfway, and of each order, first and near the end."""
    db, job_id = growing.db, growing.job_id
    if not db.is_sqlite:  # PostgreSQL does so by itself, a little later.
        with db.write() as connection:
            connection.exec_driver_sql("ANALYZE")

    # PostgreSQL reads the last thousands of rows all at once, where it expects less than a page.
    deep = f"{job_id}.{growing.images // 2}.0"
    for what, conditions in FILTERS.items():
        of_job = ResultFilter(job_id, **conditions)
        first = partial(results.page, db, of_job, PAGE)
        later = partial(results.page, db, of_job, PAGE, deep)
        page_ms = in_turns(rounds, first, later)
        yield _line(f"{name}: a page of {what}, first and halfway", "ms", page_ms, "1.5")

    for text in ORDERS:
        sort = Sort(text)
        of_job = ResultFilter(job_id)
        first = partial(results.page, db, of_job, PAGE, None, sort)
        later = partial(results.page, db, of_job, PAGE, _deep_cursor(growing, sort), sort)
        page_ms = in_turns(rounds, first, later)
        yield _line(f"{name}: a page sorted by {text}, first and late", "ms", page_ms, "1.5")


def _deep_cursor(growing: Growing, sort: Sort) -> str:
    """The cursor after nine tenths of the faces that an order compares by their scores."""
    part = next(part for part in sort.parts() if sort.column in part.columns)
    compared = sa.select(sa.func.count()).where(part.condition).select_from(Prediction)
    with growing.db.read() as connection:
        count = connection.execute(compared).scalar_one()
        face = sa.select(Prediction.__table__).where(part.condition).order_by(*sort.order_by(part))
        return sort.cursor(connection.execute(face.offset(count * 9 // 10).limit(1)).one())


def measure_polls(name: str, sizes: Sizes, environment: dict[str, str]) -> Iterator[Line]:
    """A status request over HTTP, idle, and while two processes record batches."""
    with deployment(name, environment) as cuemill, _serving(cuemill) as client:
        url = cuemill.database().url.render_as_string(hide_password=False)
        growing = Growing(url)
        growing.queue(int(sizes.polling_s * 500))

        def poll_ms() -> float:
            started = time.perf_counter()
            client.get(f"/v1/jobs/{growing.job_id}").raise_for_status()
            return 1000 * (time.perf_counter() - started)

        idle_ms = _p99(poll_ms, sizes.polling_s)

        context = get_context("spawn")
        ready = context.Barrier(3)
        writers = [
            context.Process(target=_write, args=(url, ready, sizes.polling_s)) for _ in range(2)
        ]
        for writer in writers:
            writer.start()
        ready.wait()
        before = jobs.get(growing.db, growing.job_id).counts.classified
        busy_ms = _p99(poll_ms, sizes.polling_s)
        written = jobs.get(growing.db, growing.job_id).counts.classified - before
        for writer in writers:
            writer.join()
        growing.db.close()

    rate = f"{written / sizes.polling_s:,.0f} images/s"
    what = f"{name}: a status request, p99, idle and while {rate} are recorded"
    yield _line(what, "ms", (idle_ms, busy_ms), "20 ms")


@contextmanager
def _serving(cuemill: Deployment) -> Iterator[httpx.Client]:
    """The API, without its log."""
    port = free_port()
    with (
        subprocess.Popen(
            [*CUEMILL, "serve", "--port", str(port)],
            env=cuemill.variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        try:
            wait_until(lambda: _answers(client), "the API to answer")
            yield client
        finally:
            process.terminate()


def _p99(poll_ms: Callable[[], float], seconds: float) -> float:
    """The 99th percentile at up to 50 polls a second."""
    end = time.monotonic() + seconds
    milliseconds = []
    while time.monotonic() < end:
        milliseconds.append(poll_ms())
        time.sleep(0.02)
    return float(np.percentile(milliseconds, 99))


def _write(url: str, ready: Barrier, seconds: float) -> None:
    db = Database(url)
    _classify(db)
    ready.wait()
    end = time.monotonic() + seconds
    while time.monotonic() < end and _classify(db):
        pass
    db.close()


def measure_folder(sizes: Sizes) -> Iterator[Line]:
    """Embedded workers with the shipped network on a folder of many names."""
    with tempfile.TemporaryDirectory() as scratch:
        warm_up = make_faces(Path(scratch) / "few", 256)
        folder = Path(scratch) / "many"
        folder.mkdir()
        faces = [face.read_bytes() for face in sorted(warm_up.iterdir())]
        for i in range(sizes.folder):
            # Decoders ignore what follows a JPEG's end, so each file is different but valid.
            different = faces[i % len(faces)] + i.to_bytes(4)
            (folder / f"face-{i:07}.jpg").write_bytes(different)

        variables = {"CUEMILL_DATA_DIR": scratch, "CUEMILL_WORKERS": "2"}
        with deployment("embedded", variables) as cuemill:
            yield from _measure_job(cuemill, sizes, warm_up, folder)


def _measure_job(cuemill: Deployment, sizes: Sizes, warm_up: Path, folder: Path) -> Iterator[Line]:
    db = cuemill.database()
    db.upgrade()
    release_id = releases.resolve(db, None, SHIPPED_MODEL)
    worker = cuemill.start("worker").pid
    warm_up_job_id = jobs.submit(db, Submission(str(warm_up), release_id))[0].id
    wait_until(lambda: jobs.get(db, warm_up_job_id).status.ended, "the workers to be warm", 300)
    loaded = usage(worker, 0)

    job = jobs.submit(db, Submission(str(folder), release_id, fresh=True))[0]
    wait_until(lambda: jobs.get(db, job.id).counts.classified, "the first results", 300, 0.01)
    first_s = (datetime.now(UTC) - job.queued_at).total_seconds()
    if jobs.get(db, job.id).scanned_at is not None:
        raise RuntimeError("The folder had been listed before its first result arrived.")
    wait_until(lambda: jobs.get(db, job.id).scanned_at, "the folder to be listed", 3600, 0.1)
    listed_s = (datetime.now(UTC) - job.queued_at).total_seconds()
    what = f"{sizes.folder:,} names: first result and all listed"
    yield _line(what, "s", (first_s, listed_s), "3 s, the first")

    def classified() -> int:
        return jobs.get(db, job.id).counts.classified

    first = classified()
    samples = [usage(worker, first)]
    for tenth in range(1, 11):
        goal = first + tenth * (sizes.classified // 10)
        wait_until(partial(_reaches, classified, goal), f"{goal:,} images", 3600, 0.05)
        samples.append(usage(worker, classified()))
    cancellation.cancel(db, job.id)

    last = samples[-1].classified
    per_image = samples[0].per_image(samples[3]), samples[-4].per_image(samples[-1])
    what = f"CPU time per image, first and last 3 tenths of {first:,} to {last:,} images"
    yield _line(what, "ms", per_image, "1.1")
    memory = loaded.rss_mb, max(sample.rss_mb for sample in samples)
    yield _line(f"a worker's memory, loaded and up to {last:,} images", "MB", memory, "300 MB")
    memory = samples[1].rss_mb, samples[-1].rss_mb
    yield _line("a worker's memory, in the first and last tenth of that", "MB", memory, "1.1")


def _reaches(count: Callable[[], int], goal: int) -> bool:
    return count() >= goal


def measure_all(sizes: Sizes) -> Iterator[Line]:
    with tempfile.TemporaryDirectory() as folder, run_postgres() as server:
        numbers = iter(range(100))

        def sqlite_url() -> str:
            return f"sqlite:///{Path(folder) / f'{next(numbers)}.db'}"

        def postgresql_url() -> str:
            return server.create_database().replace("postgresql:", "postgresql+psycopg:")

        yield from measure_store("SQLite", sizes, sqlite_url)
        yield from measure_store("PostgreSQL", sizes, postgresql_url)
        with_key = "PostgreSQL with the foreign key"
        yield from measure_store(with_key, sizes, postgresql_url, CONSTRAINT)

        variables = {"CUEMILL_DATA_DIR": folder}
        yield from measure_polls("SQLite", sizes, variables)
        variables = {**variables, "CUEMILL_DATABASE_URL": server.create_database()}
        yield from measure_polls("PostgreSQL", sizes, variables)
    yield from measure_folder(sizes)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true")
    sizes = FULL if parser.parse_args().full else SMALL

    table = Table("what", "at first", "later", "ratio", "at most")
    console = Console(width=130)
    with console.status("measuring ..."):
        for line in measure_all(sizes):
            table.add_row(*line)
    console.print(table)
    console.print(describe(), highlight=False)


if __name__ == "__main__":
    main()
