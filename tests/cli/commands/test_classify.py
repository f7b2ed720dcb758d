"""`cuemill classify`. tests/integration interrupts and resumes it."""

import json
from pathlib import Path

from tests.integration.deployment import Deployment, make_faces

PHOTOGRAPHS = Path(__file__).parents[3] / "samples" / "photographs"


def test_it_draws_the_faces_into_copies_of_the_photographs_that_show_some(
    cuemill: Deployment, tmp_path: Path
) -> None:
    copies = tmp_path / "copies"
    done = cuemill.run("classify", PHOTOGRAPHS, "--annotate", copies)
    assert f"Annotated 3 pictures in {copies}." in done.stderr
    assert {path.name for path in copies.glob("*.*g")} == {
        "film-night.jpg",
        "friends.jpg",
        "walk.jpg",
    }

    # The same faces of an earlier job; --path-prefix chooses among them.
    fewer = tmp_path / "fewer"
    cuemill.run("results", "1", "--path-prefix", "walk", "--annotate", fewer)
    assert (fewer / "walk.jpg").read_bytes() == (copies / "walk.jpg").read_bytes()
    assert not (fewer / "friends.jpg").exists()


def test_a_folder_for_copies_that_cannot_be_used_starts_no_job(
    cuemill: Deployment, faces: Path
) -> None:
    refused = cuemill.run("classify", faces, "--annotate", faces / "copies", exit_code=2)
    assert "Name a folder elsewhere." in refused.stderr
    assert cuemill.json("jobs") == []


def test_several_folders_are_classified_one_after_the_other(
    cuemill: Deployment, faces: Path, tmp_path: Path
) -> None:
    others = make_faces(tmp_path / "others", 1)
    missing = tmp_path / "missing"
    cuemill.run("classify", faces, missing, exit_code=2)
    assert cuemill.json("jobs") == []

    done = cuemill.run("classify", faces, others, "--format", "jsonl")
    assert [json.loads(line)["job_id"] for line in done.stdout.splitlines()] == [1, 1, 2]
    assert "Job 1 completed: 2 images" in done.stderr
    assert "Job 2 completed: 1 image" in done.stderr


def test_what_is_passed_over_is_said(cuemill: Deployment, faces: Path) -> None:
    kept = next(faces.iterdir())
    for name in ("@eaDir/a.jpg", "1.jxl", "2.JXL", "notes.txt", "a_small.jpg", "copy.jfif"):
        (faces / name).parent.mkdir(exist_ok=True)
        (faces / name).write_bytes(kept.read_bytes())
    done = cuemill.run("classify", faces, "--exclude", "*_small.jpg")
    sentences = (
        "2 files skipped: 2 .jxl.\nExcluded by name: 1 *_small.jpg, 1 @eaDir.\n"
        "Passed over as no pictures: 1 other file.\n"
    )
    assert sentences in done.stderr
    assert "3 images, 3 classified" in done.stderr
    assert sentences in cuemill.run("status", "1").stdout

    everything = cuemill.run("classify", faces, "--system-folders")
    assert "5 images, 5 classified" in everything.stderr
