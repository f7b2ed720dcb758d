"""`cuemill enqueue`."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.context import announce, check_queue, connect, make_submission
from cli.options import (
    Detector,
    Exclude,
    Faces,
    FaceThreshold,
    Folder,
    Fresh,
    Json,
    MinFace,
    Model,
    Recursive,
    RetentionDays,
    SystemFolders,
    TrustMtime,
)
from cli.output import err, print_json
from cli.progress import report_end, watch_job
from models.errors import UsageError
from models.free_text import check_json, check_key
from models.pictures.detection import MIN_FACE, THRESHOLD, FaceMode
from models.release.detectors import choose_detection
from models.store import jobs

if TYPE_CHECKING:
    from cuemill_client.options import JobOptions

app = typer.Typer()


def _parse_metadata(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
        if isinstance(value, dict):
            return check_json(value)
        problem = "it is no object"
    except (ValueError, RecursionError) as error:
        problem = str(error)

    raise typer.BadParameter(f'Expected a JSON object, such as {{"study": 7}}: {problem}.')


def _check_key(text: str) -> str:
    try:
        return check_key(text)
    except ValueError as error:
        raise typer.BadParameter(f"The key {error}.") from None


@app.command()
def enqueue(
    folder: Folder,
    model: Model = None,
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
    metadata: Annotated[
        dict[str, Any] | None,
        typer.Option(
            metavar="JSON",
            parser=_parse_metadata,
            help="A JSON object of up to 16 kB, stored with the job.",
        ),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            parser=_check_key,
            help="Repeating the command with the same key returns the same job.",
        ),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Upload the folder's images to this server, such as https://cuemill.example.org, "
            "and queue them there. If interrupted, run the same command again: only what is "
            "missing is sent.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="CUEMILL_KEY",
            show_envvar=False,
            help="Key for --server. Rather set CUEMILL_KEY, which other users do not see.",
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Show progress until the job ends; exit with 1 if it failed."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Queue a folder for running workers and print the job's id."""
    if server is not None:
        if detector is not None or idempotency_key is not None:
            raise UsageError(
                "--server takes neither --detector nor --idempotency-key: the server has its own "
                "detector, and an upload that is interrupted resumes without a key."
            )
        from cli.remote import enqueue_at

        options: JobOptions = {
            "model": model,
            "faces": faces.value,
            "min_face": min_face,
            "face_threshold": face_threshold,
            "recursive": recursive,
            "exclude": exclude or [],
            "system_folders": system_folders,
            "fresh": fresh,
            "trust_mtime": trust_mtime,
            "retention_days": retention_days,
            "metadata": metadata,
        }
        enqueue_at(server, key, folder, options, wait=wait, as_json=as_json)
        return

    settings, db = connect()

    submission = make_submission(
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
        metadata=metadata,
        idempotency_key=idempotency_key,
    )
    queue_answers = check_queue(settings)
    job, _ = jobs.submit(db, submission)
    if queue_answers:
        announce(settings, db)

    if not as_json:
        typer.echo(job.id)
    if not settings.broker_url:
        err.print("Queued for workers on this database: run `cuemill worker` or `cuemill up`.")

    if wait:
        job = watch_job(db, job.id)
    if as_json:
        print_json(job.to_plain(settings.retention_days))
    if wait:
        report_end(db, job)
