"""Throughput from files to committed rows, against the bare network and a plain script.

make bench                                  the tables of docs/performance.md, on drawn pictures
python -m benchmarks.end_to_end --full      ten times as long
python -m benchmarks.end_to_end FOLDER      your own folder of faces; subfolders named by label give
                                            accuracy

Every way works for about as many seconds: each first finds out how many pictures that takes.
"""

import argparse
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path

from rich.console import Console

from benchmarks.jobs import JobMeasurement, WarmWorkers, embedded, job_size, scaled
from benchmarks.photographs import measure_photographs
from benchmarks.pictures import FACE, PHOTOGRAPH, VIDEO, draw, repeat
from benchmarks.report import Report, print_hardware
from benchmarks.ways import (
    CORES,
    bare_engine,
    keras_predict,
    measure,
    plain_script,
    without_queue,
)
from tests.integration.deployment import Deployment

SECONDS = 3.0
SIZES = {"48x48": (FACE, 512), "640x480": (VIDEO, 64), "12 megapixels": (PHOTOGRAPH, 8)}
"""Of the pictures, and how many different ones are drawn."""

BARE = "bare engine"
BARE_ONE_CORE = "bare engine on one core"
KERAS = "Keras predict"
PLAIN = "plain script: Pillow, then Keras predict"
NO_QUEUE = "no queue, no database"
EMBEDDED = "embedded: SQLite"
SCALED = "scaled: PostgreSQL, Redis, Celery"
ONE_WORKER = "one worker on one core"
MORE_WORKERS = {
    count: f"{count} workers on {count} cores"
    for count in (2**i for i in range(1, 10))
    if count <= len(CORES)
}

PROCESSES = {
    BARE: (bare_engine, len(CORES)),
    BARE_ONE_CORE: (bare_engine, 1),
    KERAS: (keras_predict, 1),
    PLAIN: (plain_script, 1),
    NO_QUEUE: (without_queue, len(CORES)),
}
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


def compare(console: Console, folders: dict[str, Path], seconds: float) -> None:
    """Prints a row for each way, with a column for each folder, and then their ratios."""
    report = Report(console, "whole pictures: images/s", list(folders))
    paths = list(folders.values())
    for name, (load, processes) in PROCESSES.items():
        with console.status(f"{name} ..."):
            measured = measure(load, paths, seconds, processes)
        report.add(name, [each.rate for each in measured])

    deployments: dict[str, tuple[AbstractContextManager[Deployment], int]] = {
        EMBEDDED: (embedded(), len(CORES)),
        SCALED: (scaled(), len(CORES)),
    }
    for workers, name in {1: ONE_WORKER, **MORE_WORKERS}.items():
        deployments[name] = embedded(CUEMILL_WORKERS=str(workers)), workers
    for name, (deployment, cores) in deployments.items():
        with console.status(f"{name} ..."), deployment as cuemill:
            warm = WarmWorkers(cuemill, CORES[:cores])
            jobs = [warm.measure(path) for path in paths]
        report.add(name, [job.images_per_second for job in jobs], [_note(job) for job in jobs])

    report.compare(RATIOS)


def _note(job: JobMeasurement) -> str:
    note = f"{job.idle:.0%} idle"
    return note if job.accuracy is None else f"{job.accuracy:.1%} correct, {note}"


def draw_faces(scratch: Path, seconds: float) -> dict[str, Path]:
    """Pictures of each size, as many as keep Cuemill busy for this long."""
    folders = [draw(scratch / title, count, size) for title, (size, count) in SIZES.items()]
    measured = measure(without_queue, folders, 0.5)
    sizes = [job_size(each.rate * len(CORES) * seconds) for each in measured]
    for folder, count in zip(folders, sizes, strict=True):
        repeat(folder, count)
    titles = [f"{count:,} of {title}" for count, title in zip(sizes, SIZES, strict=True)]
    return dict(zip(titles, folders, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--full", action="store_true", help="ten times as long")
    arguments = parser.parse_args()

    started, console = time.monotonic(), Console(width=180)
    seconds = SECONDS * (10 if arguments.full else 1)
    if arguments.folder is not None:
        compare(console, {arguments.folder.name: arguments.folder}, seconds)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            with console.status("drawing faces ..."):
                folders = draw_faces(Path(scratch), seconds)
            compare(console, folders, seconds)
        measure_photographs(console, seconds)
    print_hardware(console, time.monotonic() - started)


if __name__ == "__main__":
    main()
