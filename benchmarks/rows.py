"""Ways of writing a batch's images and predictions, side by side in one run; workers write as `models.bulk` does.

python -m benchmarks.rows
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from benchmarks.hardware import describe
from models.labels import EMOTIONS
from models.settings import SHIPPED_MODEL
from models.store import bulk, jobs, releases
from models.store.database import Database
from models.store.jobs import Submission
from models.store.tables import Base, Image, Prediction
from tests.services import run_postgres

SIZE, BATCHES, WARM = 64, 300, 20
IMAGE = ("job_id", "number", "path", "outcome", "error_code", "error_message")
PREDICTION = ("job_id", "number", "face", "model_release_id", "emotion", "score", *EMOTIONS)

Rows = list[tuple[Any, ...]]
Write = Callable[[Connection, type[Base], tuple[str, ...], Rows], None]


def conflict_ignored(insert: Any) -> Write:
    """As it was: SQLAlchemy's executemany of dictionaries, with ON CONFLICT DO NOTHING."""

    def write(
        connection: Connection, table: type[Base], columns: tuple[str, ...], rows: Rows
    ) -> None:
        values = [dict(zip(columns, row, strict=True)) for row in rows]
        connection.execute(insert(table).on_conflict_do_nothing(), values)

    return write


def many_values(
    connection: Connection, table: type[Base], columns: tuple[str, ...], rows: Rows
) -> None:
    one = f"({', '.join('?' * len(columns))})"
    statement = f"INSERT INTO {table.__tablename__} ({', '.join(columns)}) VALUES {', '.join([one] * len(rows))}"
    connection.exec_driver_sql(statement, tuple(value for row in rows for value in row))


def copy_text(
    connection: Connection, table: type[Base], columns: tuple[str, ...], rows: Rows
) -> None:
    raw: Any = connection.connection
    with (
        raw.cursor() as cursor,
        cursor.copy(f"COPY {table.__tablename__} ({', '.join(columns)}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)


def unnest(connection: Connection, table: type[Base], columns: tuple[str, ...], rows: Rows) -> None:
    """One array a column, sent as binary."""
    arrays = ", ".join(
        f"%b::{table.__table__.c[name].type.compile(connection.dialect)}[]" for name in columns
    )
    statement = (
        f"INSERT INTO {table.__tablename__} ({', '.join(columns)}) SELECT * FROM unnest({arrays})"
    )
    raw: Any = connection.connection
    with raw.cursor() as cursor:
        cursor.execute(statement, [list(column) for column in zip(*rows, strict=True)])


WAYS: dict[str, dict[str, Write]] = {
    "SQLite": {
        "executemany by SQLAlchemy": conflict_ignored(sqlite.insert),
        "one INSERT of many VALUES": many_values,
        "ours: executemany of tuples": bulk.insert,
    },
    "PostgreSQL": {
        "executemany by SQLAlchemy": conflict_ignored(postgresql.insert),
        "INSERT ... unnest(binary arrays)": unnest,
        "COPY, text": copy_text,
        "ours: COPY, binary": bulk.insert,
    },
}


def milliseconds(db: Database, ways: dict[str, Write]) -> dict[str, tuple[float, float]]:
    """Median time a batch, its commit with it, and this process's share of that; the ways take turns."""
    db.upgrade()
    release = releases.resolve(db, None, SHIPPED_MODEL)
    made = {name: jobs.submit(db, Submission(f"/{name}", release))[0].id for name in ways}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    random = np.random.default_rng(0)
    for first in range(0, SIZE * BATCHES, SIZE):
        scores = random.dirichlet(np.ones(28), SIZE).astype(np.float32).tolist()
        for name, write in ways.items():
            job = made[name]
            numbers = range(first, first + SIZE)
            images: Rows = [
                (job, n, f"person-{n % 97:03}/{n:08}.jpg", "classified", None, None)
                for n in numbers
            ]
            faces: Rows = [
                (job, n, 0, release, "neutral", max(s), *s)
                for n, s in zip(numbers, scores, strict=True)
            ]
            begun, begun_cpu = time.perf_counter(), time.process_time()
            with db.write() as connection:
                write(connection, Image, IMAGE, images)
                write(connection, Prediction, PREDICTION, faces)
            taken[name].append((time.perf_counter() - begun, time.process_time() - begun_cpu))
    _check(db, list(made.values()))
    db.close()
    medians = {
        name: 1000 * np.median(np.array(times[WARM:]), axis=0) for name, times in taken.items()
    }
    return {name: (float(wall), float(cpu)) for name, (wall, cpu) in medians.items()}


def _check(db: Database, made: list[int]) -> None:
    """All ways must have written the same."""
    sums = sa.select(
        sa.func.count(), *(sa.func.sum(Prediction.__table__.c[name]) for name in EMOTIONS)
    )
    with db.read() as connection:
        written = {
            tuple(connection.execute(sums.where(Prediction.job_id == job)).one()) for job in made
        }
    if len({row[0] for row in written}) != 1 or not np.allclose(
        list(written), next(iter(written)), rtol=1e-5
    ):
        raise RuntimeError(f"The ways wrote different rows: {written}")


def main() -> None:
    table = Table(
        "way",
        "ms a batch",
        "ratio",
        "ms of the worker's processor",
        "ratio",
        title=f"{SIZE} rows a batch",
    )
    with tempfile.TemporaryDirectory() as folder, run_postgres() as server:
        urls = {
            "SQLite": f"sqlite:///{Path(folder) / 'rows.db'}",
            "PostgreSQL": server.create_database().replace("postgresql:", "postgresql+psycopg:"),
        }
        for kind, ways in WAYS.items():
            figures = milliseconds(Database(urls[kind]), ways)
            wall_0, cpu_0 = next(iter(figures.values()))
            for name, (wall, cpu) in figures.items():
                ratios = f"{wall / wall_0:.2f}", f"{cpu / cpu_0:.2f}"
                table.add_row(f"{kind}, {name}", f"{wall:.1f}", ratios[0], f"{cpu:.2f}", ratios[1])
    console = Console(width=120)
    console.print(table)
    console.print(describe(), highlight=False)


if __name__ == "__main__":
    main()
