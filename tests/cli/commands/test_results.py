"""`cuemill results`. tests/integration prints the results of jobs that ran."""

from pathlib import Path

from tests.integration.deployment import Deployment


def test_a_job_without_results_has_none_in_any_format(cuemill: Deployment, faces: Path) -> None:
    cuemill.run("enqueue", faces)
    assert cuemill.run("results", "1", "--format", "json").stdout == "[]\n"
    assert cuemill.run("results", "1", "--format", "jsonl", "--emotion", "fear").stdout == ""
    assert cuemill.run("results", "1", "--format", "csv").stdout.startswith("job_id,path,outcome,")


def test_an_unknown_emotion_is_bad_usage(cuemill: Deployment, faces: Path) -> None:
    cuemill.run("enqueue", faces)
    assert "'joy'" in cuemill.run("results", "1", "--emotion", "joy", exit_code=2).stderr
