"""What commands share: settings and an up-to-date database."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.errors import EngineError
from models.settings import Settings, load_settings
from models.sources.names import to_text
from models.sources.roots import check_folder
from models.store import batches, releases
from models.store.database import Database
from models.store.jobs import Submission


@contextmanager
def trainer_extra() -> Iterator[None]:
    """Around imports of the trainer, whose libraries are an extra.

    Raises:
        EngineError: one of them isn't installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        yield
    except ModuleNotFoundError as error:
        raise EngineError(f"This needs {error.name}: pip install 'cuemill[trainer]'.") from error


def connect(**overrides: object) -> tuple[Settings, Database]:
    """Settings from the environment, and the database they name, brought to this program's revision."""
    settings = load_settings(**overrides)
    db = Database(settings.database)
    db.upgrade()
    return settings, db


def submission(
    settings: Settings, db: Database, folder: Path, model: str | None, recursive: bool, **more: Any
) -> Submission:
    """A request for a folder, checked. The command line may read whatever its user can."""
    real = check_folder(folder)
    release_id = releases.resolve(db, model, settings.model)
    return Submission(to_text(real), release_id, recursive, settings.batch_size, **more)


def announce(settings: Settings, db: Database) -> None:
    """Tells the queue, where there is one, that work is due; polling workers see it by themselves."""
    if settings.broker_url:
        from models.queue import make_app, sender

        batches.dispatch(db, sender(make_app(settings.broker_url)), settings)


def queue_ping(settings: Settings) -> Callable[[], bool]:
    """Says whether the queue can be reached, as it always can where there is none."""
    if not settings.broker_url:
        return lambda: True
    from models.queue import make_app, pinger

    return pinger(make_app(settings.broker_url))
