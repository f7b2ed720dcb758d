"""`cuemill enqueue`."""

import typer

from cli.context import announce, check_queue, connect, make_submission
from cli.options import (
    Detector,
    Faces,
    FaceThreshold,
    Folder,
    Fresh,
    Json,
    MinFace,
    Model,
    Recursive,
    RetentionDays,
    TrustMtime,
)
from cli.output import err, job_fields, print_json
from models.pictures.detection import MIN_FACE, THRESHOLD, FaceMode
from models.release.detectors import choose_detection
from models.store import jobs

app = typer.Typer()


@app.command()
def enqueue(
    folder: Folder,
    model: Model = None,
    faces: Faces = FaceMode.AUTO,
    min_face: MinFace = MIN_FACE,
    face_threshold: FaceThreshold = THRESHOLD,
    detector: Detector = None,
    recursive: Recursive = True,
    fresh: Fresh = False,
    trust_mtime: TrustMtime = False,
    retention_days: RetentionDays = None,
    as_json: Json = False,
) -> None:
    """Queue a folder for running workers and print the job's id."""
    settings, db = connect()

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
    queue_answers = check_queue(settings)
    job, _ = jobs.submit(db, submission)
    if queue_answers:
        announce(settings, db)

    if as_json:
        print_json(job_fields(job, settings.retention_days))
    else:
        typer.echo(job.id)

    if not settings.broker_url:
        err.print("Queued for workers on this database: run `cuemill worker` or `cuemill up`.")
