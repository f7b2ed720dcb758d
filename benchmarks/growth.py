"""What must not grow with the number of images: the cost of each, of a page, of a status poll, and a worker's memory.

python -m benchmarks.growth             in minutes, with tens of thousands of images
python -m benchmarks.growth --full      with a folder of 1,000,000, of which 200,000 are classified

What is compared takes turns in one run, or is counted in processor time, so that the ratios also hold on a machine that
is busy with something else. "With the foreign key" is what decision 6 took away, put back for comparison.
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
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import httpx2 as httpx
import numpy as np
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from models.settings import SHIPPED_MODEL
from models.store import batches, bulk, cancellation, jobs, records, releases, results, scans
from models.store.database import Database
from models.store.jobs import Submission
from models.store.records import ImageRecord, Origin
from models.store.results import Filter
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
    """How far things are let grow."""

    images: int  # Recorded before the later of two costs is measured.
    rows: int  # In a job whose pages are read.
    rounds: int
    polling_s: float
    folder: int  # Names in a folder that is classified ...
    classified: int  # ... until so many are, after it has been listed.


SMALL = Sizes(
    images=20_000, rows=50_000, rounds=100, polling_s=8, folder=250_000, classified=20_000
)
FULL = Sizes(
    images=200_000, rows=1_000_000, rounds=300, polling_s=30, folder=1_000_000, classified=200_000
)

Line = tuple[str, str, str, str, str]


class Growing:
    """A database with a job in it, to which images can be added with or without the workers' way of doing it."""

    def __init__(self, url: str, constraint: str | None = None) -> None:
        self.db = Database(url)
        self.db.upgrade()
        if constraint is not None:
            with self.db.write() as connection:
                connection.exec_driver_sql(constraint)
        self.release = releases.resolve(self.db, None, SHIPPED_MODEL)
        self.job = jobs.submit(self.db, Submission("/nowhere", self.release, batch_size=SIZE))[0].id
        claim = scans.claim(self.db, self.job, "benchmark", LEASE_S)
        if claim is None:
            raise RuntimeError("The scan of a new job could not be claimed.")
        self._scan: ScanClaim = claim
        self._number = 0

    def _numbers(self, count: int) -> range:
        self._number += count
        return range(self._number - count, self._number)

    def fill(self, count: int) -> None:
        """Images as if they had been classified."""
        for start in range(0, count, 8_192):
            numbers = self._numbers(min(8_192, count - start))
            images = [
                (self.job, n, f"{n:08}.jpg", "classified", None, None, os.urandom(16), 1, 1, False)
                for n in numbers
            ]
            faces = [
                (self.job, n, 0, self.release, "neutral", 1 / 28, *SCORES.tolist()) for n in numbers
            ]
            done = {"job_id": self.job, "size": SIZE, "state": BatchState.DONE, "attempt": 1}
            with self.db.write() as connection:
                bulk.insert(connection, Image, records.IMAGE_COLUMNS, images)
                bulk.insert(connection, Prediction, records.PREDICTION_COLUMNS, faces)
                connection.execute(sa.insert(Batch), [done] * (len(numbers) // SIZE))
                grown = {
                    "total": Job.total + len(numbers),
                    "classified": Job.classified + len(numbers),
                }
                connection.execute(sa.update(Job).values(grown))

    def queue(self, count: int) -> None:
        """Batches as the scan records them."""
        for start in range(0, count, SIZE):
            numbers = self._numbers(SIZE * min(SIZE, count - start))
            scans.record(self.db, self._scan, [(n, f"{n:08}.jpg") for n in numbers], LEASE_S)

    def classify(self) -> bool:
        """One batch, claimed and completed, with no network; False when none is due."""
        return _classify(self.db)


def _classify(db: Database) -> bool:
    claim = batches.claim(db, None, "benchmark", LEASE_S)
    if claim is None:
        return False
    rows = [
        ImageRecord(
            number, path, Outcome.CLASSIFIED, scores=SCORES, origin=Origin(os.urandom(16), 1, 1)
        )  # No two alike.
        for number, path in claim.items
    ]
    if not batches.complete(db, claim, rows):
        raise RuntimeError("The claim was lost.")
    return True


def in_turns(
    rounds: int, first: Callable[[], object], second: Callable[[], object]
) -> tuple[float, float]:
    """Median milliseconds of each."""
    taken = np.empty((rounds, 2))
    for times in taken:
        for i, work in enumerate((first, second)):
            begun = time.perf_counter()
            work()
            times[i] = 1000 * (time.perf_counter() - begun)
    first_ms, second_ms = np.median(taken[rounds // 10 :], axis=0)
    return float(first_ms), float(second_ms)


def _line(what: str, unit: str, figures: tuple[float, float], bar: str) -> Line:
    first, last = figures
    return (what, f"{first:.3g} {unit}", f"{last:.3g} {unit}", f"{last / first:.2f}", bar)


def costs(
    name: str, sizes: Sizes, url: Callable[[], str], constraint: str | None = None
) -> Iterator[Line]:
    """Of a batch, its claim and completion, and of a page and a poll, at first and when much has been recorded."""
    young, old = Growing(url(), constraint), Growing(url(), constraint)
    old.fill(sizes.images)
    for growing in (young, old):
        growing.queue(sizes.rounds)
    batch = in_turns(sizes.rounds, young.classify, old.classify)
    yield _line(
        f"{name}: a batch of {SIZE}, after 0 and {sizes.images:,} images", "ms", batch, "1.1"
    )
    young.db.close()
    if constraint is None:
        old.fill(sizes.rows - old._number)
        last = sizes.rows // PAGE

        def page(number: int) -> None:
            after = None if number == 1 else f"{old.job}.{(number - 1) * PAGE - 1}.0"
            if len(results.page(old.db, Filter(old.job), PAGE, after)) != PAGE:
                raise RuntimeError(f"Page {number} isn't full.")

        for later in (2, last):
            pages = in_turns(sizes.rounds, lambda: page(1), lambda later=later: page(later))  # type: ignore[misc]
            yield _line(f"{name}: page 1 and page {later:,} of results", "ms", pages, "1.5")
    old.db.close()


def polls(name: str, sizes: Sizes, environment: dict[str, str]) -> Iterator[Line]:
    """A status poll by HTTP while nothing happens, and while two processes record batches as fast as they can."""
    with deployment(name, environment) as made, _serving(made) as client:
        url = made.database().url.render_as_string(hide_password=False)
        growing = Growing(url)
        growing.queue(int(sizes.polling_s * 500))

        def poll() -> float:
            begun = time.perf_counter()
            client.get(f"/v1/jobs/{growing.job}").raise_for_status()
            return 1000 * (time.perf_counter() - begun)

        quiet = _polled(poll, sizes.polling_s)
        context = get_context("spawn")
        ready = context.Barrier(3)
        writers = [
            context.Process(target=_write, args=(url, ready, sizes.polling_s)) for _ in range(2)
        ]
        for writer in writers:
            writer.start()
        ready.wait()
        before = jobs.get(growing.db, growing.job).counts.classified
        busy = _polled(poll, sizes.polling_s)
        written = jobs.get(growing.db, growing.job).counts.classified - before
        for writer in writers:
            writer.join()
        growing.db.close()
    what = f"{name}: a status poll, p99, idle and with {written / sizes.polling_s:,.0f} images/s recorded"
    yield _line(what, "ms", (quiet, busy), "20 ms")


@contextmanager
def _serving(made: Deployment) -> Iterator[httpx.Client]:
    """The API, without the log of its requests."""
    port = free_port()
    with (
        subprocess.Popen(
            [*CUEMILL, "serve", "--port", str(port)],
            env=made.variables,
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


def _polled(poll: Callable[[], float], seconds: float) -> float:
    """The 99th percentile, at 50 polls a second."""
    end, taken = time.monotonic() + seconds, []
    while time.monotonic() < end:
        taken.append(poll())
        time.sleep(0.02)
    return float(np.percentile(taken, 99))


def _write(url: str, ready: Barrier, seconds: float) -> None:
    db = Database(url)
    _classify(db)
    ready.wait()
    end = time.monotonic() + seconds
    while time.monotonic() < end and _classify(db):
        pass
    db.close()


def folder_of_many(sizes: Sizes) -> Iterator[Line]:
    """Embedded workers with the shipped network, on a folder of many names, until some are classified."""
    with tempfile.TemporaryDirectory() as place:
        folder, warm = Path(place) / "many", make_faces(Path(place) / "few", 256)
        faces = [face.read_bytes() for face in sorted(warm.iterdir())]
        folder.mkdir()
        for i in range(sizes.folder):
            different = faces[i % len(faces)] + i.to_bytes(
                4
            )  # No decoder reads what is behind a JPEG's end.
            (folder / f"face-{i:07}.jpg").write_bytes(different)
        with deployment("embedded", {"CUEMILL_DATA_DIR": place, "CUEMILL_WORKERS": "2"}) as made:
            yield from _followed(made, sizes, warm, folder)


def _followed(made: Deployment, sizes: Sizes, warm: Path, folder: Path) -> Iterator[Line]:
    db = made.database()
    db.upgrade()
    release = releases.resolve(db, None, SHIPPED_MODEL)
    worker = made.start("worker").pid
    warmed = jobs.submit(db, Submission(str(warm), release))[0].id
    wait_until(lambda: jobs.get(db, warmed).status.ended, "the workers to be warm", 300)
    loaded = usage(worker, 0)

    job = jobs.submit(db, Submission(str(folder), release, fresh=True))[0]
    wait_until(lambda: jobs.get(db, job.id).counts.classified, "the first results", 300, 0.01)
    first_s = (datetime.now(UTC) - job.queued_at).total_seconds()
    if jobs.get(db, job.id).scanned_at is not None:
        raise RuntimeError("The folder had been listed before its first result came.")
    wait_until(lambda: jobs.get(db, job.id).scanned_at, "the folder to be listed", 3600, 0.1)
    listed_s = (datetime.now(UTC) - job.queued_at).total_seconds()
    yield _line(
        f"{sizes.folder:,} names: first result and all listed",
        "s",
        (first_s, listed_s),
        "3 s, the first",
    )

    done = jobs.get(db, job.id).counts.classified
    seen = [usage(worker, done)]
    for aim in range(done, done + sizes.classified + 1, sizes.classified // 10)[1:]:
        while (now := jobs.get(db, job.id).counts.classified) < aim:
            time.sleep(0.05)
        seen.append(usage(worker, now))
    cancellation.cancel(db, job.id)
    per_image = seen[0].per_image(seen[3]), seen[-4].per_image(seen[-1])
    span = f"{seen[0].classified:,} to {seen[-1].classified:,} images"
    yield _line(
        f"processor time an image, first and last 3 tenths of {span}", "ms", per_image, "1.1"
    )
    memory = loaded.rss_mb, max(sample.rss_mb for sample in seen)
    yield _line(
        f"a worker's memory, loaded and by {seen[-1].classified:,} images", "MB", memory, "300 MB"
    )
    yield _line(
        "a worker's memory, in the first and last tenth of that",
        "MB",
        (seen[1].rss_mb, seen[-1].rss_mb),
        "1.1",
    )


def lines(sizes: Sizes) -> Iterator[Line]:
    """All that is measured."""
    with tempfile.TemporaryDirectory() as folder, run_postgres() as server:
        made = iter(range(100))

        def sqlite() -> str:
            return f"sqlite:///{Path(folder) / f'{next(made)}.db'}"

        def postgresql() -> str:
            return server.create_database().replace("postgresql:", "postgresql+psycopg:")

        yield from costs("SQLite", sizes, sqlite)
        yield from costs("PostgreSQL", sizes, postgresql)
        yield from costs("PostgreSQL with the foreign key", sizes, postgresql, CONSTRAINT)
        yield from polls("SQLite", sizes, {"CUEMILL_DATA_DIR": folder})
        yield from polls(
            "PostgreSQL",
            sizes,
            {"CUEMILL_DATA_DIR": folder, "CUEMILL_DATABASE_URL": server.create_database()},
        )
    yield from folder_of_many(sizes)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true")
    sizes = FULL if parser.parse_args().full else SMALL
    table = Table("what", "at first", "later", "ratio", "at most")
    console = Console(width=130)
    with console.status("measuring ..."):
        for line in lines(sizes):
            table.add_row(*line)
    console.print(table)
    console.print(describe(), highlight=False)


if __name__ == "__main__":
    main()
