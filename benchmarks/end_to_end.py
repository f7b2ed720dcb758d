"""Throughput from files to committed rows, against the bare network and a plain script.

make bench                                the table of docs/performance.md, on synthetic pictures
python -m benchmarks.end_to_end --full    ten times as many
python -m benchmarks.end_to_end FOLDER    your own folder; subfolders named by label give accuracy
"""

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from benchmarks.pictures import FACE, PHOTOGRAPH, VIDEO, draw
from models.labels import FER2013
from models.pictures.preprocessing import Preprocessing
from models.pictures.resize import read_pixels, resize
from models.release.files import load_release
from models.settings import SHIPPED_MODEL, Settings
from models.sources.read import read_image
from models.sources.walk import walk
from models.store import jobs, results
from models.store.database import Database
from models.store.results import Filter
from models.store.states import JobStatus, Outcome
from tests.integration.deployment import Deployment, deployment
from tests.services import run_postgres, run_redis, wait_until
from worker.engines.load import load_engine

BATCH = 64
KERAS_BATCH = 32  # The reference's, and Keras' own default.
CORES = sorted(os.sched_getaffinity(0))
COUNTS = {"48x48": (20_000, FACE), "640x480": (2_000, VIDEO), "12 megapixels": (60, PHOTOGRAPH)}


@dataclass(frozen=True)
class Measurement:
    """The speed of one way to classify a folder.

    Attributes:
        accuracy: None unless subfolders are named by label.
        idle: the share of the cores' time spent idle in the middle three fifths of the job, which
            leaves out the start, when one core lists the folder, and the end, when batches run out.
            None = not measured.
    """

    name: str
    images_per_second: float
    accuracy: float | None = None
    idle: float | None = None


def _in_processes(work: Callable[..., Any], shares: list[list[bytes]]) -> float:
    """Images per second of one process per share. All start together, after warming up."""
    context = get_context("spawn")
    start = context.Barrier(len(shares))
    speeds: Queue[float] = context.Queue()
    processes = [context.Process(target=work, args=(share, start, speeds)) for share in shares]
    for process in processes:
        process.start()
    total = sum(speeds.get(timeout=3600) for _ in processes)
    for process in processes:
        process.join()
    return total


def folder_paths(folder: Path) -> list[bytes]:
    """The full paths of all pictures in a folder."""
    root = os.fsencode(folder.resolve())
    return [os.path.join(root, path) for path in walk(root, True)]


def read_all(paths: list[bytes], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Decodes and resizes pictures as a worker does: uint8 (n, height, width, 3)."""
    files = (read_image(os.path.dirname(path), os.path.basename(path))[0] for path in paths)
    return np.stack([read_pixels(data, preprocessing) for data in files])


def _repeated(work: Callable[[], object], images: int) -> float:
    """Images per second of some work, repeated for 3 s, because once may take only milliseconds."""
    started, repetitions, seconds = time.perf_counter(), 0, 0.0
    while seconds < 3:
        work()
        repetitions += 1
        seconds = time.perf_counter() - started
    return repetitions * images / seconds


def bare_engine(paths: list[bytes], start: Barrier, speeds: "Queue[float]") -> None:
    """The network alone on one core, as a worker runs it, with its inputs in memory."""
    release = load_release(SHIPPED_MODEL)
    inputs = release.preprocessing.to_input(read_all(paths, release.preprocessing))
    engine = load_engine(release, Settings())
    engine.predict(inputs[:BATCH])
    start.wait()

    def predict_all() -> None:
        for i in range(0, len(inputs), BATCH):
            engine.predict(inputs[i : i + BATCH])

    speeds.put(_repeated(predict_all, len(inputs)))


def without_queue(paths: list[bytes], start: Barrier, speeds: "Queue[float]") -> None:
    """Read, decode and predict on one core, and keep nothing: what queue and database add to."""
    release = load_release(SHIPPED_MODEL)
    preprocessing = release.preprocessing
    engine = load_engine(release, Settings())
    engine.predict(np.zeros((BATCH, preprocessing.height, preprocessing.width, 3), np.float32))
    start.wait()

    started = time.perf_counter()
    for i in range(0, len(paths), BATCH):
        pixels = read_all(paths[i : i + BATCH], preprocessing)
        engine.predict(preprocessing.to_input(pixels))
    speeds.put(len(paths) / (time.perf_counter() - started))


def keras_predict(paths: list[bytes], start: Barrier, speeds: "Queue[float]") -> None:
    """Keras' `predict` on all cores, with its inputs in memory."""
    from worker.engines.keras import to_keras

    release = load_release(SHIPPED_MODEL)
    network = to_keras(release)
    inputs = release.preprocessing.to_input(read_all(paths, release.preprocessing))
    network.predict(inputs[: 2 * KERAS_BATCH], batch_size=KERAS_BATCH, verbose=0)
    start.wait()

    def predict_all() -> None:
        network.predict(inputs, batch_size=KERAS_BATCH, verbose=0)

    speeds.put(_repeated(predict_all, len(inputs)))


def plain_script(paths: list[bytes], start: Barrier, speeds: "Queue[float]") -> None:
    """The reference's way, on all cores: read and resize every picture, then one `predict`."""
    from PIL import Image

    from worker.engines.keras import to_keras

    release = load_release(SHIPPED_MODEL)
    network, preprocessing = to_keras(release), release.preprocessing
    blank = np.zeros((2 * KERAS_BATCH, preprocessing.height, preprocessing.width, 3))
    network.predict(blank, verbose=0)
    start.wait()

    started = time.perf_counter()
    pixels = []
    for path in paths:
        with Image.open(path) as image:
            pixels.append(resize(image.convert("RGB"), preprocessing))
    network.predict(preprocessing.to_input(np.stack(pixels)), batch_size=KERAS_BATCH, verbose=0)
    speeds.put(len(paths) / (time.perf_counter() - started))


@contextmanager
def embedded(**settings: str) -> Iterator[Deployment]:
    with tempfile.TemporaryDirectory() as data_dir:
        variables = {"CUEMILL_DATA_DIR": data_dir, **settings}
        with deployment("embedded", variables) as cuemill:
            yield cuemill


@contextmanager
def scaled(**settings: str) -> Iterator[Deployment]:
    with run_redis() as redis, run_postgres() as postgres:
        variables = {
            "CUEMILL_DATABASE_URL": postgres.create_database(),
            "CUEMILL_BROKER_URL": redis.url,
            **settings,
        }
        with deployment("scaled", variables) as cuemill:
            yield cuemill


def measure_job(
    name: str, cuemill: Deployment, folder: Path, cores: list[int] = CORES
) -> Measurement:
    """Classifies a folder as a job, with warm workers on these cores.

    The speed is from the first claim to the last commit.
    """
    database = cuemill.database()
    database.upgrade()
    os.sched_setaffinity(0, cores)  # The workers inherit it.
    cuemill.start("worker")
    os.sched_setaffinity(0, CORES)
    with tempfile.TemporaryDirectory() as warm_up:
        run_job(cuemill, database, draw(Path(warm_up), 8 * BATCH, FACE))

    with _sample_ticks(cores) as ticks:
        job_id = run_job(cuemill, database, folder)

    job = jobs.get(database, job_id)
    started, ended, speed = job.running_at, job.completed_at, job.images_per_second
    classified = job.status is JobStatus.COMPLETED and job.counts.classified == job.counts.total
    if not (classified and started and ended and speed):
        raise RuntimeError(f"Expected every image to be classified, but the job ended as {job}.")
    return Measurement(name, speed, _accuracy(database, job_id), _idle(ticks, started, ended))


@contextmanager
def _sample_ticks(cores: list[int]) -> Iterator[list[tuple[float, int, int]]]:
    """Records, every 50 ms, the time and the ticks of these cores so far: idle, and all."""
    names = {f"cpu{core}" for core in cores}
    ticks: list[tuple[float, int, int]] = []
    stopped = threading.Event()

    def sample() -> None:
        while not stopped.wait(0.05):
            lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
            by_core = [list(map(int, line[1:9])) for line in lines if line[0] in names]
            idle = sum(core[3] + core[4] for core in by_core)  # Idle, and waiting for I/O.
            ticks.append((time.time(), idle, sum(map(sum, by_core))))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield ticks
    finally:
        stopped.set()
        thread.join()


def _idle(ticks: list[tuple[float, int, int]], started: datetime, ended: datetime) -> float:
    """The share of idle ticks in the middle three fifths of a job."""
    margin = (ended - started).total_seconds() / 5
    first, last = started.timestamp() + margin, ended.timestamp() - margin
    middle = [(idle, total) for moment, idle, total in ticks if first <= moment <= last]
    return (middle[-1][0] - middle[0][0]) / (middle[-1][1] - middle[0][1])


def run_job(cuemill: Deployment, database: Database, folder: Path) -> int:
    """Classifies a folder, and returns the job's id when it has ended."""
    # Fresh, because some of the pictures may have been classified to warm up.
    job_id = int(cuemill.run("enqueue", "--fresh", folder).stdout)
    wait_until(lambda: jobs.get(database, job_id).status.ended, "the job to end", 3600, pause_s=0.5)
    return job_id


def _accuracy(database: Database, job_id: int) -> float | None:
    right = total = 0
    for record in results.stream(database, Filter(job_id, outcome=Outcome.CLASSIFIED)):
        label = record.path.split("/")[0]
        total += 1
        right += record.emotion == FER2013.get(label, label)
    return right / total if right else None


BARE = "bare engine"
BARE_ONE_CORE = "bare engine on one core"
KERAS = "Keras predict"
PLAIN = "plain script: Pillow, then Keras predict"
NO_QUEUE = "no queue, no database"
EMBEDDED = "embedded: SQLite"
SCALED = "scaled: PostgreSQL, Redis, Celery"
ONE_WORKER = "embedded, one worker on one core"
MORE_WORKERS = {
    count: f"embedded, {count} workers on {count} cores"
    for count in (2**i for i in range(1, 10))
    if count <= len(CORES)
}


def measure_all(folder: Path) -> Iterator[Measurement]:
    """Every way to classify the folder, one after another, each alone on the machine."""
    paths = folder_paths(folder)
    shares = [paths[i :: len(CORES)] for i in range(len(CORES))]
    yield Measurement(BARE, _in_processes(bare_engine, shares))
    yield Measurement(BARE_ONE_CORE, _in_processes(bare_engine, [paths]))
    yield Measurement(KERAS, _in_processes(keras_predict, [paths]))
    yield Measurement(PLAIN, _in_processes(plain_script, [paths]))
    yield Measurement(NO_QUEUE, _in_processes(without_queue, shares))

    with embedded() as cuemill:
        yield measure_job(EMBEDDED, cuemill, folder)
    with scaled() as cuemill:
        yield measure_job(SCALED, cuemill, folder)
    for workers, name in {1: ONE_WORKER, **MORE_WORKERS}.items():
        with embedded(CUEMILL_WORKERS=str(workers)) as cuemill:
            yield measure_job(name, cuemill, folder, CORES[:workers])


RATIOS = (
    (BARE, KERAS),
    (BARE, BARE_ONE_CORE),
    (EMBEDDED, BARE),
    (SCALED, BARE),
    (SCALED, EMBEDDED),
    (EMBEDDED, NO_QUEUE),
    (EMBEDDED, PLAIN),
    *((name, ONE_WORKER) for name in MORE_WORKERS.values()),
)


def compare(folders: dict[str, Path]) -> None:
    """Prints a row for each way, with a column for each folder, and then their ratios."""
    console, started = Console(width=120), time.monotonic()
    measurements: dict[str, list[Measurement]] = {}
    with console.status("") as status:
        for title, folder in folders.items():
            for measured in measure_all(folder):
                measurements.setdefault(measured.name, []).append(measured)
                rate = f"{measured.images_per_second:,.0f} images/s"
                status.update(f"{title}, {measured.name}: {rate}")

    speeds = Table("images/s", *folders, box=None)
    for name, row in measurements.items():
        speeds.add_row(name, *(_shown(measured) for measured in row))

    ratios = Table("ratio", *folders, box=None)
    for name, other in RATIOS:
        pairs = zip(measurements[name], measurements[other], strict=True)
        quotients = (f"{a.images_per_second / b.images_per_second:.2f}" for a, b in pairs)
        ratios.add_row(f"{name.split(':')[0]} / {other.split(':')[0]}", *quotients)

    minutes = (time.monotonic() - started) / 60
    console.print(speeds, "", ratios, "", describe(), highlight=False)
    console.print(f"It took {minutes:.1f} minutes.", highlight=False)


def _shown(measured: Measurement) -> str:
    text = f"{measured.images_per_second:,.0f}"
    if measured.accuracy is not None:
        text += f" ({measured.accuracy:.1%} correct)"
    if measured.idle is not None:
        text += f" ({measured.idle:.0%} idle)"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--full", action="store_true", help="ten times as many pictures")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        compare({arguments.folder.name: arguments.folder})
        return

    factor = 10 if arguments.full else 1
    with tempfile.TemporaryDirectory() as scratch:
        folders = {
            f"{factor * count:,} of {title}": draw(Path(scratch) / title, factor * count, size)
            for title, (count, size) in COUNTS.items()
        }
        compare(folders)


if __name__ == "__main__":
    main()
