"""What each program loads: heavy libraries only where they are used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.deployment import make_faces

ROOT = Path(__file__).parents[1]
PICTURES = {"PIL", "simplejpeg"}
ENGINES = {"openvino", "tensorflow", "keras"}


def imported_by(*arguments: str, data_dir: Path) -> set[str]:
    """The top-level packages that a program imports, in any of its processes."""
    environment = {
        **os.environ,
        "CUEMILL_DATA_DIR": str(data_dir),
        "PYTHONPROFILEIMPORTTIME": "1",
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    modules = {line.split("|")[-1].strip() for line in lines}
    return {module.split(".")[0] for module in modules}


def test_the_api_loads_no_image_library_and_no_engine(tmp_path: Path) -> None:
    imported = imported_by("-c", "import api.server", data_dir=tmp_path)
    assert "fastapi" in imported
    assert not imported & {*PICTURES, *ENGINES}


def test_enqueue_loads_no_image_library_and_no_engine(tmp_path: Path) -> None:
    folder = make_faces(tmp_path / "faces", 3)
    imported = imported_by("-m", "cli", "enqueue", str(folder), data_dir=tmp_path)
    assert "sqlalchemy" in imported
    assert not imported & {*PICTURES, *ENGINES, "celery"}


@pytest.mark.parametrize(
    "arguments", [("jobs",), ("status", "1"), ("results", "1", "--format", "csv"), ("--help",)]
)
def test_commands_that_only_ask_the_database_start_light(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 1)
    imported_by("-m", "cli", "enqueue", str(folder), data_dir=tmp_path)
    imported = imported_by("-m", "cli", *arguments, data_dir=tmp_path)
    assert "typer" in imported
    assert not imported & {*PICTURES, *ENGINES, "celery", "fastapi", "trainer", "worker"}


def test_classify_loads_no_tensorflow(tmp_path: Path) -> None:
    folder = make_faces(tmp_path / "faces", 3)
    imported = imported_by("-m", "cli", "classify", str(folder), data_dir=tmp_path)
    assert "openvino" in imported
    assert not imported & {"tensorflow", "keras"}


def test_an_openvino_engine_loads_no_tensorflow(tmp_path: Path) -> None:
    program = (
        "import numpy as np\n"
        "from models.settings import load_settings\n"
        "from tests.builders import tiny_release\n"
        "from worker.engines.load import load_engine\n"
        "engine = load_engine(tiny_release(), load_settings())\n"
        "engine.predict(np.zeros((1, 48, 48, 3), np.float32))\n"
    )
    imported = imported_by("-c", program, data_dir=tmp_path)
    assert "openvino" in imported
    assert not imported & {"tensorflow", "keras"}


def test_the_client_loads_nothing_of_cuemill_and_no_optional_library(tmp_path: Path) -> None:
    imported = imported_by("-c", "import cuemill_client", data_dir=tmp_path)
    assert "httpx2" in imported
    own = {"models", "worker", "trainer", "api", "cli"}
    assert not imported & {*own, "numpy", "pydantic", "rich", "pandas", "polars"}
