"""Photographs by the package `fer`, with its own detector, beside Cuemill in the same run.

python -m benchmarks.peer                         installs it into a throw-away environment
python -m benchmarks.peer --environment FOLDER    keeps that environment, or uses it again

It does not install torch, which only `fer`'s other detector, MTCNN, needs.
"""

import argparse
import json
import subprocess
import tempfile
import time
import venv
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from benchmarks.photographs import CUEMILL, PhotographReport, corners, draw_sets
from benchmarks.report import print_hardware

FER = "fer==25.10.3"
NEEDS = (
    f"tensorflow-cpu=={version('tensorflow-cpu')}",
    f"opencv-contrib-python=={version('opencv-python-headless')}",
    "requests",
    "Pillow",
    "setuptools<81",  # has pkg_resources
)
PEER = "fer: OpenCV's cascade, TensorFlow Lite"
SECONDS = 4.0


def environment(folder: Path) -> Path:
    """The Python of an environment with `fer` in this folder, made if there is none."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        for arguments in (("--no-deps", FER), NEEDS):
            pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
            subprocess.run((python, *pip, *arguments), check=True)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--environment", type=Path)
    arguments = parser.parse_args()

    started, console = time.monotonic(), Console(width=200)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with console.status("installing fer ..."):
            python = environment(arguments.environment or scratch / "environment")
        with console.status("drawing photographs ..."):
            sets = draw_sets(scratch / "photographs", SECONDS)
        report = PhotographReport(console, sets)

        with console.status(f"{PEER} ..."):
            script = Path(__file__).with_name("fer_loop.py")
            folders = [each.folder for each in sets]
            loop = subprocess.run(
                [python, script, str(SECONDS), *folders], check=True, text=True, capture_output=True
            )
        measured = [json.loads(line) for line in loop.stdout.splitlines()]
        rates = [each["rate"] for each in measured]
        pictures = [[[corners(*box) for box in boxes] for boxes in m["boxes"]] for m in measured]
        report.add(PEER, rates, [each["processor_ms"] for each in measured], pictures)

        report.add_cuemill(scratch)
        report.finish(((CUEMILL, PEER),))
    print_hardware(console, time.monotonic() - started)


if __name__ == "__main__":
    main()
