"""The scan of one job's folder: records paths as batches, and announces them while it lists."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from models.errors import FolderError
from models.logs import about
from models.settings import Settings
from models.sources.exclusions import Exclusions
from models.sources.names import SUFFIXES, to_bytes, to_text
from models.sources.roots import check_folder, check_identity, identify
from models.sources.skipped import describe
from models.sources.walk import Passing, pick, walk
from models.store import cancellation, scans
from models.store.database import Database
from models.store.scans import ScanClaim
from worker.lease import ClaimLostError
from worker.watch import watch

COMMIT_S: Final = 0.1
"""Paths that the walk finds within this time are committed together; the first batch is at once."""
COMMIT_PATHS: Final = 4096
"""No commit has more paths than this, so that no transaction takes long."""
CLASSIFY_AFTER_S: Final = 1.0
"""Until then a scan does nothing but list. Most folders take less, and other workers wait for
their batches."""

_log = logging.getLogger(__name__)


def scan(
    db: Database,
    settings: Settings,
    worker: str,
    job_id: int | None,
    announce: Callable[[], object],
    classify: Callable[[], object],
) -> bool:
    """Claims and scans the folder of this job, or of the oldest job due; False if there is none.

    An interrupted scan resumes after the last recorded path.

    Args:
        announce: called after each commit, which leaves batches due.
        classify: works on one batch. A long scan calls it between commits, for up to half of the
            time, so that a large folder gives results early even if there is only this worker.

    Raises:
        DatabaseError: the scan stays claimed until its lease expires, and then resumes.
    """
    claim = scans.claim(db, job_id, worker, settings.lease_s)
    if claim is None:
        return False

    with about(job=claim.job_id, attempt=claim.attempt):
        try:
            _scan_folder(db, settings, claim, announce, classify)
        except NoImageError as error:
            if cancellation.fail(db, claim, error):
                _log.warning("The job failed: %s", error.code)
        except FolderError as error:
            # Another host may have it, or this one later.
            if scans.give_back(db, claim, error):
                _log.warning("The job waits: %s", error)
        except ClaimLostError:
            _log.info("Another worker has the scan, or the job has ended.")

    return True


class NoImageError(FolderError):
    """A folder without images, which no other try changes."""


def _scan_folder(
    db: Database,
    settings: Settings,
    claim: ScanClaim,
    announce: Callable[[], object],
    classify: Callable[[], object],
) -> None:
    """
    Raises:
        NoImageError: there is none.
        FolderError: the folder, or one below it, cannot be listed now.
        ClaimLostError: another worker has the scan, or the job has ended.
    """
    renew = partial(scans.renew, db, claim, settings.lease_s)

    def give_back(_: str) -> None:
        error = FolderError(f"{claim.folder} does not answer. Check its drive or mount.")
        scans.give_back(db, claim, error)

    with watch(renew, give_back, settings.lease_s, image_leases=math.inf) as state:
        state.read()
        folder = to_bytes(claim.folder)
        check_folder(folder)
        check_identity(folder, claim.inode)
        inode = identify(folder)
        state.compute()
        if not scans.begin(db, claim, inode):
            raise ClaimLostError

        state.read()
        resume_after = to_bytes(claim.cursor) if claim.cursor else None
        # In the end, one folder that fails does not keep the rest from being listed.
        is_patient = claim.troubled_s < settings.give_up_s / 2
        passing = Passing(Exclusions(claim.exclude), Counter(claim.skipped))
        if claim.only is not None:
            paths = pick([to_bytes(name) for name in claim.only], resume_after)
        else:
            paths = walk(
                folder,
                claim.recursive,
                resume_after,
                state.alive,
                wait=is_patient,
                passing=passing,
            )

        number = claim.total
        started = time.monotonic()
        classifying_s = 0.0
        for group, skipped in _group(paths, number, claim.batch_size, passing.counts):
            state.compute()
            items = [(number + index, to_text(path)) for index, path in enumerate(group)]
            if not scans.record(db, claim, items, settings.lease_s, skipped):
                raise ClaimLostError
            number += len(items)
            announce()

            now = time.monotonic()
            elapsed_s = now - started
            if elapsed_s > CLASSIFY_AFTER_S and classifying_s <= elapsed_s / 2:
                classify()
                classifying_s += time.monotonic() - now
            state.read()

    if number == 0:
        where = "" if claim.recursive else " itself; its subfolders were not searched"
        suffixes = ", ".join(sorted(SUFFIXES))
        raise NoImageError(
            f"{claim.folder} contains no image{where}. Expected files that end in {suffixes}. "
            + " ".join(describe(passing.counts, claim.exclude))
        )
    scans.finish(db, claim, passing.counts)


def _group(
    paths: Iterator[bytes], number: int, largest_batch: int, counts: Mapping[str, int]
) -> Iterator[tuple[list[bytes], dict[str, int]]]:
    """Yields paths in groups to commit: a full batch at once, then one every `COMMIT_S`.

    Args:
        number: of the first path.
        counts: what the walk has passed over. Each group has what they were at its last path.
    """
    group: list[bytes] = []
    skipped: dict[str, int] = {}
    commit_at = 0.0

    for path in paths:
        group.append(path)
        skipped = dict(counts)
        fills_batch = len(group) >= scans.batch_size(number, largest_batch)
        is_due = fills_batch and time.monotonic() >= commit_at
        if is_due or len(group) == COMMIT_PATHS:
            yield group, skipped
            number += len(group)
            group = []
            commit_at = time.monotonic() + COMMIT_S

    if group:
        yield group, skipped
