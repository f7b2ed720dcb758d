"""Results as Parquet."""

import io
import sys
from dataclasses import replace

import pyarrow.parquet
import pytest

from models import parquet
from models.errors import UsageError
from models.formats import COLUMNS
from models.labels import EMOTIONS
from models.parquet import as_parquet
from tests.models.test_formats import CLASSIFIED, UNREADABLE


def test_each_column_has_its_type_and_each_record_its_row() -> None:
    table = pyarrow.parquet.read_table(
        io.BytesIO(b"".join(as_parquet([CLASSIFIED, replace(UNREADABLE, path="=c.jpg")])))
    )
    assert tuple(table.column_names) == COLUMNS
    types = {name: str(table.schema.field(name).type) for name in COLUMNS}
    assert {types[name] for name in ("score", "face_roll", *EMOTIONS)} == {"float"}
    assert (types["job_id"], types["box_x"], types["path"]) == ("int64", "int32", "string")

    classified, unreadable = table.to_pylist()
    assert (classified["box_width"], classified["emotion"]) == (3, "neutral")
    assert classified["score"] == pytest.approx(CLASSIFIED.score)
    assert (unreadable["path"], unreadable["error_code"]) == ("=c.jpg", "truncated")
    assert {unreadable[name] for name in ("box_x", "emotion", *EMOTIONS)} == {None}


def test_a_file_without_results_has_the_columns() -> None:
    table = pyarrow.parquet.read_table(io.BytesIO(b"".join(as_parquet([]))))
    assert (tuple(table.column_names), table.num_rows) == (COLUMNS, 0)


def test_row_groups_are_passed_on_while_records_still_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_CHUNK_ROWS", 2)
    monkeypatch.setattr(parquet, "GROUP_CHUNKS", 2)
    records = iter([CLASSIFIED] * 10)
    pieces = as_parquet(records)
    first = next(pieces) + next(pieces)
    assert (first[:4], len(list(records))) == (b"PAR1", 6)

    data = b"".join(as_parquet([CLASSIFIED] * 10))
    file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
    assert (file.num_row_groups, file.metadata.num_rows) == (3, 10)


def test_without_the_extra_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r'pip install "cuemill\[parquet\]"'):
        as_parquet([])
