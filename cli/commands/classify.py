"""`cuemill classify`."""

from collections.abc import Iterator

import typer

from cli.annotate import annotate, check_copies
from cli.context import connect, make_submission
from cli.options import (
    Annotate,
    Detector,
    Exclude,
    Faces,
    FaceThreshold,
    Fresh,
    MinFace,
    Model,
    Paths,
    Recursive,
    ResultFile,
    ResultFormat,
    RetentionDays,
    SystemFolders,
    TrustMtime,
    Workers,
)
from cli.output import choose_format, err, write_results
from cli.progress import report_end, watch_job
from models.errors import UsageError
from models.pictures.detection import MIN_FACE, THRESHOLD, FaceMode
from models.release.detectors import choose_detection
from models.sources.selection import group_by_folder
from models.store import jobs, results
from models.store.database import Database
from models.store.filters import ResultFilter
from models.store.jobs import JobView, Submission
from models.store.results import Record
from models.store.states import JobStatus

app = typer.Typer()


@app.command()
def classify(
    paths: Paths,
    model: Model = None,
    result_format: ResultFormat = None,
    output: ResultFile = None,
    copies: Annotate = None,
    faces: Faces = FaceMode.AUTO,
    min_face: MinFace = MIN_FACE,
    face_threshold: FaceThreshold = THRESHOLD,
    detector: Detector = None,
    recursive: Recursive = True,
    exclude: Exclude = None,
    system_folders: SystemFolders = False,
    fresh: Fresh = False,
    trust_mtime: TrustMtime = False,
    retention_days: RetentionDays = None,
    workers: Workers = None,
) -> None:
    """Classify folders or images on this machine and print the results.

    If interrupted, run the same command again to resume. Images that have not changed since an
    earlier job with the same model keep its predictions.
    """
    from worker.embedded import Supervisor

    chosen_format = choose_format(result_format, output)
    settings, db = connect(workers=workers)

    # All are checked before the first is classified.
    submissions = [
        make_submission(
            settings,
            db,
            folder,
            model=model,
            recursive=recursive,
            exclude=exclude or [],
            system_folders=system_folders,
            fresh=fresh,
            trust_mtime=trust_mtime,
            retention_days=retention_days,
            detection=choose_detection(faces, min_face, face_threshold, detector),
            only=only,
        )
        for folder, only in group_by_folder(paths)
    ]
    if copies is not None:
        if len(submissions) > 1:
            raise UsageError("--annotate copies from one folder. Name one, or files of one.")
        check_copies(copies, submissions[0].folder)

    done: list[JobView] = []
    for submission in submissions:
        done.append(_find_or_submit(db, submission))
        try:
            with Supervisor(settings, done[-1].id):
                done[-1] = watch_job(db, done[-1].id)

                # Print before the workers stop, which takes a moment.
                completed = [job.id for job in done if job.status is JobStatus.COMPLETED]
                if completed and len(done) == len(submissions):
                    write_results(_results_of(db, completed), chosen_format, output)
        except KeyboardInterrupt:
            err.print(f"Interrupted. Run the same command again to resume job {done[-1].id}.")
            raise typer.Exit(130) from None

    if copies is not None and done[0].status is JobStatus.COMPLETED:
        records = results.stream(db, ResultFilter(job_id=done[0].id))
        annotate(records, done[0].folder, copies, done[0].counts.classified)
    report_end(db, *done)


def _find_or_submit(db: Database, submission: Submission) -> JobView:
    job = jobs.find_live(db, submission)
    if job is not None:
        err.print(f"Resuming job {job.id}.")
        return job

    job, _ = jobs.submit(db, submission)
    return job


def _results_of(db: Database, job_ids: list[int]) -> Iterator[Record]:
    for job_id in job_ids:
        yield from results.stream(db, ResultFilter(job_id=job_id))
