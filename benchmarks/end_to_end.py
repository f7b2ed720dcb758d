"""The whole way, files to committed rows, against the bare network and a plain script, side by side in one run.

make bench                                    the table that the README quotes, on pictures that it draws itself
python -m benchmarks.end_to_end --full        the same on ten times as many
python -m benchmarks.end_to_end FOLDER        on a folder of yours; subfolders named by label also give accuracy
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
class Figure:
    """What one way of classifying a folder gave.

    Attributes:
        accuracy: None when subfolders name no labels.
        idle: the share of the cores' time in which nothing ran on them, in the middle three fifths of the job: what is
            left out is where one core lists, or has no more batch to take. None where it isn't asked for.
    """

    way: str
    images_per_second: float
    accuracy: float | None = None
    idle: float | None = None


def _in_processes(work: Callable[..., Any], shares: list[list[bytes]]) -> float:
    """Images per second, summed over a process for each share; all begin together, once each is warm."""
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
    """Of all pictures in a folder."""
    root = os.fsencode(folder.resolve())
    return [os.path.join(root, path) for path in walk(root, True)]


def pixels(paths: list[bytes], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Pictures decoded and resized as a worker does: uint8 (n, height, width, 3)."""
    files = (read_image(os.path.dirname(path), os.path.basename(path))[0] for path in paths)
    return np.stack([read_pixels(data, preprocessing) for data in files])


def _again(work: Callable[[], object], images: int) -> float:
    """Images per second of some work that is done again and again for 3 s: once may be over in hundredths."""
    begun, times = time.perf_counter(), 0
    while (taken := time.perf_counter() - begun) < 3:
        work()
        times += 1
    return times * images / taken


def bare_engine(paths: list[bytes], start: Barrier, speeds: "Queue[float]") -> None:
    """The network alone on one core, as a worker has it: inputs ready in memory."""
    release = load_release(SHIPPED_MODEL)
    inputs = release.preprocessing.to_input(pixels(paths, release.preprocessing))
    engine = load_engine(release, Settings())
    engine.predict(inputs[:BATCH])
    start.wait()

    def once() -> None:
        for i in range(0, len(inputs), BATCH):
            engine.predict(inputs[i : i + BATCH])

    speeds.put(_again(once, len(inputs)))


def without_queue(paths: list[bytes], start: Barrier, speeds: "Queue[float]") -> None:
    """Read, decode and predict on one core, and keep nothing: what a queue and a database could cost nothing above."""
    release = load_release(SHIPPED_MODEL)
    engine = load_engine(release, Settings())
    engine.predict(
        np.zeros((BATCH, release.preprocessing.height, release.preprocessing.width, 3), np.float32)
    )
    start.wait()
    begun = time.perf_counter()
    for i in range(0, len(paths), BATCH):
        engine.predict(
            release.preprocessing.to_input(pixels(paths[i : i + BATCH], release.preprocessing))
        )
    speeds.put(len(paths) / (time.perf_counter() - begun))


def keras_predict(paths: list[bytes], start: Barrier, speeds: "Queue[float]") -> None:
    """Keras' `predict` on all cores: inputs ready in memory."""
    from worker.engines.keras import to_keras

    release = load_release(SHIPPED_MODEL)
    network = to_keras(release)
    inputs = release.preprocessing.to_input(pixels(paths, release.preprocessing))
    network.predict(inputs[: 2 * KERAS_BATCH], batch_size=KERAS_BATCH, verbose=0)
    start.wait()
    speeds.put(
        _again(lambda: network.predict(inputs, batch_size=KERAS_BATCH, verbose=0), len(inputs))
    )


def plain_script(paths: list[bytes], start: Barrier, speeds: "Queue[float]") -> None:
    """What the reference did, on all cores: read and resize every picture, then one `predict`."""
    from PIL import Image

    from worker.engines.keras import to_keras

    release = load_release(SHIPPED_MODEL)
    network, preprocessing = to_keras(release), release.preprocessing
    network.predict(
        np.zeros((2 * KERAS_BATCH, preprocessing.height, preprocessing.width, 3)), verbose=0
    )
    start.wait()
    begun = time.perf_counter()
    pixels = []
    for path in paths:
        with Image.open(path) as image:
            pixels.append(resize(image.convert("RGB"), preprocessing))
    network.predict(preprocessing.to_input(np.stack(pixels)), batch_size=KERAS_BATCH, verbose=0)
    speeds.put(len(paths) / (time.perf_counter() - begun))


@contextmanager
def embedded(**settings: str) -> Iterator[Deployment]:
    with (
        tempfile.TemporaryDirectory() as data,
        deployment("embedded", {"CUEMILL_DATA_DIR": data, **settings}) as made,
    ):
        yield made


@contextmanager
def scaled(**settings: str) -> Iterator[Deployment]:
    with run_redis() as redis, run_postgres() as postgres:
        urls = {"CUEMILL_DATABASE_URL": postgres.create_database(), "CUEMILL_BROKER_URL": redis.url}
        with deployment("scaled", urls | settings) as made:
            yield made


def through(way: str, made: Deployment, folder: Path, cores: list[int] = CORES) -> Figure:
    """A job's images per second from its first claim to its last commit, with the workers warm, on these cores only."""
    database = made.database()
    database.upgrade()
    os.sched_setaffinity(0, cores)  # What is started now inherits it.
    made.start("worker")
    os.sched_setaffinity(0, CORES)
    with tempfile.TemporaryDirectory() as warm:
        run_job(made, database, draw(Path(warm), 8 * BATCH, FACE))
    with _ticking(cores) as ticks:
        job_id = run_job(made, database, folder)
    job = jobs.get(database, job_id)
    begun, ended, speed = job.running_at, job.completed_at, job.images_per_second
    classified = job.status is JobStatus.COMPLETED and job.counts.classified == job.counts.total
    if not (classified and begun and ended and speed):
        raise RuntimeError(f"Expected every image to be classified; the job ended as {job}.")
    return Figure(way, speed, _accuracy(database, job_id), _idle(ticks, begun, ended))


@contextmanager
def _ticking(cores: list[int]) -> Iterator[list[tuple[float, int, int]]]:
    """Every 50 ms: the moment, and the ticks that these cores have had until then, idle and in all."""
    names = {f"cpu{core}" for core in cores}
    ticks: list[tuple[float, int, int]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
            each = [list(map(int, line[1:9])) for line in lines if line[0] in names]
            ticks.append(
                (time.time(), sum(core[3] + core[4] for core in each), sum(map(sum, each)))
            )  # Idle, iowait.

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield ticks
    finally:
        done.set()
        thread.join()


def _idle(ticks: list[tuple[float, int, int]], begun: datetime, ended: datetime) -> float:
    """The share of idle ticks in the middle three fifths of that time."""
    margin = (ended - begun).total_seconds() / 5
    first, last = begun.timestamp() + margin, ended.timestamp() - margin
    inner = [(idle, total) for moment, idle, total in ticks if first <= moment <= last]
    return (inner[-1][0] - inner[0][0]) / (inner[-1][1] - inner[0][1])


def run_job(made: Deployment, database: Database, folder: Path) -> int:
    """Has a folder classified; the job's id, once it has ended."""
    job_id = int(
        made.run("enqueue", "--fresh", folder).stdout
    )  # The warming pictures are among those to be measured.
    wait_until(lambda: jobs.get(database, job_id).status.ended, "the job to end", 3600, pause_s=0.5)
    return job_id


def _accuracy(database: Database, job_id: int) -> float | None:
    right = total = 0
    for record in results.stream(database, Filter(job_id, outcome=Outcome.CLASSIFIED)):
        label = record.path.split("/")[0]
        total += 1
        right += record.emotion == FER2013.get(label, label)
    return right / total if right else None


BARE, ALONE = "bare engine", "bare engine on one core"
KERAS, PLAIN = "Keras predict", "plain script: Pillow, then Keras predict"
NO_QUEUE, EMBEDDED, SCALED = (
    "no queue, no database",
    "embedded: SQLite",
    "scaled: PostgreSQL, Redis, Celery",
)
ONE = "embedded, one worker on one core"
MORE = {
    n: f"embedded, {n} workers on {n} cores"
    for n in (2**i for i in range(1, 10))
    if n <= len(CORES)
}


def ways(folder: Path) -> Iterator[Figure]:
    """Every way of classifying the folder, one after another, each alone on the machine."""
    paths = folder_paths(folder)
    shares = [paths[i :: len(CORES)] for i in range(len(CORES))]
    yield Figure(BARE, _in_processes(bare_engine, shares))
    yield Figure(ALONE, _in_processes(bare_engine, [paths]))
    yield Figure(KERAS, _in_processes(keras_predict, [paths]))
    yield Figure(PLAIN, _in_processes(plain_script, [paths]))
    yield Figure(NO_QUEUE, _in_processes(without_queue, shares))
    with embedded() as made:
        yield through(EMBEDDED, made, folder)
    with scaled() as made:
        yield through(SCALED, made, folder)
    for workers, way in {1: ONE, **MORE}.items():
        with embedded(CUEMILL_WORKERS=str(workers)) as made:
            yield through(way, made, folder, CORES[:workers])


RATIOS = (
    *((BARE, KERAS), (BARE, ALONE), (EMBEDDED, BARE), (SCALED, BARE), (SCALED, EMBEDDED)),
    *((EMBEDDED, NO_QUEUE), (EMBEDDED, PLAIN), *((more, ONE) for more in MORE.values())),
)


def compare(folders: dict[str, Path]) -> None:
    """Prints a row for each way and folder, then the ratios that say how good that is."""
    console, begun = Console(width=120), time.monotonic()
    figures = Table("images/s", *folders, box=None)
    ratios = Table("ratio", *folders, box=None)
    found: dict[str, list[Figure]] = {}
    with console.status("") as status:
        for title, folder in folders.items():
            for figure in ways(folder):
                found.setdefault(figure.way, []).append(figure)
                status.update(f"{title}, {figure.way}: {figure.images_per_second:,.0f} images/s")
    for way, row in found.items():
        figures.add_row(way, *(_shown(figure) for figure in row))
    for way, other in RATIOS:
        pairs = zip(found[way], found[other], strict=True)
        quotients = (f"{a.images_per_second / b.images_per_second:.2f}" for a, b in pairs)
        ratios.add_row(f"{way.split(':')[0]} / {other.split(':')[0]}", *quotients)
    console.print(figures, "", ratios, "", describe(), highlight=False)
    console.print(f"It took {(time.monotonic() - begun) / 60:.1f} minutes.", highlight=False)


def _shown(figure: Figure) -> str:
    right = "" if figure.accuracy is None else f" ({figure.accuracy:.1%} right)"
    idle = "" if figure.idle is None else f" ({figure.idle:.0%} idle)"
    return f"{figure.images_per_second:,.0f}{right}{idle}"


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
    with tempfile.TemporaryDirectory() as drawn:
        times = 10 if arguments.full else 1
        counts = {title: (times * count, size) for title, (count, size) in COUNTS.items()}
        compare(
            {
                f"{n:,} of {title}": draw(Path(drawn) / title, n, size)
                for title, (n, size) in counts.items()
            }
        )


if __name__ == "__main__":
    main()
