"""More than 2,000 hostile files: each has one outcome, and none kills its worker."""

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
    """The outcome of each file, decoded in one process with limited memory and time."""
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
    codes = {path: outcome[0] if outcome else None for path, outcome in decoded.items()}
    assert {code for code in codes.values() if code} <= set(ImageCode)

    unexpected = {}
    for path, code in codes.items():
        possible = expected[path]
        if possible is not None and code not in possible:
            unexpected[path] = code
    assert unexpected == {}
    out_of_memory = [
        path for path, outcome in decoded.items() if outcome and "MemoryError" in outcome[1]
    ]
    assert out_of_memory == []

    # Every kind of outcome is reached.
    mutants = Counter(code for path, code in codes.items() if path.startswith("mutated/"))
    kinds = (None, "not_an_image", "truncated", "undecodable")
    assert min(mutants[kind] for kind in kinds) > 50


def test_a_job_over_hostile_files_completes_with_an_outcome_each_and_its_first_workers(
    embedded: Deployment,
    corpus: tuple[Path, dict[str, Codes | None]],
    decoded: dict[str, list[str] | None],
) -> None:
    folder, _ = corpus
    # On a busy machine, a bomb could take longer than the default lease, and be retried.
    embedded.environment["CUEMILL_LEASE_S"] = "60"
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
        codes = {row.path: row.error_code for row in rows}
    assert codes == {path: outcome and outcome[0] for path, outcome in decoded.items()}
    assert worker_processes(worker.pid) == before
