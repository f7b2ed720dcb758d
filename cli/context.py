"""What commands share: settings, an up-to-date database, and access to the queue."""

import os
import pwd
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cli.output import err
from models.errors import EngineError, QueueError, UsageError
from models.logs import start_logs
from models.pictures.detection import Detection
from models.queue import Ping
from models.settings import Settings, load_settings
from models.sources.exclusions import patterns_for
from models.sources.names import to_text
from models.sources.roots import check_folder
from models.store import hints, releases
from models.store.audit import Actor, act_as
from models.store.database import Database, open_database
from models.store.jobs import Submission


def load(**overrides: object) -> Settings:
    """The settings; from now on, logs are as they say."""
    settings = load_settings(**overrides)
    start_logs(settings.log_format)
    return settings


def connect(**overrides: object) -> tuple[Settings, Database]:
    """The settings, and their database, migrated to this program's revision."""
    settings = load(**overrides)
    db = open_database(settings)
    db.upgrade()
    act_as(Actor(f"cli:{_user_name()}"))
    return settings, db


def make_submission(
    settings: Settings,
    db: Database,
    folder: Path,
    *,
    model: str | None,
    recursive: bool,
    exclude: Sequence[str],
    system_folders: bool,
    fresh: bool,
    trust_mtime: bool,
    retention_days: int | None,
    detection: Detection,
    metadata: dict[str, Any] | None = None,
    idempotency_key: str | None = None,
    only: Sequence[str] | None = None,
) -> Submission:
    """A checked request. Unlike the API, the command line may read any folder that its user can.

    Args:
        only: names of the folder's files to classify; None = whatever is in it.

    Raises:
        FolderError: the folder cannot be read.
        NotFoundError: the model is neither a file nor a known release.
        PickleError: the model cannot be used.
    """
    checked_folder = check_folder(folder)

    return Submission(
        folder=to_text(checked_folder),
        model_release_id=releases.resolve(db, model, settings.model),
        recursive=recursive,
        exclude=patterns_for(
            [to_text(os.fsencode(pattern)) for pattern in exclude], system_folders=system_folders
        ),
        batch_size=settings.batch_size,
        fresh=fresh,
        trust_mtime=trust_mtime,
        retention_days=retention_days,
        detection=detection,
        metadata=metadata,
        idempotency_key=idempotency_key,
        only=None if only is None else tuple(only),
        model=model,
    )


def announce(settings: Settings, db: Database) -> None:
    """Sends hints for all work that is due. Without a broker, workers poll and need none."""
    if settings.broker_url:
        from models.queue import make_app, make_sender

        hints.send_due(db, make_sender(make_app(settings.broker_url)), settings)


def check_queue(settings: Settings) -> bool:
    """Tries the queue before work is committed; returns whether to announce the work afterwards.

    A broker that is away for a while is no error: the sweep of a worker announces the work later.

    Raises:
        QueueError: the broker cannot work with these settings.
    """
    try:
        make_queue_ping(settings)()
    except QueueError as error:
        if not error.passing:
            raise
        err.print(str(error))
        return False
    return True


def make_queue_ping(settings: Settings) -> Ping:
    """A function that says whether the queue answers; without a broker, it always does."""
    if not settings.broker_url:
        return lambda: None

    from models.queue import make_app, make_ping

    return make_ping(make_app(settings.broker_url))


def _user_name() -> str:
    """The user's name by the system, not by a variable; in a container it may be a number."""
    user = os.getuid()
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


@contextmanager
def trainer_extra() -> Iterator[None]:
    """Wraps imports of the trainer, whose libraries are an extra.

    Raises:
        EngineError: the extra is not installed.
    """
    # TensorFlow reads this when it is first imported: 2 = errors only.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    # Keras and Matplotlib write their files below HOME otherwise.
    with suppress(UsageError):
        data_folder = load().data_folder
        os.environ.setdefault("KERAS_HOME", str(data_folder / "keras"))
        os.environ.setdefault("MPLCONFIGDIR", str(data_folder / "matplotlib"))

    try:
        yield
    except ModuleNotFoundError as error:
        raise EngineError(
            f"This command requires {error.name}. In a clone, run `make trainer`; elsewhere, run "
            "`pip install 'cuemill[trainer]'`."
        ) from error
