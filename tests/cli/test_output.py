"""What commands print."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet
import pytest
from rich.console import Console

from cli.output import (
    TABLE_ROWS,
    Format,
    choose_format,
    count_of,
    counts_line,
    print_json,
    printable,
    write_results,
)
from models.errors import UsageError
from models.labels import EMOTIONS
from models.pictures.detection import WHOLE
from models.store.jobs import Counts, JobView
from models.store.results import Record
from models.store.states import JobStatus, Outcome

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
TEN_SECONDS_LATER = NOON.replace(second=10)


def job(counts: Counts, reused: int = 0, faces: int | None = None) -> JobView:
    """A job that completed in ten seconds."""
    return JobView(
        id=7,
        folder="/faces",
        recursive=True,
        model="tiny",
        model_release_id=1,
        metadata=None,
        status=JobStatus.COMPLETED,
        counts=counts,
        faces=counts.classified if faces is None else faces,
        reused=reused,
        detection=WHOLE,
        exclude=[],
        skipped={},
        retention_days=None,
        error=None,
        queued_at=NOON,
        running_at=NOON,
        scanned_at=NOON,
        completed_at=TEN_SECONDS_LATER,
        cancelled_at=None,
        failed_at=None,
        read_at=TEN_SECONDS_LATER,
    )


def record(path: str, box: tuple[int, int, int, int] | None = None) -> Record:
    """A face in this box (x, y, width, height), or a picture taken whole."""
    scores = dict.fromkeys(EMOTIONS, 0.0) | {"peace": 0.75, "fear": 0.25}
    sides = dict(zip(("x", "y", "width", "height"), box, strict=True)) if box else None
    face = {"index": 0, "box": sides}
    return Record(7, path, Outcome.CLASSIFIED, None, face, "peace", 0.75, scores, "tiny", "7.0.0")


def unreadable(path: str) -> Record:
    error = {"code": "empty", "message": "The file is empty."}
    return Record(7, path, Outcome.UNREADABLE, error, None, None, None, None, None, "7.1.0")


def faceless(path: str) -> Record:
    return Record(7, path, Outcome.NO_FACE, None, None, None, None, None, None, "7.2.0")


def test_parquet_is_written_to_files_and_pipes_but_not_to_a_terminal(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "results.parquet"
    assert choose_format(None, file) is Format.PARQUET
    records = [record("a.jpg"), unreadable("b.jpg")]
    write_results(records, Format.PARQUET, file)
    table = pyarrow.parquet.read_table(file)
    assert table.column("path").to_pylist() == ["a.jpg", "b.jpg"]

    write_results(records, choose_format(Format.PARQUET, None), None)
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == file.read_bytes()

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(UsageError, match="-o"):
        choose_format(Format.PARQUET, None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"cuemill\[parquet\]"):
        choose_format(None, file)


def test_control_characters_are_escaped() -> None:
    assert printable("a\x1b[2Jb\nc") == "a\\x1b[2Jb\\nc"
    assert printable("grün 🙂") == "grün 🙂"


def test_one_is_singular() -> None:
    assert [count_of(n, "image") for n in (0, 1, 2_000)] == ["0 images", "1 image", "2,000 images"]


def test_json_has_datetimes_in_iso_8601(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"at": NOON, "none": None})
    assert json.loads(capsys.readouterr().out) == {"at": "2026-11-27T12:00:00Z", "none": None}


def test_what_json_does_not_have_is_an_error() -> None:
    with pytest.raises(TypeError, match="Path"):
        print_json(Path())


def test_a_job_has_exactly_these_fields_in_json() -> None:
    fields = job(Counts(3, 0, 2, 0, 1, 0, 0)).to_plain(default_days=2)
    assert list(fields) == [
        "id",
        "folder",
        "recursive",
        "model",
        "model_release_id",
        "metadata",
        "status",
        "counts",
        "faces",
        "reused",
        "detection",
        "exclude",
        "skipped",
        "retention_days",
        "error",
        "queued_at",
        "running_at",
        "scanned_at",
        "completed_at",
        "cancelled_at",
        "failed_at",
        "trouble",
        "is_selection",
        "upload",
        "expires_at",
        "images_per_second",
        "eta_seconds",
    ]
    assert fields["counts"]["unreadable"] == 1
    assert fields["expires_at"] == TEN_SECONDS_LATER.replace(day=29)
    assert (fields["images_per_second"], fields["eta_seconds"]) == (0.3, None)


def test_counts_are_one_sentence_without_what_did_not_happen() -> None:
    assert (
        counts_line(job(Counts(2_000, 0, 1_990, 4, 6, 0, 0), reused=990))
        == "Job 7 completed: 2,000 images, 1,990 classified (990 reused), 4 no face, "
        "6 unreadable, 200 images/s."
    )
    assert (
        counts_line(job(Counts(0, 0, 0, 0, 0, 0, 0))) == "Job 7 completed: 0 images, 0 classified."
    )


@pytest.mark.parametrize(
    ("requested", "output", "expected"),
    [
        (None, None, Format.TABLE),
        (None, Path("x.csv"), Format.CSV),
        (Format.JSONL, None, Format.JSONL),
        (Format.JSON, Path("x.csv"), Format.JSON),
    ],
)
def test_the_format_is_the_requested_one_or_that_of_the_ending(
    requested: Format | None, output: Path | None, expected: Format
) -> None:
    assert choose_format(requested, output) is expected


def test_an_ending_without_a_format_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"expected one of \.json, \.jsonl, \.csv"):
        choose_format(None, Path("x.docx"))


@pytest.mark.parametrize(
    ("form", "read"),
    [
        (Format.JSON, json.loads),
        (Format.JSONL, lambda text: [json.loads(line) for line in text.splitlines()]),
    ],
)
def test_results_are_written_to_a_file(
    form: Format, read: Callable[[str], list[dict[str, object]]], tmp_path: Path
) -> None:
    output = tmp_path / "results"
    write_results([record("a.jpg"), unreadable("b.jpg")], form, output)
    assert [result["path"] for result in read(output.read_text())] == ["a.jpg", "b.jpg"]
    assert list(tmp_path.iterdir()) == [output]


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot write .*: No such file or directory"):
        write_results([], Format.CSV, tmp_path / "absent" / "results.csv")


def table(records: list[Record], folder: Path) -> list[str]:
    """The lines of a table, without the spaces at their ends."""
    write_results(records, Format.TABLE, folder / "results.txt")
    return [line.rstrip() for line in (folder / "results.txt").read_text().splitlines()]


def test_a_table_shows_the_two_highest_emotions_or_the_error(tmp_path: Path) -> None:
    assert table([record("a\n.jpg"), unreadable("b.jpg"), faceless("c.jpg")], tmp_path) == [
        "image    emotion  score            next",
        "a\\n.jpg  Peace    0.75 ████████··  Fear 0.25",
        "b.jpg    unreadable  The file is empty.",
        "c.jpg    no face found",
    ]


def test_a_table_shows_an_image_once_with_its_faces_from_left_to_right(tmp_path: Path) -> None:
    surest, other = record("[a].jpg", (420, 130, 96, 120)), record("[a].jpg", (9, 140, 88, 80))
    assert table([surest, other, record("b.jpg", (1, 2, 30, 30))], tmp_path) == [
        "image                       emotion  score            next",
        "[a].jpg",
        "  left 9, top 140, 80 px    Peace    0.75 ████████··  Fear 0.25",
        "  left 420, top 130, 96 px  Peace    0.75 ████████··  Fear 0.25",
        "b.jpg",
        "  left 1, top 2, 30 px      Peace    0.75 ████████··  Fear 0.25",
    ]


def test_a_table_says_that_an_image_has_more_faces_than_the_limit(tmp_path: Path) -> None:
    error = {"code": "too_many_faces", "message": "There are more faces."}
    lines = table([replace(record("a.jpg", (1, 2, 30, 30)), error=error)], tmp_path)
    assert lines[1].split() == ["a.jpg", "There", "are", "more", "faces."]


def test_a_long_path_takes_several_lines_and_the_emotions_keep_their_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.output.out", Console(width=80))
    write_results([record(100 * "a"), unreadable("b.jpg")], Format.TABLE, None)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.find("Peace") for line in lines if "Peace" in line] == [lines[0].find("emotion")]
    assert "".join(line[: lines[0].find("emotion")].strip() for line in lines[1:4]) == 100 * "a"


def test_a_table_without_results_is_its_header(tmp_path: Path) -> None:
    assert table([], tmp_path) == ["image  emotion  score            next"]


def test_a_long_table_is_cut_and_says_so(tmp_path: Path) -> None:
    output = tmp_path / "results.txt"
    write_results((record(f"{i}.jpg") for i in range(TABLE_ROWS)), Format.TABLE, output)
    assert "Only the first" not in output.read_text()
    write_results((record(f"{i}.jpg") for i in range(TABLE_ROWS + 1)), Format.TABLE, output)
    assert f"Only the first {TABLE_ROWS} results are shown." in output.read_text()
    assert f"{TABLE_ROWS}.jpg" not in output.read_text()
