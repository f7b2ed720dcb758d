"""Progress bars: of a job, and of a training."""

import signal
import time
from collections.abc import Mapping
from typing import Final, NoReturn

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from cli.output import complain, count_of, counts_line, err, print_balance
from models.sources.skipped import describe
from models.store import jobs, results
from models.store.database import Database
from models.store.jobs import JobView
from models.store.states import JobStatus

POLL_S: Final = 0.1
LINE_S: Final = 30.0
"""Without a terminal, a line of progress is printed this often."""

_READING: Final = "reading images"


def watch_job(db: Database, job_id: int) -> JobView:
    """Shows a job's progress until it has ended."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("looking for images", total=None, rate="")
        last_line = time.monotonic()

        while True:
            job = jobs.get(db, job_id)
            rate = job.images_per_second

            progress.update(
                task,
                description="classifying" if job.scanned_at else "looking for images, classifying",
                completed=job.counts.total - job.counts.pending,
                total=job.counts.total or None,
                rate=f"{rate:,.0f}/s" if rate else "",
            )
            if job.status.ended:
                return job
            if not err.is_terminal and time.monotonic() > last_line + LINE_S:
                err.print(counts_line(job))
                last_line = time.monotonic()

            time.sleep(POLL_S)


def report_end(db: Database, *ended: JobView) -> None:
    """Prints how jobs ended; exits with 1 unless all completed and every file could be read."""
    are_good = [_report(db, job) for job in ended]
    if not all(are_good):
        raise typer.Exit(1)


def _report(db: Database, job: JobView) -> bool:
    if job.error is not None:
        complain(job.error["message"])

    uncertain = results.count_uncertain(db, job.id)
    if uncertain is not None and uncertain[0]:
        count, threshold = uncertain
        noun, verb = ("prediction", "scores") if count == 1 else ("predictions", "score")
        err.print(
            f"{count:,} {noun} {verb} below {threshold:.2f}, the threshold above which 80 % were "
            "correct in validation."
        )
    troubled = results.count_troubled(db, job.id)
    if troubled:
        complain(
            f"A drive, a mount or this host failed for {count_of(troubled, 'image')} in all tries, "
            f"so no result says anything about them. Once that is mended, run "
            f"`cuemill retry {job.id}`."
        )
    for sentence in describe(job.skipped, job.exclude):
        err.print(sentence)
    err.print(counts_line(job))

    return job.status is JobStatus.COMPLETED and not troubled


class TrainingBars(Progress):
    """Shows a training's progress: one bar for reading images, one for each candidate.

    Implements `trainer.progress.Progress`. After Ctrl-C, the next call of `batch` raises
    KeyboardInterrupt again: Python drops the first one if the signal arrives within a `__del__`
    method, of which TensorFlow has many.
    """

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=err,
        )
        self._tasks_by_description: dict[str, TaskID] = {}
        self._candidate = ""
        self._epochs = 0
        self._interrupted = False
        self._previous_handler = signal.getsignal(signal.SIGINT)

    def start(self) -> None:
        # Shells make background programs ignore Ctrl-C. Leave it so.
        if self._previous_handler is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._interrupt)
        super().start()

    def stop(self) -> None:
        super().stop()
        signal.signal(signal.SIGINT, self._previous_handler)

    def _interrupt(self, *_: object) -> NoReturn:
        self._interrupted = True
        raise KeyboardInterrupt

    def _show(self, description: str, done: int, total: int) -> None:
        if description not in self._tasks_by_description:
            self._tasks_by_description[description] = self.add_task(description)
        self.update(self._tasks_by_description[description], completed=done, total=total)

    def _hide(self, description: str) -> None:
        if description in self._tasks_by_description:
            self.remove_task(self._tasks_by_description.pop(description))

    def note(self, description: str) -> None:
        """Shows a step of unknown length."""
        self.add_task(description, total=None)

    def read(self, done: int, total: int) -> None:
        self._show(_READING, done, total)

    def data(self, train: Mapping[str, int], validation: Mapping[str, int], dropped: int) -> None:
        self._hide(_READING)
        print_balance({"train": train, "validation": validation})
        if dropped:
            err.print(
                f"Dropped {dropped:,} training images whose photograph is in the validation set."
            )

    def warning(self, text: str) -> None:
        err.print(f"Warning: {text}")

    def candidate(self, name: str, epochs: int) -> None:
        self._candidate, self._epochs = name, epochs

    def batch(self, epoch: int, done: int, total: int) -> None:
        if self._interrupted:
            raise KeyboardInterrupt

        # Count the batches of all epochs, so that the time remaining is the candidate's.
        self._show(self._candidate, (epoch - 1) * total + done, self._epochs * total)

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        values = [f"{name} {value:.4f}" for name, value in metrics.items() if name != "seconds"]
        values.append(f"{metrics['seconds']:.0f} s")
        err.print(f"{self._candidate} epoch {epoch}: {', '.join(values)}")
