"""Model releases in SQL: which pickles jobs were run with."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from models.database import Database
from models.errors import NotFoundError, PickleMissingError
from models.pickles import Release, recorded_digest
from models.tables import ModelRelease


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


def register(db: Database, release: Release, path: Path) -> int:
    """The id of the release's row, made if its digest has none yet. The first release becomes the default."""
    with db.write() as connection:
        known = connection.scalar(sa.select(ModelRelease.id).where(ModelRelease.sha256 == release.sha256))
        if known is not None:
            return int(known)
        first = connection.scalar(sa.select(sa.func.count()).select_from(ModelRelease)) == 0
        made = connection.execute(
            sa.insert(ModelRelease)
            .values(
                sha256=release.sha256,
                name=release.name,
                path=str(path.resolve()),
                labels=list(release.labels),
                trained_labels=list(release.trained_labels),
                metrics=dict(release.metrics),
                is_default=first,
                created_at=datetime.now(UTC),
            )
            .returning(ModelRelease.id)
        )
        return int(made.scalar_one())


def get(db: Database, release_id: int) -> ReleaseRow:
    """
    Raises:
        NotFoundError: no such release.
    """
    with db.read() as connection:
        row = connection.execute(sa.select(ModelRelease).where(ModelRelease.id == release_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"No model release {release_id}.")
    return _from_row(row)


def every(db: Database) -> list[ReleaseRow]:
    """All releases, oldest first."""
    with db.read() as connection:
        return [_from_row(row) for row in connection.execute(sa.select(ModelRelease).order_by(ModelRelease.id))]


def find(connection: Connection, name: str) -> int:
    """The id of the newest release with this name, or whose digest begins so.

    Raises:
        NotFoundError: none has.
    """
    found = connection.scalar(
        sa.select(ModelRelease.id)
        .where(sa.or_(ModelRelease.name == name, ModelRelease.sha256.startswith(name, autoescape=True)))
        .order_by(ModelRelease.id.desc())
        .limit(1)
    )
    if found is None:
        raise NotFoundError(f"No model release is called {name!r}; `cuemill models list` shows those there are.")
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
    return ReleaseRow(**{**values, "labels": tuple(values["labels"]), "trained_labels": tuple(values["trained_labels"])})
