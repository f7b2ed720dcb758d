"""Fixtures for tests of the client: an API in this process, which both clients speak with."""

from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.context import Context
from api.server import make_api
from cuemill_client import Client
from models.settings import Settings
from models.store.database import Database
from tests.integration.deployment import make_faces

BASE_URL = "http://localhost:8000"


class CutConnection(httpx.BaseTransport):
    """Cuts the connection once a request has arrived, before the answer to it has.

    Args:
        times: how often.
    """

    def __init__(self, api: FastAPI, times: int) -> None:
        self._inner = TestClient(api)
        self._times = times

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.send(request)
        if self._times:
            self._times -= 1
            raise httpx.ReadError("connection reset")
        return response


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'cuemill.db'}")
    database.upgrade()
    return database


@pytest.fixture
def api(
    database: Database, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FastAPI]:
    """An API that has one event loop for all its clients, as a server has."""
    settings = Settings(
        _env_file=None, image_roots=(tmp_path,), model=tiny_model, data_dir=tmp_path / "data"
    )
    context = Context(database, settings, announce=lambda: None, ping_queue=lambda: None)
    with start_blocking_portal() as portal:
        monkeypatch.setattr(TestClient, "portal", portal)
        yield make_api(context)


@pytest.fixture
def cuemill(api: FastAPI) -> Client:
    return Client(BASE_URL, http=TestClient(api))


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder with three images, within the image roots."""
    return make_faces(tmp_path / "faces", 3)
