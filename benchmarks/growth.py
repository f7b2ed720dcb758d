"""What it costs to record a batch, as the results grow: it should stay flat, on either database.

The last row is what decision 6 took away, put back for comparison.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from models import batches, jobs, releases, scans
from models.database import Database
from models.jobs import Submission
from models.results import Row
from models.settings import SHIPPED_MODEL
from models.states import Outcome
from tests.services import run_postgres

SIZE, BATCHES, WINDOW, LEASE_S = 64, 320, 32, 600.0
SCORES = np.full(28, 1 / 28, np.float32)


CONSTRAINT = "ALTER TABLE predictions ADD FOREIGN KEY (job_id, number) REFERENCES images"


def milliseconds(db: Database, constraint: str | None = None) -> list[float]:
    """Mean time to complete a batch, for each quarter's first batches."""
    db.upgrade()
    if constraint is not None:
        with db.write() as connection:
            connection.exec_driver_sql(constraint)
    job, _ = jobs.submit(db, Submission("/nowhere", releases.resolve(db, None, SHIPPED_MODEL)))
    scan = scans.claim(db, job.id, "benchmark", LEASE_S)
    if scan is None:
        raise RuntimeError("The scan of a new job could not be claimed.")
    for first in range(0, SIZE * BATCHES, SIZE):
        scans.record(db, scan, [(i, f"{i:08}.jpg") for i in range(first, first + SIZE)], LEASE_S)
    taken = []
    while (claim := batches.claim(db, None, "benchmark", LEASE_S)) is not None:
        rows = [Row(number, path, Outcome.CLASSIFIED, scores=SCORES) for number, path in claim.items]
        begun = time.perf_counter()
        batches.complete(db, claim, rows)
        taken.append(1000 * (time.perf_counter() - begun))
    db.close()
    return [float(np.mean(taken[start : start + WINDOW])) for start in (0, *range(BATCHES // 4, BATCHES, BATCHES // 4))]


def main() -> None:
    quarter = SIZE * BATCHES // 4
    table = Table("ms a batch of 64, after", *(f"{i * quarter:,} images" for i in range(4)))
    with tempfile.TemporaryDirectory() as folder:
        sqlite = milliseconds(Database(f"sqlite:///{Path(folder) / 'growth.db'}"))
    with run_postgres() as server:
        urls = [server.create_database().replace("postgresql:", "postgresql+psycopg:") for _ in range(2)]
        postgresql, constrained = milliseconds(Database(urls[0])), milliseconds(Database(urls[1]), CONSTRAINT)
    rows = {"SQLite": sqlite, "PostgreSQL": postgresql, "PostgreSQL, with the foreign key": constrained}
    for name, figures in rows.items():
        table.add_row(name, *(f"{figure:.1f}" for figure in figures))
    console = Console(width=110)
    console.print(table)
    console.print(describe(), highlight=False)


if __name__ == "__main__":
    main()
