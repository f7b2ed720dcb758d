"""`cuemill classify`."""

import typer

from cli.annotate import annotate, check_copies
from cli.context import connect, make_submission
from cli.options import (
    Annotate,
    Detector,
    Faces,
    FaceThreshold,
    Folder,
    Fresh,
    MinFace,
    Model,
    Recursive,
    ResultFile,
    ResultFormat,
    RetentionDays,
    TrustMtime,
    Workers,
)
from cli.output import choose_format, err, write_results
from cli.progress import report_end, watch_job
from models.pictures.detection import MIN_FACE, THRESHOLD, FaceMode
from models.release.detectors import choose_detection
from models.store import jobs, results
from models.store.states import JobStatus

app = typer.Typer()


@app.command()
def classify(
    folder: Folder,
    model: Model = None,
    result_format: ResultFormat = None,
    output: ResultFile = None,
    copies: Annotate = None,
    faces: Faces = FaceMode.AUTO,
    min_face: MinFace = MIN_FACE,
    face_threshold: FaceThreshold = THRESHOLD,
    detector: Detector = None,
    recursive: Recursive = True,
    fresh: Fresh = False,
    trust_mtime: TrustMtime = False,
    retention_days: RetentionDays = None,
    workers: Workers = None,
) -> None:
    """Classify a folder on this machine and print the results.

    If interrupted, run the same command again to resume. Images that have not changed since an
    earlier job with the same model keep its predictions.
    """
    from worker.embedded import Supervisor
    from worker.outdated import stop_when_outdated

    chosen_format = choose_format(result_format, output)
    settings, db = connect(workers=workers)

    submission = make_submission(
        settings,
        db,
        folder,
        model=model,
        recursive=recursive,
        fresh=fresh,
        trust_mtime=trust_mtime,
        retention_days=retention_days,
        detection=choose_detection(faces, min_face, face_threshold, detector),
    )
    if copies is not None:
        check_copies(copies, submission.folder)

    job = jobs.find_live(db, submission)
    if job is not None:
        err.print(f"Resuming job {job.id}.")
    else:
        job, _ = jobs.submit(db, submission)

    conditions = results.Filter(job_id=job.id)
    try:
        with stop_when_outdated(db, settings.sweep_s), Supervisor(settings, job.id):
            job = watch_job(db, job.id)

            # Print before the workers stop, which takes a moment.
            if job.status is JobStatus.COMPLETED:
                write_results(results.stream(db, conditions), chosen_format, output)
    except KeyboardInterrupt:
        err.print(f"Interrupted. Run the same command again to resume job {job.id}.")
        raise typer.Exit(130) from None

    if copies is not None and job.status is JobStatus.COMPLETED:
        annotate(results.stream(db, conditions), job.folder, copies, job.counts.classified)
    report_end(db, job)
