"""Work for a server on another machine: its files are uploaded first."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

import typer

from cli.output import complain, count_of, counts_line, err, print_json
from cuemill_client import (
    Client,
    ClientError,
    InvalidRequestError,
    Job,
    JobFailedError,
    LocalFile,
    NotFoundError,
    Upload,
    UploadIncompleteError,
)
from cuemill_client.options import JobOptions
from models.atomic import replacing
from models.errors import CuemillError, UsageError
from models.settings import load_settings
from models.sources.exclusions import Exclusions, patterns_for
from models.sources.names import to_text
from models.sources.roots import check_folder
from models.sources.walk import Passing, walk

SHOWN: Final = 10
"""Files that cannot be uploaded and are named; the others are counted."""


class ServerError(CuemillError):
    """The server refuses, or does not answer."""

    code = "server"


def enqueue_at(
    server: str, key: str | None, folder: Path, options: JobOptions, *, wait: bool, as_json: bool
) -> None:
    """Uploads a folder, submits a job of it and prints the job's id.

    Interrupted, it sends only what is missing when it is called again.

    Raises:
        UsageError: the folder or the address cannot be used, or the server refuses the options.
        ServerError: the server does not answer, or refuses for another reason.
    """
    files = _list_files(folder, options)
    if not files:
        raise UsageError(f"{folder} contains no image.")

    with _translated_errors(), Client(server, key) as client:
        job, is_whole = _upload_and_submit(client, note_of(server, folder), files, options)
        if not as_json:
            typer.echo(job.id)
        if wait:
            try:
                job = client.wait(job)
            except JobFailedError as error:
                job = error.job
                complain(error)
        if as_json:
            print_json(asdict(job))

    if wait:
        err.print(counts_line(job))
    if not is_whole or (wait and job.status != "completed"):
        raise typer.Exit(1)


def _upload_and_submit(
    client: Client, note: Path, files: list[LocalFile], options: JobOptions
) -> tuple[Job, bool]:
    """
    Args:
        note: keeps the upload's id until it has a job.

    Returns:
        The job, and whether it has all files.
    """
    upload = _find_upload(client, note)
    if upload is not None and upload.job_id is not None:
        # The answer to an earlier call was lost.
        note.unlink()
        return client.job(upload.job_id), True

    if upload is None:
        upload = client.create_upload()
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(note) as temporary:
            temporary.write_text(upload.id)
    elif upload.files:
        err.print(f"Resuming the upload: {count_of(upload.files, 'file')} are there.")

    refused: Mapping[str, str] = {}
    try:
        client.upload(files, into=upload)
    except UploadIncompleteError as error:
        refused = error.refused
    except KeyboardInterrupt:
        err.print("Interrupted. Run the same command again to send what is missing.")
        raise

    job = client.submit(upload=upload, idempotency_key=f"upload-{upload.id}", **options)
    note.unlink()

    for name, reason in list(refused.items())[:SHOWN]:
        complain(f"{name} was not uploaded: {reason}")
    if len(refused) > SHOWN:
        complain(f"Nor were {count_of(len(refused) - SHOWN, 'other file')}.")
    return job, not refused


def _find_upload(client: Client, note: Path) -> Upload | None:
    """The upload that an earlier call began, unless the server has given it up."""
    try:
        return client.get_upload(note.read_text())
    except (FileNotFoundError, NotFoundError):
        return None


def note_of(server: str, folder: Path) -> Path:
    """The file that keeps the id of a folder's upload until it has a job."""
    place = f"{server.rstrip('/')}\n{os.path.realpath(folder)}"
    name = hashlib.sha256(os.fsencode(place)).hexdigest()[:32]
    return load_settings().data_folder / "uploads" / name


def _list_files(folder: Path, options: JobOptions) -> list[LocalFile]:
    """The images that the server's scan would take."""
    root = check_folder(folder)
    patterns = patterns_for(
        [to_text(os.fsencode(pattern)) for pattern in options["exclude"]],
        system_folders=options["system_folders"],
    )
    names = walk(root, options["recursive"], passing=Passing(Exclusions(patterns)))
    files = []
    for name in names:
        path = Path(os.fsdecode(os.path.join(root, name)))
        if path.is_file():
            files.append(LocalFile(os.fsdecode(name), path, path.stat().st_size))
    return files


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (InvalidRequestError, NotFoundError) as error:
        raise UsageError(f"The server refuses: {error.detail}") from error
    except (ClientError, OSError) as error:
        raise ServerError(str(error)) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
