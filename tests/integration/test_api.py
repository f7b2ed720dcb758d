"""The API as a program, under load and at its end."""

import socket
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import files
from pathlib import Path

import duckdb
import httpx2 as httpx
import pandas
import psycopg
import pytest
import sqlalchemy as sa

from api.context import COSTLY_THREADS
from models.store import batches, releases
from models.store.database import Database
from models.store.tables import Image
from tests.builders import (
    SCORES,
    claim_batch,
    list_folder,
    queue_job,
    records_of,
    submit_job,
)
from tests.integration.deployment import Deployment
from tests.services import wait_until

FEW_S = 4.0
"""More than any answer takes that waits for nothing, and less than the costly ones wait here."""


def add_unreadable_images(database: Database, job_id: int, numbers: range) -> None:
    rows = [
        {
            "job_id": job_id,
            "number": number,
            "path": f"{number}.jpg",
            "outcome": "unreadable",
            "error_code": "truncated",
            "error_message": 2_000 * "x",
        }
        for number in numbers
    ]
    with database.write() as connection:
        connection.execute(sa.insert(Image), rows)


def test_sixty_costly_requests_leave_the_others_their_turn(
    scaled: Deployment, tmp_path: Path, tiny_model: Path
) -> None:
    client = scaled.serve(tmp_path)
    database = scaled.database()
    submit_job(database, releases.resolve(database, None, tiny_model))
    paths = ["/v1/results", "/v1/jobs/1/results.csv", "/v1/jobs/1/summary"]

    url = scaled.environment["CUEMILL_DATABASE_URL"]
    with ThreadPoolExecutor(60) as pool, psycopg.connect(url) as blocker:
        blocker.execute("LOCK TABLE images, predictions IN ACCESS EXCLUSIVE MODE")
        address = str(client.base_url)
        waiting = [
            pool.submit(httpx.get, f"{address}{paths[number % 3]}", timeout=60)
            for number in range(60)
        ]
        waits = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        with psycopg.connect(url, autocommit=True) as watcher:
            wait_until(lambda: watcher.execute(waits).rowcount == COSTLY_THREADS, "them to wait")

        assert client.get("/healthz", timeout=FEW_S).is_success
        assert client.get("/v1/jobs/1", timeout=FEW_S).is_success
        assert client.post("/v1/jobs/1/cancel", timeout=FEW_S).is_success
        assert client.get("/readyz", timeout=FEW_S).is_success
        blocker.rollback()
        assert all(request.result().status_code in (200, 503) for request in waiting)


def test_a_time_out_of_the_database_is_a_503(scaled: Deployment, tmp_path: Path) -> None:
    url = scaled.environment["CUEMILL_DATABASE_URL"]
    scaled.environment["CUEMILL_DATABASE_URL"] += "?options=-c%20statement_timeout%3D200ms"
    client = scaled.serve(tmp_path)

    with psycopg.connect(url) as blocker:
        blocker.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        response = client.get("/v1/jobs")
    assert (response.status_code, response.json()["code"]) == (503, "database")
    assert response.headers["Retry-After"]
    assert client.get("/v1/jobs").is_success


def test_sigterm_ends_the_api_although_a_reader_of_an_export_has_stopped_reading(
    embedded: Deployment, tmp_path: Path, tiny_model: Path
) -> None:
    client = embedded.serve(tmp_path)
    database = embedded.database()
    job_id = submit_job(database, releases.resolve(database, None, tiny_model))
    add_unreadable_images(database, job_id, range(8_000))

    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        reader.connect(("127.0.0.1", client.base_url.port))
        reader.sendall(b"GET /v1/jobs/1/results.jsonl HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert reader.recv(9) == b"HTTP/1.1 "
        assert client.get("/v1/jobs/1", timeout=FEW_S).is_success

        embedded.programs[0].terminate()
        embedded.programs[0].wait(15)


def test_sigterm_closes_events_without_cutting_them_off(
    embedded: Deployment, tmp_path: Path, tiny_model: Path
) -> None:
    client = embedded.serve(tmp_path)
    database = embedded.database()
    job = queue_job(database, releases.resolve(database, None, tiny_model))

    with client.stream("GET", f"/v1/jobs/{job.id}/events") as response:
        lines = response.iter_lines()
        assert next(lines) == "event: progress"
        embedded.programs[0].terminate()
        assert "event: ended" not in list(lines)  # A body that is cut off would raise an error.
    embedded.programs[0].wait(15)


def duckdb_with_httpfs() -> duckdb.DuckDBPyConnection:
    """DuckDB as docs/http-api.md has it read URLs, with its extension as a Python package."""
    (extension,) = (file for file in files("duckdb-ext-httpfs") or () if "httpfs." in file.name)
    folder = Path(extension.locate()).parents[2]
    connection = duckdb.connect(config={"extension_directory": str(folder)})
    return connection.execute("LOAD httpfs").execute("SET force_download = true")


def test_pandas_and_duckdb_read_exports_by_their_urls(
    embedded: Deployment, tmp_path: Path, tiny_model: Path
) -> None:
    client = embedded.serve(tmp_path)
    database = embedded.database()
    list_folder(database, queue_job(database, releases.resolve(database, None, tiny_model)), 3)
    claim = claim_batch(database)
    batches.complete(database, claim, records_of(claim))
    add_unreadable_images(database, 1, range(3, 5))
    url = f"{client.base_url}/v1/jobs/1/results"
    paths = ["000.jpg", "001.jpg", "002.jpg", "3.jpg", "4.jpg"]

    for suffix in ("", "?outcome=unreadable"):
        frame = pandas.read_csv(f"{url}.csv{suffix}")
        assert list(frame["path"]) == (paths[3:] if suffix else paths)
        lines = pandas.read_json(f"{url}.jsonl{suffix}", lines=True)
        assert list(lines["path"]) == list(frame["path"])
    highest = float(SCORES.max())
    assert pandas.read_csv(f"{url}.csv")["score"].max() == pytest.approx(highest)
    assert pandas.read_parquet(f"{url}.parquet")["score"].max() == pytest.approx(highest)

    query = "SELECT outcome, count(*), max(score) FROM read_parquet(?) GROUP BY 1 ORDER BY 1"
    assert duckdb_with_httpfs().execute(query, [f"{url}.parquet"]).fetchall() == [
        ("classified", 3, pytest.approx(highest)),
        ("unreadable", 2, None),
    ]
