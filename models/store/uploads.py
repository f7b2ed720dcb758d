"""Uploads: created, filled, given to a job, and removed.

The row comes before the folder and goes after it, so that no crash leaves files that no row knows.
The sweep removes what was deleted, and what nobody made a job of.
"""

import logging
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from models.errors import FolderError, NotFoundError, SpoolError, TooLargeError, UploadUsedError
from models.sources import spool as files_of
from models.sources.names import to_bytes, to_text
from models.sources.roots import identify
from models.sources.spool import Limits
from models.store import clocks, idempotency
from models.store.database import Database, now, upsert
from models.store.tables import Upload, UploadFile

REMOVE_S: Final = 2.0
"""How long files are removed at a time, so that a sweep's other duties are not delayed."""
STEP: Final = 1_000
"""Rows of files that one transaction writes or deletes."""
NAMED: Final = 200
"""Skipped files that are named; the others are counted."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UploadView:
    """An upload as users see it.

    Args:
        root: its folder in the spool; `folder`, below it, has nothing but whole files.
        size: of its files, in bytes.
    """

    id: str
    root: Path
    files: int
    size: int
    skipped: list[dict[str, str]]
    skipped_files: int
    created_at: datetime
    used_at: datetime
    job_id: int | None

    @property
    def folder(self) -> bytes:
        return os.fsencode(self.root / files_of.FILES)


def create(db: Database, spool: Path, idempotency_key: str | None = None) -> UploadView:
    """Creates an upload without files. The same idempotency key returns the same upload.

    Raises:
        SpoolError: its folder cannot be created.
    """
    files_of.prepare(spool)
    root = os.path.realpath(spool)
    upload_id = secrets.token_hex(16)
    folder = Path(root) / upload_id

    request = idempotency.digest({})
    with db.write() as connection:
        earlier = idempotency.find_created(connection, Upload, idempotency_key, request)
        if earlier is None:
            connection.execute(
                sa.insert(Upload).values(
                    id=upload_id,
                    folder=to_text(os.fsencode(folder)),
                    spool_inode=identify(os.fsencode(root)),
                    created_at=now(),
                    used_at=now(),
                    idempotency_key=idempotency_key,
                    request_sha256=request,
                )
            )
        view = _view(connection, earlier or upload_id)

    if view.job_id is None:
        try:
            files_of.create(view.root)
        except SpoolError:
            delete(db, view.id)
            raise
    return view


def get(db: Database, upload_id: str, *, unused: bool = False) -> UploadView:
    """
    Args:
        unused: fail if it belongs to a job.

    Raises:
        NotFoundError: no such upload.
        UploadUsedError: it belongs to a job.
    """
    with db.read() as connection:
        view = _view(connection, upload_id)
    if unused:
        _check_unused(view)
    return view


def add_files(
    db: Database, upload_id: str, sizes: Mapping[str, int], limits: Limits
) -> tuple[UploadView, int]:
    """Records files that are in their place, whether they are new or replace others.

    Args:
        sizes: in bytes, by path.

    Returns:
        The upload, and how many of the files are new.

    Raises:
        NotFoundError, UploadUsedError: as `get`. The files are not of this upload.
        TooLargeError: others that arrived meanwhile leave no room. Nothing is known of the files.
    """
    new = 0
    names = list(sizes)
    for start in range(0, len(names), STEP):
        group = {name: sizes[name] for name in names[start : start + STEP]}
        with db.write() as connection:
            view = _view(connection, upload_id, lock=True)
            _check_unused(view)
            same = (UploadFile.upload_id == upload_id, UploadFile.path.in_(group))
            replaced = connection.scalars(sa.select(UploadFile.bytes).where(*same)).all()
            files = view.files + len(group) - len(replaced)
            size = view.size + sum(group.values()) - sum(replaced)

            fits = files <= limits.files and size <= limits.bytes
            if fits:
                insert = upsert(connection, UploadFile).values(
                    [
                        {"upload_id": upload_id, "path": path, "bytes": count}
                        for path, count in group.items()
                    ]
                )
                connection.execute(
                    insert.on_conflict_do_update(
                        index_elements=["upload_id", "path"], set_={"bytes": insert.excluded.bytes}
                    )
                )
                values = {"files": files, "bytes": size}
            else:
                connection.execute(sa.delete(UploadFile).where(*same))
                values = {
                    "files": view.files - len(replaced),
                    "bytes": view.size - sum(replaced),
                }
            connection.execute(
                sa.update(Upload).where(Upload.id == upload_id).values(**values, used_at=now())
            )
        if not fits:
            raise TooLargeError(
                f"The upload would have {files:,} files and {size:,} bytes; the limits are "
                f"{limits.files:,} and {limits.bytes:,}."
            )
        new += len(group) - len(replaced)

    return get(db, upload_id), new


def note_skipped(
    db: Database, upload_id: str, skipped: Sequence[dict[str, str]], count: int
) -> None:
    """Records files of an archive that were left out.

    Args:
        skipped: the first of them, each with `path` and `reason`.
        count: of all.
    """
    with db.write() as connection:
        connection.execute(
            sa.update(Upload)
            .where(Upload.id == upload_id)
            .values(skipped=list(skipped[:NAMED]), skipped_files=count)
        )


def list_files(
    db: Database, upload_id: str, limit: int, after: str | None = None
) -> list[tuple[str, int]]:
    """Paths and sizes of an upload's files, by path.

    Raises:
        NotFoundError: no such upload.
    """
    query = (
        sa.select(UploadFile.path, UploadFile.bytes)
        .where(UploadFile.upload_id == upload_id)
        .order_by(UploadFile.path)
        .limit(limit)
    )
    if after is not None:
        query = query.where(UploadFile.path > after)
    with db.read() as connection:
        _view(connection, upload_id)
        return [(row.path, row.bytes) for row in connection.execute(query)]


def attach(connection: Connection, upload_id: str, job_id: int) -> None:
    """Gives an upload to its job.

    Raises:
        NotFoundError, UploadUsedError: as `get`.
    """
    _check_unused(_view(connection, upload_id, lock=True))
    connection.execute(sa.update(Upload).where(Upload.id == upload_id).values(job_id=job_id))


def release(connection: Connection, job_id: int) -> None:
    """Takes the upload of a job that is deleted from it, to be removed."""
    connection.execute(
        sa.update(Upload).where(Upload.job_id == job_id).values(job_id=None, **_deleted())
    )


def delete(db: Database, upload_id: str) -> None:
    """Deletes an upload that belongs to no job. If this is interrupted, the sweep finishes it.

    Raises:
        NotFoundError, UploadUsedError: as `get`.
    """
    with db.write() as connection:
        _check_unused(_view(connection, upload_id, lock=True))
        connection.execute(sa.update(Upload).where(Upload.id == upload_id).values(**_deleted()))
    remove_deleted(db)


def expire(db: Database, expiry_h: float) -> None:
    """Deletes uploads without a job that got no file for this long, and removes what was deleted.

    Safe at any time, in any number of processes.
    """
    clock = clocks.read(db)
    if clock.is_trusted:
        last = clock.now - timedelta(hours=expiry_h)
        idle = (Upload.job_id.is_(None), Upload.deleted_at.is_(None), Upload.used_at < last)
        with db.read() as connection:
            has_expired = connection.scalar(sa.select(sa.exists().where(*idle)))
        if has_expired:
            with db.write() as connection:
                connection.execute(sa.update(Upload).where(*idle).values(**_deleted()))
    remove_deleted(db)


def remove_deleted(db: Database) -> None:
    """Removes files, and then rows, of deleted uploads, for about `REMOVE_S`."""
    until = time.monotonic() + REMOVE_S
    with db.read() as connection:
        deleted = connection.execute(
            sa.select(Upload.id, Upload.folder, Upload.spool_inode)
            .where(Upload.deleted_at.is_not(None))
            .order_by(Upload.deleted_at)
        ).all()

    for upload in deleted:
        if time.monotonic() > until:
            return
        try:
            if _remove_files(upload, until):
                _delete_rows(db, upload.id)
        except (OSError, FolderError) as error:
            _log.warning("upload=%s not removed: %s", upload.id, error)


def _remove_files(upload: Row[str, str, str], until: float) -> bool:
    """
    Raises:
        FolderError: this host does not have the upload's spool.
        OSError: a file cannot be removed.
    """
    folder = to_bytes(upload.folder)
    spool = os.path.dirname(folder)
    if identify(spool) != upload.spool_inode:
        raise FolderError(
            f"{to_text(spool)} is not the folder that the API stored it in. All hosts must share "
            "the folder that CUEMILL_SPOOL names."
        )
    return files_of.remove(Path(os.fsdecode(folder)), until)


def _delete_rows(db: Database, upload_id: str) -> None:
    step = sa.select(UploadFile.path).where(UploadFile.upload_id == upload_id).limit(STEP)
    deleted = STEP
    while deleted == STEP:
        with db.write() as connection:
            deleted = connection.execute(
                sa.delete(UploadFile).where(
                    UploadFile.upload_id == upload_id, UploadFile.path.in_(step)
                )
            ).rowcount
            if deleted < STEP:
                connection.execute(sa.delete(Upload).where(Upload.id == upload_id))


def _view(connection: Connection, upload_id: str, *, lock: bool = False) -> UploadView:
    query = sa.select(Upload).where(Upload.id == upload_id, Upload.deleted_at.is_(None))
    if lock:
        query = query.with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError(f"No upload {upload_id}.")
    return UploadView(
        id=row.id,
        root=Path(os.fsdecode(to_bytes(row.folder))),
        files=row.files,
        size=row.bytes,
        skipped=row.skipped,
        skipped_files=row.skipped_files,
        created_at=row.created_at,
        used_at=row.used_at,
        job_id=row.job_id,
    )


def _deleted() -> dict[str, Any]:
    return {"deleted_at": now(), "idempotency_key": None}


def _check_unused(view: UploadView) -> None:
    if view.job_id is not None:
        raise UploadUsedError(
            f"Upload {view.id} belongs to job {view.job_id} already. Create another upload."
        )
