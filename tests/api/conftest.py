"""Fixtures for tests of the API: a client of an application without workers."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from api.context import Context
from api.server import make_api
from models.errors import QueueError
from models.settings import Settings
from models.store.database import Database
from tests.integration.deployment import make_faces

BASE_URL = "http://localhost:8000"


@pytest.fixture
def announced() -> list[bool]:
    """Gets an element for each time that the API has announced work."""
    return []


@pytest.fixture
def client(
    db: Database, tiny_model: Path, tmp_path: Path, announced: list[bool]
) -> Iterator[TestClient]:
    settings = Settings(
        _env_file=None, image_roots=(tmp_path,), model=tiny_model, spool=tmp_path / "spool"
    )
    context = Context(
        db, settings, announce=lambda: announced.append(True), ping_queue=lambda: None
    )
    with TestClient(
        make_api(context), base_url=BASE_URL, raise_server_exceptions=False
    ) as test_client:
        test_client.event_hooks["response"] = [check_is_described]
        yield test_client


def check_is_described(response: httpx.Response) -> None:
    """Whatever a test asks for: the answer's status is one that the API's description names."""
    method, path = response.request.method.lower(), response.request.url.path
    if method == "head":
        method = "get"

    for pattern, operations in _paths():
        if pattern.fullmatch(path) and method in operations:
            described = operations[method]["responses"]
            assert str(response.status_code) in described, f"{method} {path} is not described"
            return


@cache
def _paths() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    context = Context(Database("sqlite://"), Settings(_env_file=None), lambda: None, lambda: None)
    paths = make_api(context).openapi()["paths"]
    return [
        (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operations)
        for path, operations in paths.items()
    ]


@pytest.fixture
def faces(tmp_path: Path) -> str:
    """The path of a folder with one image, within the image roots."""
    return str(make_faces(tmp_path / "faces", 1))


@pytest.fixture
def client_without_database(tiny_model: Path, tmp_path: Path) -> Iterator[TestClient]:
    """Neither the database nor the queue of this client's application can be reached."""
    unreachable = Database("postgresql+psycopg://user:secret@127.0.0.1:1/x")
    settings = Settings(_env_file=None, image_roots=(tmp_path,), model=tiny_model)
    context = Context(unreachable, settings, announce=lambda: None, ping_queue=_fail)
    with TestClient(make_api(context), base_url=BASE_URL) as test_client:
        yield test_client


def _fail() -> None:
    raise QueueError("The broker cannot be reached.")
