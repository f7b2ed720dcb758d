"""The whole way, files to committed rows, against the bare network, side by side in one run.

make bench                                    on 4,000 faces that it draws itself
python -m benchmarks.end_to_end FOLDER        on a folder of yours; subfolders named by label also give accuracy
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from models import jobs, pickles, results
from models.database import Database
from models.images import decode
from models.labels import FER2013
from models.paths import read_image, walk
from models.results import Filter
from models.settings import SHIPPED_MODEL, Settings
from models.states import JobStatus, Outcome
from tests.integration.deployment import Deployment, deployment, make_faces
from tests.services import run_postgres, run_redis, wait_until
from worker.engines.load import load_engine

BATCH = 64
CORES = len(os.sched_getaffinity(0))


def bare_engine(images: list[bytes]) -> float:
    """Images per second of the network alone: inputs ready in memory, one process a core, as the workers have it."""
    context = get_context("spawn")
    start = context.Barrier(CORES)
    speeds: Queue[float] = context.Queue()
    shares = [context.Process(target=_predict_share, args=(images[i::CORES], start, speeds)) for i in range(CORES)]
    for process in shares:
        process.start()
    total = sum(speeds.get(timeout=600) for _ in shares)
    for process in shares:
        process.join()
    return total


def _predict_share(images: list[bytes], start: Barrier, speeds: "Queue[float]") -> None:
    release = pickles.load(SHIPPED_MODEL)
    preprocessing = release.preprocessing
    pixels = np.stack([preprocessing.resize(decode(data, preprocessing.size)) for data in images])
    inputs = preprocessing.to_input(pixels)
    engine = load_engine(release, Settings())
    engine.predict(inputs[:BATCH])
    start.wait()
    begun = time.perf_counter()
    for i in range(0, len(inputs), BATCH):
        engine.predict(inputs[i : i + BATCH])
    speeds.put(len(inputs) / (time.perf_counter() - begun))


def through(made: Deployment, folder: Path, count: int) -> tuple[float, Database, int]:
    """Images per second from the job's first claim to its last commit, with the workers warm."""
    database = made.database()
    database.upgrade()
    made.start("worker")
    with tempfile.TemporaryDirectory() as warm:
        _run(made, database, make_faces(Path(warm), 4 * BATCH))
    job_id = _run(made, database, folder)
    job = jobs.get(database, job_id)
    if job.status is not JobStatus.COMPLETED or job.counts.total != count or not job.images_per_second:
        raise RuntimeError(f"The job ended as {job}, expected {count} images.")
    return job.images_per_second, database, job_id


def _run(made: Deployment, database: Database, folder: Path) -> int:
    job_id = int(made.run("enqueue", folder).stdout)
    wait_until(lambda: jobs.get(database, job_id).status.ended, "the job to end", 3600, pause_s=0.5)
    return job_id


def accuracy(database: Database, job_id: int) -> float | None:
    """Share of images whose emotion is that of their subfolder; None when subfolders name no labels."""
    right = total = 0
    for record in results.every(database, Filter(job_id, outcome=Outcome.CLASSIFIED)):
        label = record.path.split("/")[0]
        total += 1
        right += record.emotion == FER2013.get(label, label)
    return right / total if right else None


def compare(folder: Path) -> None:
    """Prints the table."""
    root = os.fsencode(folder.resolve())
    images = [read_image(root, path) for path in walk(root, True)]
    bare = bare_engine(images)
    table = Table(
        "way", "images/s", "of bare", "classified", "accuracy", title=f"{len(images):,} images, {CORES} workers"
    )
    table.add_row("bare engine", f"{bare:,.0f}", "1.00", "", "")
    for name, measure in _ways():
        rate, counts, right = measure(folder, len(images))
        table.add_row(
            name, f"{rate:,.0f}", f"{rate / bare:.2f}", f"{counts:,}", "" if right is None else f"{right:.4f}"
        )
    console = Console(width=110)
    console.print(table)
    console.print(describe(), highlight=False)


Measure = Callable[[Path, int], tuple[float, int, float | None]]


def _ways() -> list[tuple[str, Measure]]:
    return [("embedded: SQLite", _embedded), ("scaled: PostgreSQL + Redis + Celery", _scaled)]


def _embedded(folder: Path, count: int) -> tuple[float, int, float | None]:
    with tempfile.TemporaryDirectory() as data, deployment("embedded", {"CUEMILL_DATA_DIR": data}) as made:
        return _measured(made, folder, count)


def _scaled(folder: Path, count: int) -> tuple[float, int, float | None]:
    with run_redis() as redis, run_postgres() as postgres:
        urls = {"CUEMILL_DATABASE_URL": postgres.create_database(), "CUEMILL_BROKER_URL": redis.url}
        with deployment("scaled", urls) as made:
            return _measured(made, folder, count)


def _measured(made: Deployment, folder: Path, count: int) -> tuple[float, int, float | None]:
    rate, database, job_id = through(made, folder, count)
    return rate, jobs.get(database, job_id).counts.classified, accuracy(database, job_id)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    folder = parser.parse_args().folder
    if folder is not None:
        compare(folder)
        return
    with tempfile.TemporaryDirectory() as drawn:
        compare(make_faces(Path(drawn), 4000))


if __name__ == "__main__":
    main()
