"""Cuemill as users run it, measured: folders classified as jobs, from the first claim to the last
commit, by workers that are warm."""

import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.pictures import FACE, draw
from benchmarks.ways import BATCH, CORES
from models.labels import FER2013
from models.store import jobs, results
from models.store.database import Database
from models.store.filters import ResultFilter
from models.store.results import Record
from models.store.scans import FIRST_BATCH
from models.store.states import JobStatus, Outcome
from tests.integration.deployment import Deployment, deployment, usage, worker_processes
from tests.services import run_postgres, run_redis, wait_until


@dataclass(frozen=True)
class JobMeasurement:
    """How fast a folder was classified.

    Attributes:
        processor_ms: the workers' processor time an image.
        images: how many there were.
        records: of the faces.
        idle: the share of the cores' time spent idle in the middle three fifths of the job, which
            leaves out the start, when one core lists the folder, and the end, when batches run out.
    """

    images_per_second: float
    processor_ms: float
    images: int
    records: Sequence[Record]
    idle: float

    @property
    def accuracy(self) -> float | None:
        """None unless subfolders are named by label."""
        labels = [record.path.split("/")[0] for record in self.records]
        pairs = zip(self.records, labels, strict=True)
        right = sum(record.emotion == FER2013.get(label, label) for record, label in pairs)
        return right / len(self.records) if right else None


def job_size(images: float) -> int:
    """About this many images, so that every worker gets as many batches as the others."""
    step = FIRST_BATCH * len(CORES)
    return step * max(1, round(images / step))


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


class WarmWorkers:
    """Workers on these cores that have classified something already.

    Args:
        warm_up: a folder; None = of cropped faces.
    """

    def __init__(
        self,
        cuemill: Deployment,
        cores: Sequence[int] = CORES,
        faces: str = "whole",
        warm_up: Path | None = None,
    ) -> None:
        self._cuemill, self._cores, self._faces = cuemill, cores, faces
        self._database = cuemill.database()
        self._database.upgrade()
        os.sched_setaffinity(0, cores)  # The workers inherit it.
        self._program = cuemill.start("worker").pid
        os.sched_setaffinity(0, CORES)

        with tempfile.TemporaryDirectory() as scratch:
            folder = warm_up or draw(Path(scratch), 8 * BATCH, FACE)
            run_job(cuemill, self._database, folder, faces)

    def measure(self, folder: Path) -> JobMeasurement:
        """Classifies a folder."""
        before = usage(self._program, 0)
        with _sample_ticks(self._cores) as ticks:
            job_id = run_job(self._cuemill, self._database, folder, self._faces)

        job = jobs.get(self._database, job_id)
        processor_ms = before.per_image(usage(self._program, job.counts.total))
        started, ended, speed = job.running_at, job.completed_at, job.images_per_second
        done = job.counts.classified + job.counts.no_face
        if not (job.status is JobStatus.COMPLETED and done == job.counts.total):
            raise RuntimeError(f"Expected a result for every image, but the job ended as {job}.")
        if not (started and ended and speed):
            raise RuntimeError(f"The job {job} has no times.")

        classified = ResultFilter(job_id, outcome=Outcome.CLASSIFIED)
        records = list(results.stream(self._database, classified))
        idle = _idle(ticks, started, ended)
        return JobMeasurement(speed, processor_ms, job.counts.total, records, idle)

    def peak_memory_mb(self) -> float:
        """Of the largest worker process, since it started."""
        peaks = [0.0]
        for pid in worker_processes(self._program):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peaks.append(int(line.split()[1]) * 1024 / 1e6)
        return max(peaks)


def run_job(cuemill: Deployment, database: Database, folder: Path, faces: str = "whole") -> int:
    """Classifies a folder, and returns the job's id when it has ended."""
    # Fresh, because some of the pictures may have been classified to warm up.
    job_id = int(cuemill.run("enqueue", "--fresh", "--faces", faces, folder).stdout)
    wait_until(lambda: jobs.get(database, job_id).status.ended, "the job to end", 3600, pause_s=0.5)
    return job_id


@contextmanager
def _sample_ticks(cores: Sequence[int]) -> Iterator[list[tuple[float, int, int]]]:
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
    if len(middle) < 2:
        return 0.0
    return (middle[-1][0] - middle[0][0]) / (middle[-1][1] - middle[0][1])
