"""Ways to write a batch's images and predictions. Workers use `models.store.bulk`.

python -m benchmarks.rows    # the figures of docs/decisions/0008
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

SIZE, BATCHES, WARM_UP = 64, 300, 20
OUTCOME = ("classified", None, None)
IMAGE = ("job_id", "number", "path", "outcome", "error_code", "error_message")
PREDICTION = ("job_id", "number", "face", "model_release_id", "emotion", "score", *EMOTIONS)

Rows = list[tuple[Any, ...]]
Write = Callable[[Connection, type[Base], tuple[str, ...], Rows], None]


def conflict_ignored(insert: Any) -> Write:
    """SQLAlchemy's executemany of dictionaries, with ON CONFLICT DO NOTHING."""

    def write(
        connection: Connection, table: type[Base], columns: tuple[str, ...], rows: Rows
    ) -> None:
        values = [dict(zip(columns, row, strict=True)) for row in rows]
        connection.execute(insert(table).on_conflict_do_nothing(), values)

    return write


def many_values(
    connection: Connection, table: type[Base], columns: tuple[str, ...], rows: Rows
) -> None:
    """One INSERT with the values of all rows."""
    placeholders = f"({', '.join('?' * len(columns))})"
    values = ", ".join([placeholders] * len(rows))
    statement = f"INSERT INTO {table.__tablename__} ({', '.join(columns)}) VALUES {values}"
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
    """One array per column, sent as binary."""
    types = [table.__table__.c[name].type.compile(connection.dialect) for name in columns]
    arrays = ", ".join(f"%b::{column_type}[]" for column_type in types)
    statement = (
        f"INSERT INTO {table.__tablename__} ({', '.join(columns)}) SELECT * FROM unnest({arrays})"
    )
    raw: Any = connection.connection
    with raw.cursor() as cursor:
        cursor.execute(statement, [list(column) for column in zip(*rows, strict=True)])


METHODS: dict[str, dict[str, Write]] = {
    "SQLite": {
        "executemany by SQLAlchemy": conflict_ignored(sqlite.insert),
        "one INSERT of many VALUES": many_values,
        "Cuemill: executemany of tuples": bulk.insert,
    },
    "PostgreSQL": {
        "executemany by SQLAlchemy": conflict_ignored(postgresql.insert),
        "INSERT ... unnest(binary arrays)": unnest,
        "COPY, text": copy_text,
        "Cuemill: COPY, binary": bulk.insert,
    },
}


def measure_ms(db: Database, methods: dict[str, Write]) -> dict[str, tuple[float, float]]:
    """Milliseconds per batch, with its commit: elapsed, and this process's CPU time. Medians.

    The methods take turns, so that other load on the machine affects all alike.
    """
    db.upgrade()
    release_id = releases.resolve(db, None, SHIPPED_MODEL)
    job_ids = {name: jobs.submit(db, Submission(f"/{name}", release_id))[0].id for name in methods}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    random = np.random.default_rng(0)
    for first in range(0, SIZE * BATCHES, SIZE):
        numbers = range(first, first + SIZE)
        scores = random.dirichlet(np.ones(28), SIZE).astype(np.float32).tolist()
        for name, write in methods.items():
            job_id = job_ids[name]
            images: Rows = [
                (job_id, number, f"person-{number % 97:03}/{number:08}.jpg", *OUTCOME)
                for number in numbers
            ]
            predictions: Rows = [
                (job_id, number, 0, release_id, "neutral", max(row), *row)
                for number, row in zip(numbers, scores, strict=True)
            ]

            started, started_cpu = time.perf_counter(), time.process_time()
            with db.write() as connection:
                write(connection, Image, IMAGE, images)
                write(connection, Prediction, PREDICTION, predictions)
            elapsed = time.perf_counter() - started
            seconds[name].append((elapsed, time.process_time() - started_cpu))

    _check_rows(db, list(job_ids.values()))
    db.close()
    medians = {
        name: 1000 * np.median(np.array(times[WARM_UP:]), axis=0) for name, times in seconds.items()
    }
    return {name: (float(elapsed), float(cpu)) for name, (elapsed, cpu) in medians.items()}


def _check_rows(db: Database, job_ids: list[int]) -> None:
    """All methods must have written the same."""
    columns = Prediction.__table__.c
    sums = sa.select(sa.func.count(), *(sa.func.sum(columns[name]) for name in EMOTIONS))
    with db.read() as connection:
        rows = [
            tuple(connection.execute(sums.where(Prediction.job_id == job_id)).one())
            for job_id in job_ids
        ]
    same_count = len({row[0] for row in rows}) == 1
    if not same_count or not np.allclose(rows, rows[0], rtol=1e-5):
        raise RuntimeError(f"The methods wrote different rows: {rows}")


def main() -> None:
    columns = ("ms per batch", "ratio", "ms of the worker's CPU", "ratio")
    table = Table("method", *columns, title=f"{SIZE} rows per batch")
    with tempfile.TemporaryDirectory() as folder, run_postgres() as server:
        urls = {
            "SQLite": f"sqlite:///{Path(folder) / 'rows.db'}",
            "PostgreSQL": server.create_database().replace("postgresql:", "postgresql+psycopg:"),
        }
        for kind, methods in METHODS.items():
            measured = measure_ms(Database(urls[kind]), methods)
            first_elapsed, first_cpu = next(iter(measured.values()))
            for name, (elapsed, cpu) in measured.items():
                table.add_row(
                    f"{kind}, {name}",
                    f"{elapsed:.1f}",
                    f"{elapsed / first_elapsed:.2f}",
                    f"{cpu:.2f}",
                    f"{cpu / first_cpu:.2f}",
                )

    console = Console(width=120)
    console.print(table)
    console.print(describe(), highlight=False)


if __name__ == "__main__":
    main()
