"""Copies of a job's pictures with the faces drawn in."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cli.annotate import MARKER, SHOWN, annotate, check_copies
from models.errors import UsageError
from models.sources.names import to_text
from tests.cli.test_output import record, unreadable

BOX = (20, 30, 80, 80)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    return tmp_path / "copies"


def save(path: Path, form: str = "PNG") -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    Image.new("RGB", (200, 160), "grey").save(file, form)
    path.write_bytes(file.getvalue())
    return file.getvalue()


def names(folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    return {to_text(os.fsencode(path.relative_to(folder))) for path in files}


def test_copies_have_the_paths_of_the_pictures_and_the_pictures_stay_as_they_are(
    source: Path, copies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [save(source / "a.jpg", "JPEG"), save(source / "in" / "b.PNG")]
    check_copies(copies, str(source))
    records = [
        record("a.jpg", BOX),
        record("a.jpg", (110, 30, 80, 80)),
        record("in/b.PNG"),
        unreadable("c.jpg"),
    ]
    annotate(records, str(source), copies, None)

    assert names(copies) == {"a.jpg", "in/b.PNG"}
    assert (copies / "a.jpg").read_bytes().startswith(b"\xff\xd8")
    assert (copies / "in" / "b.PNG").read_bytes().startswith(b"\x89PNG")
    assert [(source / "a.jpg").read_bytes(), (source / "in" / "b.PNG").read_bytes()] == before
    assert "Annotated 2 pictures in" in capsys.readouterr().err


def test_each_picture_has_a_copy_of_its_own_whatever_its_name(source: Path, copies: Path) -> None:
    odd = [
        b"a.webp",
        b"a.webp.png",
        b"\xff.gif",
        b"back\\slash.jpg",
        b"-rf.jpg",
        251 * b"n" + b".jpg",
    ]
    for name in odd:
        save(source / os.fsdecode(name))
    annotate([record(to_text(name)) for name in odd], str(source), copies, None)

    assert names(copies) == {
        "a.webp.png",
        "a.webp.png.png",
        "\\xff.gif.png",
        "back\\\\slash.jpg",
        "-rf.jpg",
        251 * "n" + ".jpg",
    }


def test_a_picture_that_cannot_be_copied_stops_no_other(
    source: Path, copies: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(source / "good.png")
    (source / "broken.jpg").write_bytes(b"\xff\xd8\xffnothing")
    too_long = 250 * "n" + ".gif"
    save(source / too_long)
    gone = [f"gone{i}.jpg" for i in range(SHOWN)]
    paths = ["broken.jpg", too_long, *gone, "good.png"]
    annotate([record(path, BOX) for path in paths], str(source), copies, len(paths))

    assert names(copies) == {"good.png"}
    message = capsys.readouterr().err
    assert "No copy of broken.jpg: The file begins as a JPEG, but is broken" in message
    assert f"No copy of {too_long}: File name too long." in message
    assert message.count("No copy of") == SHOWN
    assert "Annotated 1 picture in" in message
    assert f"; {SHOWN + 2} pictures could not be copied." in message


def test_no_path_and_no_link_leads_a_copy_out_of_its_folder(
    source: Path, copies: Path, tmp_path: Path
) -> None:
    save(source / "in" / "a.png")
    before = save(source / "b.png")
    outside = save(tmp_path / "outside" / "a.png")
    copies.mkdir()
    (copies / "in").symlink_to(tmp_path / "outside")
    (copies / "b.png").symlink_to(source / "b.png")
    paths = ["in/a.png", "../outside/a.png", str(tmp_path / "outside" / "a.png"), "b.png"]
    annotate([record(path) for path in paths], str(source), copies, None)

    assert (tmp_path / "outside" / "a.png").read_bytes() == outside
    assert (source / "b.png").read_bytes() == before
    assert not (copies / "b.png").is_symlink()


def test_a_picture_in_the_folder_of_copies_is_never_replaced(tmp_path: Path) -> None:
    before = save(tmp_path / "photos" / "photos" / "a.png")
    save(tmp_path / "photos" / "a.png")
    before_top = (tmp_path / "photos" / "a.png").read_bytes()
    annotate([record("photos/a.png"), record("a.png")], str(tmp_path / "photos"), tmp_path, None)
    assert (tmp_path / "photos" / "photos" / "a.png").read_bytes() == before
    assert (tmp_path / "photos" / "a.png").read_bytes() == before_top
    assert (tmp_path / "a.png").exists()


def test_copies_may_replace_only_copies(source: Path, copies: Path) -> None:
    save(source / "a.png")
    for _ in range(2):
        check_copies(copies, str(source))
        annotate([record("a.png", BOX)], str(source), copies, 1)

    (copies / MARKER).unlink()
    with pytest.raises(UsageError, match="not annotated copies"):
        check_copies(copies, str(source))


def test_copies_are_not_written_where_the_next_job_would_find_them(
    source: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(source)
    for folder in (source, source / "copies", tmp_path / "link" / "copies"):
        with pytest.raises(UsageError, match="within the folder of the pictures"):
            check_copies(folder, str(source))


def test_a_folder_that_cannot_be_written_is_an_error(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"Cannot write .*file: Not a directory\."):
        check_copies(tmp_path / "file", str(source))


def test_the_command_line_starts_without_pillow() -> None:
    check = "import cli.main, sys; sys.exit('PIL' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
