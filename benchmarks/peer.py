"""Photographs by the package `fer`, with its own detectors, beside Cuemill in the same run.

python -m benchmarks.peer                         installs it into a throw-away environment
python -m benchmarks.peer --mtcnn                 measures its better detector, too; installs torch
python -m benchmarks.peer --environment FOLDER    keeps that environment, or uses it again
"""

import argparse
import json
import subprocess
import tempfile
import time
import venv
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from benchmarks.photographs import CUEMILL, PhotographReport, Photographs, corners, draw_sets
from benchmarks.report import print_hardware

FER = "fer==25.10.3"
MTCNN = "facenet-pytorch==2.6.0"
NEEDS = (
    f"tensorflow-cpu=={version('tensorflow-cpu')}",
    f"opencv-contrib-python=={version('opencv-python-headless')}",
    "requests",
    "Pillow",
    "setuptools<81",  # has pkg_resources
)
MTCNN_NEEDS = ("torch>=2.2", "torchvision>=0.17", "tqdm")
DETECTORS = {
    "cascade": "fer with OpenCV's cascade: TensorFlow Lite",
    "mtcnn": "fer with MTCNN: TensorFlow Lite",
}
SECONDS = 4.0


def environment(folder: Path, mtcnn: bool) -> Path:
    """The Python of an environment with `fer` in this folder; installs what is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)

    def pip(*arguments: str) -> None:
        options = ("--quiet", "--disable-pip-version-check")
        subprocess.run((python, "-m", "pip", *arguments, *options), check=True)

    pip("install", "--no-deps", FER)
    pip("install", *NEEDS, *(MTCNN_NEEDS if mtcnn else ()))
    if mtcnn:
        # It asks for older releases of what it shares with `fer`, and works with these.
        pip("install", "--no-deps", MTCNN)
        # torch needs it on GPUs only, and it crashes when TensorFlow is loaded, too.
        pip("uninstall", "--yes", "triton")
    return python


def measure(
    report: PhotographReport, python: Path, detector: str, sets: Sequence[Photographs]
) -> None:
    """Adds the row of `fer` with one of its detectors."""
    script, folders = Path(__file__).with_name("fer_loop.py"), [str(each.folder) for each in sets]
    command = [str(python), str(script), detector, str(SECONDS), *folders]
    loop = subprocess.run(command, check=True, text=True, capture_output=True)

    measured = [json.loads(line) for line in loop.stdout.splitlines()]
    pictures = [[[corners(*box) for box in boxes] for boxes in m["boxes"]] for m in measured]
    report.add(
        DETECTORS[detector],
        [each["rate"] for each in measured],
        [each["processor_ms"] for each in measured],
        pictures,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--environment", type=Path)
    parser.add_argument("--mtcnn", action="store_true")
    arguments = parser.parse_args()
    detectors = list(DETECTORS) if arguments.mtcnn else ["cascade"]

    started, console = time.monotonic(), Console(width=200)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with console.status("installing fer ..."):
            python = environment(arguments.environment or scratch / "environment", arguments.mtcnn)
        with console.status("drawing photographs ..."):
            sets = draw_sets(scratch / "photographs", SECONDS)
        report = PhotographReport(console, sets)

        for detector in detectors:
            with console.status(f"{DETECTORS[detector]} ..."):
                measure(report, python, detector, sets)
        report.add_cuemill(scratch)
        report.finish([(CUEMILL, DETECTORS[detector]) for detector in detectors])
    print_hardware(console, time.monotonic() - started)


if __name__ == "__main__":
    main()
