"""The files of one batch: those an earlier job has a prediction of, and the bytes of the others."""

import os
import stat
from collections.abc import Sequence
from typing import Final

from models.errors import ImageCode, ImageError, PlaceError
from models.sources.names import to_bytes, to_text
from models.sources.read import read_image
from models.sources.roots import check_identity, is_gone_or_empty
from models.store import reuse
from models.store.batches import Claim, Item
from models.store.database import Database
from models.store.records import FaceRecord, ImageRecord, Origin
from models.store.reuse import ReuseScope
from models.store.states import Outcome
from worker.watch import Watch

CACHE_BYTES: Final = 32 * 2**20
"""How much of the files that were read for their fingerprint is kept for decoding. The rest is
read again."""


class Files:
    """Reads the files of a batch, each only once as long as they fit into `CACHE_BYTES`."""

    def __init__(self, db: Database, claim: Claim, scope: ReuseScope, watch: Watch) -> None:
        self._db = db
        self._watch = watch
        self._claim = claim
        self._scope = scope
        self._folder = to_bytes(claim.folder)
        self._cache: dict[str, tuple[bytes, Origin]] = {}
        self._cache_room = CACHE_BYTES

    def reuse(self) -> list[ImageRecord]:
        """Returns a record of each image whose prediction an earlier job has."""
        if not self._scope.lookup:
            return []

        records, changed = self._reuse_unchanged()
        return records + self._reuse_identical(changed)

    def read(self, path: str) -> tuple[bytes, Origin]:
        """Returns a file's bytes, and the origin of a prediction made from them.

        Raises:
            ImageError, PlaceError: as `read_image`.
            FolderError: the file is gone because its folder is, or because it is another one.
            ClaimLostError: the work was cancelled or claimed by another worker.
        """
        cached = self._cache.pop(path, None)
        return cached or self._read(path)

    def _reuse_unchanged(self) -> tuple[list[ImageRecord], Sequence[Item]]:
        """Reuses by size and modification time, if these are trusted.

        Returns:
            A record of each file that has not changed since the previous job, and the other items.
        """
        items = self._claim.items
        if self._scope.previous is None:
            return [], items

        paths = [path for _, path in items]
        predictions = reuse.find_by_mtime(
            self._db, self._scope.previous, self._claim.model_release_id, paths
        )

        records: list[ImageRecord] = []
        changed: list[Item] = []
        for number, path in items:
            origin, faces = predictions.get(path, (None, ()))
            if origin is not None and self._status(path) == (origin.size, origin.mtime_ns):
                records.append(_reused(number, path, origin, faces))
            else:
                changed.append((number, path))
        return records, changed

    def _reuse_identical(self, items: Sequence[Item]) -> list[ImageRecord]:
        """Reuses by fingerprint: returns a record of each file that an earlier job has read."""
        origins: dict[Item, Origin] = {}
        for number, path in items:
            try:
                origins[number, path] = self._read_ahead(path)
            except PlaceError:
                break  # The others may take as long to fail.
            except ImageError:
                # Reading the file again, to decode it, gives the same error, and records it.
                continue

        fingerprints = [origin.fingerprint for origin in origins.values() if origin.fingerprint]
        predictions = reuse.find_by_fingerprint(self._db, self._claim.job_id, fingerprints)

        records = []
        for (number, path), origin in origins.items():
            faces = predictions.get(origin.fingerprint or b"")
            if faces is not None:
                records.append(_reused(number, path, origin, faces))
        return records

    def _read_ahead(self, path: str) -> Origin:
        """Reads a file for its fingerprint, and keeps its bytes for `read` if there is room."""
        data, origin = self._read(path)
        if len(data) <= self._cache_room:
            self._cache_room -= len(data)
            self._cache[path] = data, origin
        return origin

    def _read(self, path: str) -> tuple[bytes, Origin]:
        # The status is from before the bytes were read. If the file is written meanwhile, a later
        # job finds it changed, which costs one prediction; the reverse would hide a change.
        self._watch.read(path)
        try:
            data, status = read_image(self._folder, to_bytes(path), self._watch.alive)
        except ImageError as error:
            if error.code == ImageCode.VANISHED:
                check_identity(self._folder, self._claim.inode)
                self._check_subfolder(to_bytes(path))
            raise
        finally:
            self._watch.compute()

        fingerprint = self._scope.fingerprint(data)
        if status is None:
            return data, Origin(fingerprint)
        return data, Origin(fingerprint, status.st_size, _recordable(status.st_mtime_ns))

    def _check_subfolder(self, path: bytes) -> None:
        """
        Raises:
            PlaceError: the folder of a missing file is gone too, or has become empty.
        """
        subfolder = os.path.dirname(path)
        if subfolder and is_gone_or_empty(os.path.join(self._folder, subfolder)):
            raise PlaceError(
                f"The file is missing, and its folder {to_text(subfolder)} is gone or empty. Check "
                "whether its drive is mounted.",
                ImageCode.VANISHED,
            )

    def _status(self, path: str) -> tuple[int | None, int | None]:
        """A file's size and modification time; None for a link or anything else but a file."""
        self._watch.read(path)
        try:
            status = os.lstat(os.path.join(self._folder, to_bytes(path)))
        except OSError:
            return None, None
        finally:
            self._watch.compute()

        if not stat.S_ISREG(status.st_mode):
            return None, None
        return status.st_size, status.st_mtime_ns


def _recordable(mtime_ns: int) -> int | None:
    """A modification time, or None if 64 bits cannot hold it: before 1677 or after 2262.

    A file without one is read again even if times are trusted.
    """
    return mtime_ns if abs(mtime_ns) < 2**63 else None


def _reused(number: int, path: str, origin: Origin, faces: Sequence[FaceRecord]) -> ImageRecord:
    outcome = Outcome.CLASSIFIED if faces else Outcome.NO_FACE
    return ImageRecord(number, path, outcome, faces=faces, origin=origin, reused=True)
