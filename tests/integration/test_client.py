"""What the documents show of the Python client, as a reader would paste it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.integration.deployment import Deployment, make_faces
from tests.services import patience

ROOT = Path(__file__).parents[2]


def blocks_of(page: str) -> list[str]:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)
    assert blocks
    return blocks


def run_shown(code: str, address: str, folder: Path) -> str:
    """Runs code from a document beside a folder `photos`; what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code.replace("http://localhost:8000", address)],
        cwd=folder,
        env={**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT / "client")},
        capture_output=True,
        text=True,
        timeout=patience(60),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_folder_is_uploaded_to_two_workers_waited_for_and_drawn_as_the_pages_show(
    scaled: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "roots").mkdir()
    make_faces(tmp_path / "photos", 24)
    address = str(scaled.serve(tmp_path / "roots").base_url)
    for _ in range(2):
        scaled.start("worker", CUEMILL_WORKERS="1")

    # In one program, because starting several takes longer than what they do.
    blocks = [*blocks_of("docs/client.md"), *blocks_of("client/README.md"), *blocks_of("README.md")]
    assert "count" in run_shown("\n".join(blocks), address, tmp_path)
    assert (tmp_path / "emotions.png").read_bytes().startswith(b"\x89PNG")

    sent = scaled.run("enqueue", tmp_path / "photos", "--server", address, "--wait", "--json")
    assert json.loads(sent.stdout)["counts"]["classified"] == 24
    jobs = scaled.json("jobs")
    assert len(jobs) == 6
    assert {job["counts"]["classified"] for job in jobs if job["status"] == "completed"} == {24}
