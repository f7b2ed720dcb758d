"""The scan of a job's folder: batches of paths, each announced after its commit, while the listing goes on."""

import logging
from collections.abc import Callable
from itertools import islice

from models import jobs, scans
from models.database import Database
from models.errors import FolderError
from models.images import SUFFIXES
from models.paths import check_folder, to_bytes, to_text, walk
from models.scans import ScanClaim
from models.settings import Settings

_log = logging.getLogger(__name__)


def scan(db: Database, settings: Settings, worker: str, job_id: int | None, announce: Callable[[], object]) -> bool:
    """Claims and scans this job's folder, or that of the oldest job due; False when there was nothing to claim.

    An interrupted scan is gone on with behind the last path that it recorded.

    Args:
        announce: called after each commit that left batches due.

    Raises:
        DatabaseError: the scan stays claimed until its lease runs out, and is then gone on with.
    """
    claim = scans.claim(db, job_id, worker, settings.lease_s)
    if claim is None:
        return False
    try:
        _list(db, settings, claim, announce)
    except FolderError as error:
        _log.warning("job=%d failed: %s", claim.job_id, error.code)
        jobs.fail(db, claim.job_id, error)
    return True


def _list(db: Database, settings: Settings, claim: ScanClaim, announce: Callable[[], object]) -> None:
    folder = to_bytes(claim.folder)
    check_folder(folder)
    found = walk(folder, claim.recursive, to_bytes(claim.cursor) if claim.cursor else None)
    number = claim.total
    while paths := list(islice(found, claim.batch_size)):
        items = [(number + i, to_text(path)) for i, path in enumerate(paths)]
        if not scans.record(db, claim, items, settings.lease_s):
            return
        number += len(items)
        announce()
    if number == 0:
        raise FolderError(
            f"{claim.folder} holds no image{'' if claim.recursive else ' (its subfolders were not looked at)'}; "
            f"expected files that end in {', '.join(sorted(SUFFIXES))}."
        )
    scans.finish(db, claim)
