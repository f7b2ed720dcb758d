"""`cuemill results`. tests/integration prints the results of jobs that ran."""

import json
from pathlib import Path

from models.store import batches, jobs
from tests.builders import claim_batch, list_folder, records_of
from tests.integration.deployment import Deployment


def test_a_job_without_results_has_none_in_any_format(cuemill: Deployment, faces: Path) -> None:
    cuemill.run("enqueue", faces)
    assert cuemill.run("results", "1", "--format", "json").stdout == "[]\n"
    assert cuemill.run("results", "1", "--format", "jsonl", "--emotion", "fear").stdout == ""
    assert cuemill.run("results", "1", "--format", "csv").stdout.startswith("job_id,path,outcome,")


def test_an_unknown_emotion_is_bad_usage(cuemill: Deployment, faces: Path) -> None:
    cuemill.run("enqueue", faces)
    assert "'joy'" in cuemill.run("results", "1", "--emotion", "joy", exit_code=2).stderr


def test_results_are_filtered_and_sorted_and_a_malformed_range_is_bad_usage(
    cuemill: Deployment, faces: Path
) -> None:
    cuemill.run("enqueue", faces)
    db = cuemill.database()
    list_folder(db, jobs.get(db, 1), 2)
    claim = claim_batch(db)
    batches.complete(db, claim, records_of(claim))
    db.close()

    def paths(*options: str) -> list[str]:
        results = json.loads(cuemill.run("results", "1", "--format", "json", *options).stdout)
        return [result["path"] for result in results]

    assert paths("--score", "neutral=gte:0.05", "--glob", "*1.jpg") == ["001.jpg"]
    assert paths("--score=neutral=lt:0.5", "--sort", "-score") == ["001.jpg", "000.jpg"]
    assert "fear=gte:0.4" in cuemill.run("results", "1", "--score", "fear", exit_code=2).stderr
