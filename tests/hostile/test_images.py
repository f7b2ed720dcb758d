"""More than 2,000 hostile files: each ends with one outcome, and none takes its worker along."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from models.errors import ImageCode
from models.sources.names import to_text
from models.store import jobs
from models.store.states import JobStatus
from tests.hostile import images
from tests.hostile.images import Codes
from tests.integration.deployment import Deployment, audit, worker_processes
from tests.services import wait_until

MUTANTS = 2000
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Codes | None]]:
    folder = tmp_path_factory.mktemp("hostile") / "corpus"
    expected = images.build(folder, MUTANTS)
    return folder, {to_text(path): codes for path, codes in expected.items()}


@pytest.fixture(scope="module")
def decoded(corpus: tuple[Path, dict[str, Codes | None]]) -> dict[str, list[str] | None]:
    """What came of each file, decoded in one process of bounded memory and time."""
    command = [sys.executable, "-m", "tests.hostile.decode_all", str(corpus[0])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-3000:])
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_a_seed_gives_the_same_files_every_time() -> None:
    assert list(images.mutated(100, seed=1)) == list(images.mutated(100, seed=1))
    assert list(images.mutated(100, seed=1)) != list(images.mutated(100, seed=2))


def test_every_hostile_file_gives_a_picture_or_a_known_code_in_bounded_memory_and_time(
    corpus: tuple[Path, dict[str, Codes | None]], decoded: dict[str, list[str] | None]
) -> None:
    _, expected = corpus
    assert decoded.keys() == expected.keys()
    codes = {path: found[0] if found else None for path, found in decoded.items()}
    assert {code for code in codes.values() if code} <= set(ImageCode)
    unforeseen = {
        path: code
        for path, code in codes.items()
        if (one := expected[path]) is not None and code not in one
    }
    assert unforeseen == {}
    assert [path for path, found in decoded.items() if found and "MemoryError" in found[1]] == []
    mutants = Counter(code for path, code in codes.items() if path.startswith("mutated/"))
    assert (
        min(mutants[code] for code in (None, "not_an_image", "truncated", "undecodable")) > 50
    )  # All are reached.


def test_a_job_over_hostile_files_completes_with_an_outcome_each_and_its_first_workers(
    embedded: Deployment,
    corpus: tuple[Path, dict[str, Codes | None]],
    decoded: dict[str, list[str] | None],
) -> None:
    folder, _ = corpus
    embedded.environment["CUEMILL_LEASE_S"] = (
        "60"  # Or a bomb on a busy machine outlasts it, and is done again.
    )
    database = embedded.database()
    worker = embedded.start("worker")
    wait_until(lambda: len(worker_processes(worker.pid)) == 2, "both workers")
    before = worker_processes(worker.pid)
    job_id = int(embedded.run("enqueue", folder).stdout)
    wait_until(
        lambda: jobs.get(database, job_id).status is JobStatus.COMPLETED, "the job to complete", 120
    )
    audit(database, job_id, len(decoded))
    with database.read() as connection:
        rows = connection.execute(
            sa.text("SELECT path, error_code FROM images WHERE job_id = :job"), {"job": job_id}
        )
        assert {row.path: row.error_code for row in rows} == {
            p: found and found[0] for p, found in decoded.items()
        }
    assert worker_processes(worker.pid) == before
