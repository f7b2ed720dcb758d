"""Model releases: the pickles that jobs were run with, and the one that new jobs use.

New jobs use the promoted release; before any promotion, the pickle that CUEMILL_MODEL names. A job
keeps the release it was submitted with.
"""

import os
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Row

from models.errors import NotFoundError, PickleMissingError
from models.release.files import load_release, recorded_digests
from models.sources.names import to_bytes, to_text
from models.store import audit
from models.store.audit import Act
from models.store.database import Database, now, upsert
from models.store.tables import ModelRelease

UNCERTAIN_BELOW: Final = "uncertain_below"
"""An entry of a release's calibration, kept with its metrics: scores below it are uncertain."""


@dataclass(frozen=True)
class ReleaseRow:
    """A row of `model_releases`.

    Args:
        path: where the pickle was registered, on the host that registered it.
        is_default: whether new jobs use it.
    """

    id: int
    sha256: str
    name: str
    path: str
    labels: tuple[str, ...]
    trained_labels: tuple[str, ...]
    metrics: dict[str, float]
    is_default: bool
    created_at: datetime


def resolve(db: Database, model: str | None, default: Path) -> int:
    """The id of the release that a local user asks for.

    Args:
        model: a pickle's path, a release's name or the beginning of its digest; None = the default.
        default: the pickle that new jobs use before any promotion.

    Raises:
        PickleError: the pickle cannot be used.
        NotFoundError: neither a file nor a known release.
    """
    if model is not None and Path(model).is_file():
        return register(db, Path(model))
    return resolve_name(db, model, default)


def resolve_name(db: Database, name: str | None, default: Path) -> int:
    """The id of the release that a remote user asks for.

    Like `resolve`, but a name is never read as a path.

    Raises:
        PickleError: the default pickle cannot be used.
        NotFoundError: no known release.
    """
    if name is not None:
        return find(db, name)
    with db.read() as connection:
        promoted = connection.scalar(sa.select(ModelRelease.id).where(ModelRelease.is_default))
    return register(db, default) if promoted is None else promoted


def find(db: Database, name: str) -> int:
    """The id of the newest release with this name, or whose digest begins with it.

    Raises:
        NotFoundError: no known release.
    """
    query = (
        sa.select(ModelRelease.id)
        .where(
            sa.or_(ModelRelease.name == name, ModelRelease.sha256.startswith(name, autoescape=True))
        )
        .order_by(ModelRelease.id.desc())
        .limit(1)
    )
    with db.read() as connection:
        release_id = connection.scalar(query)
    if release_id is None:
        raise NotFoundError(
            f"{name!r} is neither a file nor a known release. "
            "`cuemill models list` shows the known releases."
        )
    return release_id


def register(db: Database, path: Path) -> int:
    """The id of a pickle's release. A pickle whose digest is new is checked in full and gets a row.

    Raises:
        PickleError: the pickle cannot be used.
    """
    sha256, *_ = recorded_digests(path)
    known = sa.select(ModelRelease.id).where(ModelRelease.sha256 == sha256)
    with db.read() as connection:
        release_id = connection.scalar(known)
    if release_id is not None:
        return release_id

    # Another model may have replaced the file since.
    release = load_release(path)
    known = sa.select(ModelRelease.id).where(ModelRelease.sha256 == release.sha256)
    metrics = dict(release.metrics)
    if UNCERTAIN_BELOW in release.calibration:
        metrics[UNCERTAIN_BELOW] = release.calibration[UNCERTAIN_BELOW]

    with db.write() as connection:
        # Another program may register the same pickle at the same moment.
        connection.execute(
            upsert(connection, ModelRelease)
            .values(
                sha256=release.sha256,
                name=release.name,
                path=to_text(os.fsencode(path.resolve())),
                labels=list(release.labels),
                trained_labels=list(release.trained_labels),
                metrics=metrics,
                is_default=False,
                created_at=now(),
            )
            .on_conflict_do_nothing()
        )
        return connection.execute(known).scalar_one()


def promote(db: Database, release_id: int) -> ReleaseRow:
    """Makes a release the one that new jobs use.

    Raises:
        NotFoundError: no such release.
    """
    with db.write() as connection:
        # Of two promotions at the same moment, the second waits, or both would find no default.
        known = connection.scalars(
            sa.select(ModelRelease.id).order_by(ModelRelease.id).with_for_update()
        ).all()
        if release_id not in known:
            raise NotFoundError(f"No model release {release_id}.")

        connection.execute(
            sa.update(ModelRelease).where(ModelRelease.is_default).values(is_default=False)
        )
        connection.execute(
            sa.update(ModelRelease).where(ModelRelease.id == release_id).values(is_default=True)
        )
        audit.note(connection, Act.MODEL_PROMOTE, release_id)
    return get(db, release_id)


def get(db: Database, release_id: int) -> ReleaseRow:
    """
    Raises:
        NotFoundError: no such release.
    """
    with db.read() as connection:
        row = connection.execute(
            sa.select(ModelRelease).where(ModelRelease.id == release_id)
        ).one_or_none()
    if row is None:
        raise NotFoundError(f"No model release {release_id}.")
    return _from_row(row)


def list_all(db: Database, default: Path) -> list[ReleaseRow]:
    """All releases, oldest first.

    Args:
        default: as in `resolve`.
    """
    with db.read() as connection:
        rows = connection.execute(sa.select(ModelRelease).order_by(ModelRelease.id)).all()
    releases = [_from_row(row) for row in rows]
    if any(release.is_default for release in releases):
        return releases

    try:
        sha256, *_ = recorded_digests(default)
    except PickleMissingError:
        return releases
    return [replace(release, is_default=release.sha256 == sha256) for release in releases]


def get_listed(db: Database, release_id: int, default: Path) -> ReleaseRow:
    """A release as `list_all` shows it.

    Raises:
        NotFoundError: no such release.
    """
    for release in list_all(db, default):
        if release.id == release_id:
            return release
    raise NotFoundError(f"No model release {release_id}.")


def locate(release: ReleaseRow, *candidates: Path) -> Path:
    """Finds a release on this host: where it was registered, or among the candidates.

    Raises:
        PickleMissingError: none of them has the release's digest.
    """
    for path in (Path(os.fsdecode(to_bytes(release.path))), *candidates):
        try:
            if release.sha256 in recorded_digests(path):
                return path
        except PickleMissingError:
            continue
    raise PickleMissingError(
        f"The model {release.name} ({release.sha256[:12]}...) is not on this host: neither at "
        f"{release.path} nor where CUEMILL_MODEL points. Copy the pickle and its .sha256 file here."
    )


def _from_row(row: Row[Any]) -> ReleaseRow:
    values = dict(row._mapping)
    values["labels"] = tuple(row.labels)
    values["trained_labels"] = tuple(row.trained_labels)
    return ReleaseRow(**values)
