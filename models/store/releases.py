"""Model releases in SQL: which pickles jobs were run with, and which of them new jobs use.

New jobs use the release that was promoted; while none was, the pickle that `CUEMILL_MODEL` names. A job keeps the
release it was submitted with.
"""

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Row

from models.errors import NotFoundError, PickleMissingError
from models.release.files import load_release, recorded_digest
from models.store.database import Database
from models.store.tables import ModelRelease

UNCERTAIN_BELOW: Final = "uncertain_below"
"""The figure, of a release's calibration, below which a score is called uncertain; kept with the release's metrics."""


@dataclass(frozen=True)
class ReleaseRow:
    """A row of `model_releases`; `path` is where it was registered from, on the host that did."""

    id: int
    sha256: str
    name: str
    path: str
    labels: tuple[str, ...]
    trained_labels: tuple[str, ...]
    metrics: dict[str, float]
    is_default: bool
    created_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """As the API and `--json` give it."""
        return {**asdict(self), "created_at": self.created_at.isoformat()}


def resolve(db: Database, model: str | None, default: Path) -> int:
    """The id of the release that a job is to use.

    Args:
        model: a pickle's path, a release's name or the beginning of its digest; None = the default.
        default: the path of the pickle that is the default while none was promoted.

    Raises:
        PickleError: the pickle can't be used.
        NotFoundError: neither a file nor a known release.
    """
    if model is None:
        return _promoted(db) or register(db, default)
    return register(db, Path(model)) if Path(model).is_file() else find(db, model)


def choose(db: Database, name: str | None, default: Path) -> int:
    """Like `resolve`, for requests from outside: a name never is a path.

    Raises:
        NotFoundError: no known release.
    """
    return resolve(db, None, default) if name is None else find(db, name)


def promote(db: Database, release_id: int) -> ReleaseRow:
    """Makes a release the one that new jobs use.

    Raises:
        NotFoundError: no such release.
    """
    with db.write() as connection:
        if (
            not db.is_sqlite
        ):  # Two promotions at once: the second waits, or both would find no default to end.
            connection.execute(
                sa.select(ModelRelease.id).order_by(ModelRelease.id).with_for_update()
            )
        if (
            connection.scalar(sa.select(ModelRelease.id).where(ModelRelease.id == release_id))
            is None
        ):
            raise NotFoundError(f"No model release {release_id}.")
        connection.execute(
            sa.update(ModelRelease).where(ModelRelease.is_default).values(is_default=False)
        )
        connection.execute(
            sa.update(ModelRelease).where(ModelRelease.id == release_id).values(is_default=True)
        )
    return get(db, release_id)


def _promoted(db: Database) -> int | None:
    with db.read() as connection:
        found = connection.scalar(sa.select(ModelRelease.id).where(ModelRelease.is_default))
    return None if found is None else int(found)


def register(db: Database, path: Path) -> int:
    """The id of the row of a pickle's release, made after a full check if its digest has none yet.

    Raises:
        PickleError: the pickle can't be used.
    """
    sha256 = recorded_digest(path)
    known = sa.select(ModelRelease.id).where(ModelRelease.sha256 == sha256)
    with db.read() as connection:
        if (release_id := connection.scalar(known)) is not None:
            return int(release_id)
    release = load_release(path, sha256)
    threshold = {
        name: value for name, value in release.calibration.items() if name == UNCERTAIN_BELOW
    }
    with db.write() as connection:
        insert = sqlite.insert if db.is_sqlite else postgresql.insert
        connection.execute(
            insert(ModelRelease)
            .values(
                sha256=sha256,
                name=release.name,
                path=str(path.resolve()),
                labels=list(release.labels),
                trained_labels=list(release.trained_labels),
                metrics={**release.metrics, **threshold},
                is_default=False,
                created_at=datetime.now(UTC),
            )
            .on_conflict_do_nothing()
        )
        return int(connection.execute(known).scalar_one())


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


def every(db: Database, default: Path) -> list[ReleaseRow]:
    """All releases, oldest first; `is_default` says which one new jobs use.

    Args:
        default: as in `resolve`.
    """
    with db.read() as connection:
        rows = [
            _from_row(row)
            for row in connection.execute(sa.select(ModelRelease).order_by(ModelRelease.id))
        ]
    if any(row.is_default for row in rows):
        return rows
    try:
        sha256 = recorded_digest(default)
    except PickleMissingError:
        return rows
    return [replace(row, is_default=row.sha256 == sha256) for row in rows]


def find(db: Database, name: str) -> int:
    """The id of the newest release with this name, or whose digest begins so.

    Raises:
        NotFoundError: none has.
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
        found = connection.scalar(query)
    if found is None:
        raise NotFoundError(
            f"{name!r} is neither a file nor a known release; `cuemill models list` shows the known."
        )
    return int(found)


def locate(row: ReleaseRow, *candidates: Path) -> Path:
    """The file on this host that holds a release: where it was registered, or one of the candidates.

    Raises:
        PickleMissingError: none of them has the release's digest.
    """
    for path in (Path(row.path), *candidates):
        try:
            if recorded_digest(path) == row.sha256:
                return path
        except PickleMissingError:
            continue
    raise PickleMissingError(
        f"The model {row.name} ({row.sha256[:12]}...) isn't on this host: neither at {row.path} nor where "
        "CUEMILL_MODEL points. Copy the pickle and its .sha256 file here."
    )


def _from_row(row: Row[Any]) -> ReleaseRow:
    values = dict(row._mapping)
    return ReleaseRow(
        **{
            **values,
            "labels": tuple(values["labels"]),
            "trained_labels": tuple(values["trained_labels"]),
        }
    )
