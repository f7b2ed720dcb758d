"""The scan of a job's folder: batches of paths, each announced after its commit, while the listing goes on."""

import logging
import time
from collections.abc import Callable, Iterator

from models.errors import FolderError
from models.settings import Settings
from models.sources.names import SUFFIXES, to_bytes, to_text
from models.sources.roots import check_folder
from models.sources.walk import walk
from models.store import cancellation, scans
from models.store.database import Database
from models.store.scans import ScanClaim
from worker.lease import ClaimLostError, renewer

_log = logging.getLogger(__name__)


COMMIT_S = 0.1
"""What is found meanwhile is committed together; the first batch is at once."""
COMMIT_PATHS = 4096
"""And no more than this, so that no transaction is long."""
CLASSIFY_AFTER_S = 1.0
"""Until then a scan only lists: most folders are known whole by then, and the other workers wait for their batches."""


def scan(
    db: Database,
    settings: Settings,
    worker: str,
    job_id: int | None,
    announce: Callable[[], object],
    classify: Callable[[], object],
) -> bool:
    """Claims and scans this job's folder, or that of the oldest job due; False when there was nothing to claim.

    An interrupted scan is gone on with behind the last path that it recorded.

    Args:
        announce: called after each commit that left batches due.
        classify: works on a batch. It is called between commits, in a long listing for up to half of the time, so that
            results come while a large folder is still being listed even if this worker is the only one.

    Raises:
        DatabaseError: the scan stays claimed until its lease runs out, and is then gone on with.
    """
    claim = scans.claim(db, job_id, worker, settings.lease_s)
    if claim is None:
        return False
    try:
        _list(db, settings, claim, announce, classify)
    except FolderError as error:
        _log.warning("job=%d failed: %s", claim.job_id, error.code)
        cancellation.fail(db, claim.job_id, error)
    except ClaimLostError:
        _log.info("job=%d its scan is no longer ours", claim.job_id)
    return True


def _list(
    db: Database,
    settings: Settings,
    claim: ScanClaim,
    announce: Callable[[], object],
    classify: Callable[[], object],
) -> None:
    folder = to_bytes(claim.folder)
    check_folder(folder)
    after = to_bytes(claim.cursor) if claim.cursor else None
    keep_alive = renewer(lambda: scans.renew(db, claim, settings.lease_s), settings.lease_s)
    found = walk(folder, claim.recursive, after, keep_alive)
    number, begun, classifying_s = claim.total, time.monotonic(), 0.0
    for paths in _together(found, number, claim.batch_size):
        items = [(number + i, to_text(path)) for i, path in enumerate(paths)]
        if not scans.record(db, claim, items, settings.lease_s):
            raise ClaimLostError
        number += len(items)
        announce()
        before = time.monotonic()
        if before > begun + CLASSIFY_AFTER_S and classifying_s <= (before - begun) / 2:
            classify()
            classifying_s += time.monotonic() - before
    if number == 0:
        raise FolderError(
            f"{claim.folder} holds no image{'' if claim.recursive else ' (its subfolders were not looked at)'}; "
            f"expected files that end in {', '.join(sorted(SUFFIXES))}."
        )
    scans.finish(db, claim)


def _together(found: Iterator[bytes], number: int, largest: int) -> Iterator[list[bytes]]:
    """What is found, in parts to be committed together: the first batch at once, then a tenth of a second's."""
    paths: list[bytes] = []
    due = 0.0
    for path in found:
        paths.append(path)
        if len(paths) == COMMIT_PATHS or (
            len(paths) >= scans.batch_size(number, largest) and time.monotonic() >= due
        ):
            yield paths
            number += len(paths)
            paths = []
            due = time.monotonic() + COMMIT_S
    if paths:
        yield paths
