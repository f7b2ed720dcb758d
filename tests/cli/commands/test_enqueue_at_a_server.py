"""`cuemill enqueue --server`: from a machine that shares no disk with the server."""

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from api.context import Context
from api.server import make_api
from cli.main import app
from cli.remote import ServerError, note_of
from models.errors import UsageError
from models.settings import Settings
from models.store import cancellation, jobs, keys
from models.store.database import Database
from models.store.keys import Scope
from tests.integration.deployment import CUEMILL, Deployment, deployment, make_faces
from tests.services import free_port, patience, wait_until


@dataclass(frozen=True)
class Server:
    """An API that may read no folder."""

    address: str
    database: Database
    spool: Path


@pytest.fixture
def server(tmp_path: Path, tiny_model: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'cuemill.db'}")
    database.upgrade()
    settings = Settings(_env_file=None, data_dir=folder, model=tiny_model)
    context = Context(database, settings, announce=lambda: None, ping_queue=lambda: None)

    port = free_port()
    config = uvicorn.Config(make_api(context), port=port, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, "the API to answer")
    yield Server(f"http://127.0.0.1:{port}", database, settings.spool_folder)
    server.should_exit = True
    thread.join()
    database.close()


@pytest.fixture
def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """A machine with the command, and with nothing of the server's."""
    environment = {"CUEMILL_DATA_DIR": str(tmp_path / "laptop")}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with deployment("embedded", environment) as commands:
        yield commands


def enqueue(folder: Path, server: Server, *options: str) -> Result:
    """Runs the command in this process."""
    return CliRunner().invoke(app, ["enqueue", str(folder), "--server", server.address, *options])


@pytest.mark.usefixtures("laptop")
def test_it_uploads_what_a_scan_would_take_and_prints_the_id(
    server: Server, tmp_path: Path
) -> None:
    photos = make_faces(tmp_path / "photos", 3)
    make_faces(photos / "@eaDir", 1)
    make_faces(photos / "small", 1)
    (photos / "notes.txt").touch()
    options = ("--exclude", "small", "--faces", "whole", "--metadata", '{"study": 7}')
    done = enqueue(photos, server, *options)
    assert done.stdout == "1\n"

    job = jobs.get(server.database, 1)
    assert (job.metadata, job.detection.mode) == ({"study": 7}, "whole")
    names = {path.name for path in photos.glob("*.jpg")}
    assert {path.name for path in server.spool.glob("*/files/*")} == names
    assert list((tmp_path / "laptop" / "uploads").iterdir()) == []
    assert enqueue(photos, server, "--no-recursive").stdout == "2\n"


@pytest.mark.usefixtures("laptop")
def test_it_finds_the_job_whose_answer_was_lost(server: Server, tmp_path: Path) -> None:
    photos = make_faces(tmp_path / "photos", 1)
    assert enqueue(photos, server).stdout == "1\n"
    (uploaded,) = server.spool.iterdir()
    note_of(server.address, photos).write_text(uploaded.name)
    assert enqueue(photos, server).stdout == "1\n"
    assert enqueue(photos, server).stdout == "2\n"


@pytest.mark.usefixtures("laptop")
def test_waiting_tells_a_job_that_does_not_complete(server: Server, tmp_path: Path) -> None:
    photos = make_faces(tmp_path / "photos", 1)

    def cancel() -> None:
        wait_until(lambda: jobs.list_newest(server.database), "the job")
        cancellation.cancel(server.database, 1)

    canceller = threading.Thread(target=cancel)
    canceller.start()
    done = enqueue(photos, server, "--wait", "--json")
    canceller.join()
    assert done.exit_code == 1
    assert json.loads(done.stdout)["status"] == "cancelled"


def test_interrupted_it_sends_only_what_is_missing_when_run_again(
    laptop: Deployment, server: Server, tmp_path: Path
) -> None:
    photos = make_faces(tmp_path / "photos", 100)
    process = subprocess.Popen(
        [*CUEMILL, "enqueue", str(photos), "--server", server.address],
        env=laptop.variables,
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: any(server.spool.glob("*/files/*")), "the first file to arrive")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=patience(30))
    assert process.returncode == 130
    assert stderr == b"Interrupted. Run the same command again to send what is missing.\n"
    (files,) = server.spool.glob("*/files")
    there = {path.name: path.stat().st_ino for path in files.iterdir()}
    assert 0 < len(there) < 100

    assert enqueue(photos, server).stdout == "1\n"
    arrived = {path.name: path.stat().st_ino for path in files.iterdir()}
    assert len(arrived) == 100
    assert there.items() <= arrived.items()


@pytest.mark.usefixtures("laptop")
def test_single_files_that_cannot_be_sent_are_named_and_the_others_queued(
    server: Server, tmp_path: Path
) -> None:
    photos = make_faces(tmp_path / "photos", 2)
    (photos / "face-00000.jpg").rename(photos / "back\\slash.jpg")
    done = enqueue(photos, server)
    assert (done.exit_code, done.stdout) == (1, "1\n")
    assert "slash.jpg was not uploaded: The path has a backslash." in done.stderr


@pytest.mark.usefixtures("laptop")
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--model", "absent"), "absent"),
        (("--idempotency-key", "x"), "neither --detector nor"),
        (("--server", "localhost"), "is not the address of a server"),
    ],
)
def test_what_cannot_be_is_bad_usage(
    server: Server, tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    photos = make_faces(tmp_path / "photos", 1)
    done = enqueue(photos, server, *options)
    assert isinstance(done.exception, UsageError)
    assert sentence in str(done.exception)


@pytest.mark.usefixtures("laptop")
def test_a_server_that_wants_a_key_gets_it_from_the_environment(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_faces(tmp_path / "photos", 1)
    text = keys.create(server.database, "laptop", Scope.SUBMIT)
    refused = enqueue(photos, server)
    assert isinstance(refused.exception, ServerError)
    monkeypatch.setenv("CUEMILL_KEY", text)
    assert enqueue(photos, server).stdout == "1\n"
