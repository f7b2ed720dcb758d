"""Faults from within: Python runs this module when a program starts with its folder in PYTHONPATH.

The product has no hook for it. Files in the folder FAULTS_FOLDER say what happens: a file named
after a point of the code kills the first process that reaches the point, and is removed. The files
`eio`, `hang`, `slow` and `loading` make images unreadable and networks deadly for as long as they
are there. Other files are written here, for the campaign to read.
"""

import errno
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("FAULTS_FOLDER", "/nonexistent"))
IMAGE_S = 0.01
"""Added to the reading of each image, so that workers are amid a batch most of the time."""
SLOW_S = 2.5
"""How long a slow file takes to give some bytes. The lease is shorter."""
PAUSE_S = 0.5
"""Between two tries to tell a webhook something."""
ANSWER_S = 1.0
"""How long a webhook's receiver may take to answer."""


def reach(point: str) -> None:
    """Kills this process if the point is armed and no other process reached it first."""
    try:
        (FOLDER / point).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def note(file: str, text: str) -> None:
    with open(FOLDER / file, "a") as notes:
        notes.write(f"{text}\n")


def _wrap(holder: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Replaces a function by a call of `wrapper(function, *arguments)`."""
    real = getattr(holder, name)
    setattr(
        holder, name, lambda *arguments, **options: wrapper(partial(real, **options), *arguments)
    )


def _read_image(real: Callable[..., Any], folder: bytes, path: bytes, *more: Any) -> Any:
    if b"poison" in path:
        note("deaths", os.fsdecode(folder))
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(IMAGE_S)
    return real(folder, path, *more)


def _read(real: Callable[..., Any], descriptor: int, size: int) -> Any:
    """Reads as from a drive that fails, hangs or is slow."""
    armed = [name for name in ("eio", "hang", "slow") if (FOLDER / name).exists()]
    path = os.readlink(f"/proc/self/fd/{descriptor}") if armed else ""

    if "eio" in armed and "/face-" in path:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    while "-hang" in path and (FOLDER / "hang").exists():
        time.sleep(0.02)
    if "slow" in armed and "-slow" in path:
        time.sleep(SLOW_S)
    return real(descriptor, size)


def _scandir(real: Callable[..., Any], path: Any) -> Any:
    # Some callers give a descriptor.
    name = "" if isinstance(path, int) else os.fsdecode(path)
    while "-hang" in name and (FOLDER / "hang").exists():
        time.sleep(0.02)
    return real(path)


def _load_engine(real: Callable[..., Any], *arguments: Any) -> Any:
    if (FOLDER / "loading").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)


def _claim(real: Callable[..., Any], *arguments: Any) -> Any:
    claim = real(*arguments)
    if claim is not None:
        reach("after-claim")
    return claim


def _to_input(real: Callable[..., Any], *arguments: Any) -> Any:
    reach("before-predict")
    return real(*arguments)


def _record(real: Callable[..., Any], *arguments: Any) -> None:
    real(*arguments)
    reach("before-commit")


def _complete(real: Callable[..., Any], *arguments: Any) -> Any:
    done = real(*arguments)
    if done:
        reach("after-commit")
    else:
        note("fenced", "completion")
    return done


def _renew(real: Callable[..., Any], *arguments: Any) -> Any:
    kept = real(*arguments)
    if not kept:
        note("fenced", "renewal")
    return kept


def _make_sender(real: Callable[..., Any], app: Any) -> Callable[[str, int], bool]:
    send = real(app)

    def sending(task: str, identity: int) -> bool:
        reach("before-publish")
        sent: bool = send(task, identity)
        reach("after-publish")
        return sent

    return sending


def _lost_broker(real: Callable[..., Any], *arguments: Any) -> None:
    real(*arguments)
    if (FOLDER / "consumer").exists():
        (FOLDER / "consumer").unlink()
        raise AttributeError("an error that kombu sometimes raises here")


def _acknowledge(real: Callable[..., Any], *arguments: Any) -> None:
    if (FOLDER / "no-acknowledgements").exists():
        note("unacknowledged", "message")
    else:
        real(*arguments)


def _become_newer(revision: str) -> None:
    """Makes this program one of a later version, which has further migrations."""
    from models.store import tables

    tables.REVISION = revision  # type: ignore[misc]
    from models.store import database

    database.MIGRATIONS = FOLDER / "migrations"  # type: ignore[misc]


def _inject() -> None:
    if "FAULTS_REVISION" in os.environ:
        _become_newer(os.environ["FAULTS_REVISION"])

    from models import queue
    from models.pictures import preprocessing
    from models.sources import read
    from models.store import batches, deliveries, records
    from worker import post
    from worker.engines import load

    # Receivers are given up as late as in the product, but tried again without long pauses.
    deliveries.SCHEDULE_S = (PAUSE_S,) * 10_000  # type: ignore[misc]
    post.WHOLE_S = ANSWER_S

    _wrap(os, "read", _read)
    _wrap(os, "scandir", _scandir)
    _wrap(load, "load_engine", _load_engine)
    _wrap(read, "read_image", _read_image)
    _wrap(preprocessing.Preprocessing, "to_input", _to_input)
    _wrap(batches, "claim", _claim)
    _wrap(records, "record", _record)
    _wrap(batches, "complete", _complete)
    _wrap(batches, "renew", _renew)
    _wrap(queue, "make_sender", _make_sender)
    if "worker" in sys.argv and "CUEMILL_BROKER_URL" in os.environ:
        from celery.worker.consumer import Consumer
        from kombu.message import Message

        _wrap(Consumer, "on_connection_error_after_connected", _lost_broker)
        _wrap(Message, "ack_log_error", _acknowledge)


if "FAULTS_FOLDER" in os.environ and not any("_tracker" in word for word in sys.orig_argv):
    try:
        _inject()
    except Exception:
        # Python would only print it and go on, and the campaign would pass without its faults.
        traceback.print_exc()
        os._exit(1)
