"""Results as Parquet, with the extra `cuemill[parquet]`: the columns of CSV, each with its type."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from models.errors import UsageError
from models.formats import COLUMNS, to_row
from models.labels import EMOTIONS
from models.store.results import Record

_CHUNK_ROWS: Final = 1_000
GROUP_CHUNKS: Final = 20
"""Of a row group, which is in memory as a whole: a few megabytes."""

_INT64: Final = ("job_id",)
_INT32: Final = ("face_index", "box_x", "box_y", "box_width", "box_height")
_FLOAT32: Final = ("face_confidence", "face_roll", "score", *EMOTIONS)


def check_installed() -> None:
    """
    Raises:
        UsageError: the extra is not installed.
    """
    _import()


def as_parquet(records: Iterable[Record]) -> Iterator[bytes]:
    """One Parquet file, compressed with Zstandard, a row group at a time.

    Text is as it was recorded: no program takes it for a formula. Empty pieces come between.

    Raises:
        UsageError: the extra is not installed.
    """
    return _write(_import(), iter(records))


def _write(pyarrow: Any, records: Iterator[Record]) -> Iterator[bytes]:
    schema = pyarrow.schema([(name, _type(pyarrow, name)) for name in COLUMNS])
    sink = _Sink()
    file = pyarrow.PythonFile(sink, mode="w")

    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        group = []
        while chunk := list(islice(records, _CHUNK_ROWS)):
            group.append(_to_batch(pyarrow, schema, chunk))
            if len(group) == GROUP_CHUNKS:
                writer.write_table(pyarrow.Table.from_batches(group))
                group.clear()
            yield sink.take()

        if group:
            writer.write_table(pyarrow.Table.from_batches(group))
    yield sink.take()


def _to_batch(pyarrow: Any, schema: Any, chunk: list[Record]) -> Any:
    columns = zip(*map(to_row, chunk), strict=True)
    arrays = [
        pyarrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)
    ]
    return pyarrow.record_batch(arrays, schema=schema)


def _type(pyarrow: Any, column: str) -> Any:
    if column in _FLOAT32:
        return pyarrow.float32()
    if column in _INT32:
        return pyarrow.int32()
    return pyarrow.int64() if column in _INT64 else pyarrow.string()


def _import() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(
            'Parquet needs an extra that is not installed. Run `pip install "cuemill[parquet]"` '
            "where this program runs, or choose CSV or JSON Lines."
        ) from None
    return pyarrow


class _Sink:
    """A file in memory, which is taken away a piece at a time."""

    closed = False

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: Any) -> int:
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def take(self) -> bytes:
        piece = b"".join(self._written)
        self._written.clear()
        return piece
