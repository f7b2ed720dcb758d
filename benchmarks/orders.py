"""What the indexes cost that let results be sorted by scores: at the writing and at the reading.

python -m benchmarks.orders                  # takes half an hour
python -m benchmarks.orders --rows 100000    # the figures of docs/decisions/0017

Each set of indexes has a database of its own, filled with the same scores: those of a network of
7 labels, the other 21 near zero. A batch is 64 images with one face each.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from models.labels import EMOTIONS
from models.settings import SHIPPED_MODEL
from models.store import bulk, jobs, releases
from models.store.database import Database
from models.store.jobs import Submission
from models.store.records import IMAGE_COLUMNS, PREDICTION_COLUMNS
from models.store.tables import Image, Prediction
from tests.services import run_postgres

SIZE, PAGE, READS, NOTABLE = 64, 100, 20, 0.1
TRAINED: Final = ("anger", "fear", "happiness", "sadness", "surprise", "disgust", "neutral")
TOP: Final = "CREATE INDEX own_score ON predictions (job_id, score, number, face)"


def _index(emotion: str, least: float) -> str:
    where = f" WHERE NOT ({emotion} < {least})" if least else ""
    return f"CREATE INDEX own_{emotion} ON predictions (job_id, {emotion}, number, face){where}"


SETS: Final[dict[str, list[str]]] = {
    "none": [],
    "the top score": [TOP],
    "and each emotion from .1": [TOP, *(_index(emotion, NOTABLE) for emotion in EMOTIONS)],
    "and each emotion": [TOP, *(_index(emotion, 0) for emotion in EMOTIONS)],
}


def make_scores(count: int) -> NDArray[np.float32]:
    """Scores such as a network of seven labels gives, (count, 28) in [0, 1]."""
    random = np.random.default_rng(count)
    logits = random.normal(-9, 1, (count, len(EMOTIONS)))
    logits[:, [EMOTIONS.index(name) for name in TRAINED]] = random.normal(0, 2, (count, 7))
    exponentials = np.exp(logits)
    scores: NDArray[np.float32] = exponentials / exponentials.sum(1, keepdims=True)
    return scores.astype(np.float32)


def _rows(
    job_id: int, release_id: int, start: int, count: int
) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    images: list[tuple[object, ...]] = []
    predictions: list[tuple[object, ...]] = []
    for number, values in enumerate(make_scores(count).tolist(), start):
        image = (f"{number:08}.jpg", "classified", None, None, os.urandom(16), 1, 1, False, 1)
        images.append((job_id, number, *image))
        top = max(values)
        face = (*(None,) * 6, EMOTIONS[values.index(top)], top, *values)
        predictions.append((job_id, number, 0, release_id, *face))
    return images, predictions


def _fill(db: Database, rows: int, indexes: list[str]) -> Iterator[float]:
    """Writes a job of so many rows in batches; the milliseconds of each."""
    db.upgrade()
    release_id = releases.resolve(db, None, SHIPPED_MODEL)
    job_id = jobs.submit(db, Submission("/nowhere", release_id))[0].id
    with db.write() as connection:
        for name in sa.inspect(connection).get_indexes("predictions"):
            if "score" in str(name["name"]) or "notable" in str(name["name"]):
                connection.exec_driver_sql(f"DROP INDEX {name['name']}")
        for statement in indexes:
            connection.exec_driver_sql(statement)

    for start in range(0, rows, SIZE):
        images, predictions = _rows(job_id, release_id, start, SIZE)
        began = time.perf_counter()
        with db.write() as connection:
            bulk.insert(connection, Image, IMAGE_COLUMNS, images)
            bulk.insert(connection, Prediction, PREDICTION_COLUMNS, predictions)
        yield 1000 * (time.perf_counter() - began)

    if not db.is_sqlite:  # It does so by itself, a little later.
        with db.write() as connection:
            connection.exec_driver_sql("ANALYZE")


def _page_ms(db: Database, where: str, order: str) -> float:
    """Median milliseconds of a page of whole rows."""
    statement = (
        f"SELECT * FROM predictions WHERE job_id = 1 AND {where} "
        f"ORDER BY job_id, {order} LIMIT {PAGE}"
    )
    times = []
    for _ in range(READS):
        began = time.perf_counter()
        with db.read() as connection:
            connection.exec_driver_sql(statement).all()
        times.append(1000 * (time.perf_counter() - began))
    return float(np.median(times))


def measure(db: Database, name: str, rows: int) -> tuple[str, ...]:
    batch_ms = np.array(list(_fill(db, rows, SETS[name])))
    tenth = len(batch_ms) // 10
    size = sa.text(
        "SELECT sum(pgsize) FROM dbstat"
        if db.is_sqlite
        else "SELECT pg_database_size(current_database())"
    )
    with db.read() as connection:
        size_mb = connection.execute(size).scalar_one() / 1e6

    figures = (
        np.median(batch_ms[:tenth]),
        np.median(batch_ms[-tenth:]),
        np.mean(batch_ms[-tenth:]),
        size_mb,
        _page_ms(db, "number >= 0", "number, face"),
        _page_ms(db, "score >= 0", "score DESC, number DESC, face DESC"),
        _page_ms(db, f"NOT (fear < {NOTABLE})", "fear DESC, number DESC, face DESC"),
        _page_ms(db, f"fear < {NOTABLE}", "number, face"),
    )
    return name, *(f"{figure:.3g}" for figure in figures)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=500_000)
    rows = parser.parse_args().rows

    console = Console(width=130)
    with tempfile.TemporaryDirectory() as folder, run_postgres() as server:
        for backend in ("SQLite", "PostgreSQL"):
            table = Table(
                f"{backend}: indexes",
                "batch ms, first tenth",
                "last tenth",
                "mean",
                "MB",
                "page ms: scan order",
                "top score",
                "fear, first",
                "fear, the rest",
            )
            for number, name in enumerate(SETS):
                url = f"sqlite:///{Path(folder) / f'{number}.db'}"
                if backend == "PostgreSQL":
                    url = server.create_database().replace("postgresql:", "postgresql+psycopg:")
                db = Database(url)
                table.add_row(*measure(db, name, rows))
                db.close()
            console.print(table)
    console.print(describe(), highlight=False)


if __name__ == "__main__":
    main()
