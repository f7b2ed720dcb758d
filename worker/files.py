"""The files of one batch: which of them have a prediction in an earlier job, and the bytes of the others."""

import os
import stat
from collections.abc import Callable

from models.errors import ImageError
from models.sources.names import to_bytes
from models.sources.read import read_image
from models.store import reuse
from models.store.batches import Claim
from models.store.database import Database
from models.store.records import ImageRecord, Origin
from models.store.reuse import ReuseScope
from models.store.states import Outcome

KEPT_BYTES = 32 * 2**20
"""Of a batch's files, read to be recognized, this much is kept for decoding; what is beyond is read again."""

Item = tuple[int, str]


class Files:
    """Reads a batch's files, each once as long as they are small."""

    def __init__(self, db: Database, claim: Claim, scope: ReuseScope) -> None:
        self._db = db
        self._claim = claim
        self._scope = scope
        self._folder = to_bytes(claim.folder)
        self._kept: dict[str, tuple[bytes, Origin]] = {}
        self._room = KEPT_BYTES

    def reused(self, keep_alive: Callable[[], None]) -> list[ImageRecord]:
        """Rows of the images whose prediction is an earlier job's."""
        if not self._scope.lookup:
            return []
        rows, others = self._unchanged()
        origins: dict[Item, Origin] = {}
        for item in others:
            keep_alive()
            try:
                origins[item] = self._recognize(item[1])
            except ImageError:
                continue  # Whoever reads it to decode it gets the same error, and its row.
        known = reuse.find_by_fingerprint(
            self._db,
            self._claim.job_id,
            [origin.fingerprint for origin in origins.values() if origin.fingerprint],
        )
        for (number, path), origin in origins.items():
            if (scores := known.get(origin.fingerprint or b"")) is not None:
                rows.append(
                    ImageRecord(
                        number, path, Outcome.CLASSIFIED, scores=scores, origin=origin, reused=True
                    )
                )
        return rows

    def _unchanged(self) -> tuple[list[ImageRecord], list[Item]]:
        """Rows of the files whose size and time the previous job saw too, if they are to be trusted; and the others."""
        items = self._claim.items
        if self._scope.previous is None:
            return [], items
        paths = [path for _, path in items]
        known = reuse.find_by_mtime(
            self._db, self._scope.previous, self._claim.model_release_id, paths
        )
        rows: list[ImageRecord] = []
        others: list[Item] = []
        for number, path in items:
            origin, scores = known.get(path, (None, None))
            if origin is not None and self._status(path) == (origin.size, origin.mtime_ns):
                rows.append(
                    ImageRecord(
                        number, path, Outcome.CLASSIFIED, scores=scores, origin=origin, reused=True
                    )
                )
            else:
                others.append((number, path))
        return rows, others

    def _recognize(self, path: str) -> Origin:
        data, origin = self._read(path)
        if len(data) <= self._room:
            self._room -= len(data)
            self._kept[path] = data, origin
        return origin

    def read(self, path: str) -> tuple[bytes, Origin]:
        """A file's bytes, and what a prediction made from them is to say of its origin.

        Raises:
            ImageError: as `read_image`.
        """
        return self._kept.pop(path, None) or self._read(path)

    def _read(self, path: str) -> tuple[bytes, Origin]:
        data, before = read_image(self._folder, to_bytes(path))
        # Should the file have been changed meanwhile, it is taken for changed later, never for the same.
        size, mtime_ns = (before.st_size, before.st_mtime_ns) if before else (None, None)
        return data, Origin(self._scope.fingerprint(data), size, mtime_ns)

    def _status(self, path: str) -> tuple[int | None, int | None]:
        """A file's size and time of change; None for what is no plain file, links among them."""
        try:
            status = os.lstat(os.path.join(self._folder, to_bytes(path)))
        except OSError:
            return None, None
        return (
            (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else (None, None)
        )
