"""Each view of results as code: run as a reader would, it gives what the view shows."""

import csv
import io
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from html.parser import HTMLParser
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest

from api.context import Context
from models.labels import EMOTIONS
from models.settings import Settings
from models.store import batches, keys
from models.store.database import Database
from models.store.keys import Scope
from models.store.records import FaceRecord, ImageRecord
from models.store.states import Outcome
from tests.api.serving import serving
from tests.builders import claim_batch, list_folder, queue_job

FOLDER = """it's "$HOME" `id` 100% ü"""
Row = tuple[str, str, str, float]


class Snippets(HTMLParser):
    """The pieces of code on a page, by name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self._name: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "pre":
            self._name = dict(attrs)["data-name"] or ""
            self.texts[self._name] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._name = None

    def handle_data(self, data: str) -> None:
        if self._name is not None:
            self.texts[self._name] += data


@pytest.fixture
def address(db: Database, release_id: int, tiny_model: Path) -> Iterator[str]:
    """The API on a port, with a job of two faces in one image, one in another, and a failure."""
    job = queue_job(db, release_id)
    list_folder(db, job, 3)
    records = [
        ImageRecord(0, f"{FOLDER}/0.jpg", Outcome.CLASSIFIED, faces=[face(0.9), face(0.6)]),
        ImageRecord(1, "b/1.jpg", Outcome.CLASSIFIED, faces=[face(0.4)]),
        ImageRecord(2, "b/2.jpg", Outcome.UNREADABLE, "truncated", "Cut off."),
    ]
    batches.complete(db, claim_batch(db), records)
    settings = Settings(_env_file=None, model=tiny_model)
    with serving(Context(db, settings, lambda: None, lambda: None)) as url:
        yield url


def face(fear: float) -> FaceRecord:
    scores = np.full(len(EMOTIONS), 0.001, np.float32)
    scores[[EMOTIONS.index("fear"), EMOTIONS.index("anger")]] = fear, 0.5
    return FaceRecord(scores)


@pytest.mark.parametrize("with_key", [False, True])
def test_each_gives_what_the_view_shows(
    db: Database, address: str, with_key: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {}
    if with_key:
        key = keys.create(db, "reader", Scope.READ)
        monkeypatch.setenv("CUEMILL_KEY", key)
        headers = {"Authorization": f"Bearer {key}"}

    counts = []
    for params in (
        {},
        {"emotion": "fear", "min_score": "0.6", "sort": "score"},
        {"path_prefix": FOLDER, "outcome": "classified", "sort": "-score.fear"},
        {"score.fear": ["gte:0.4", "lt:0.9"], "score.anger": "gt:0.3", "max_faces": "1"},
        {"glob": "b/*", "code": "truncated", "after": "1.0.0"},
    ):
        page = httpx.get(f"{address}/jobs/1/results", params=params, headers=headers)
        snippets = Snippets(page.text).texts
        by_curl = run_curl(snippets["curl"])
        assert by_curl == run_python(snippets["Python"]) == run_sql(db, snippets["SQL"])
        counts.append(len(by_curl))
    assert counts == [4, 2, 2, 1, 1]


def run_curl(text: str) -> list[Row]:
    output = subprocess.run(["bash", "-c", text], check=True, capture_output=True, timeout=60)
    return [
        (row["path"], row["face_index"], row["emotion"], float(row["score"] or 0))
        for row in csv.DictReader(io.StringIO(output.stdout.decode()))
    ]


def run_python(text: str) -> list[Row]:
    output = io.StringIO()
    with redirect_stdout(output):
        exec(text, {})

    rows = []
    for line in output.getvalue().splitlines():
        # Paths may have spaces.
        path, *values = line.rsplit(" ", 3)
        index, emotion, score = ["" if value == "None" else value for value in values]
        rows.append((path, index, emotion, float(score or 0)))
    return rows


def run_sql(db: Database, text: str) -> list[Row]:
    assert db.url.database is not None
    connection = sqlite3.connect(db.url.database)
    rows = connection.execute(text).fetchall()
    connection.close()
    return [
        (path, "" if face is None else str(face), emotion or "", round(score or 0, 6))
        for path, _, face, emotion, score, *_ in rows
    ]
