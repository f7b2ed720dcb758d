"""Time to the first result of `cuemill classify` from a cold start, on ten faces.

python -m benchmarks.start
"""

import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from benchmarks.pictures import FACE, draw
from tests.integration.deployment import CUEMILL, Deployment

RUNS = 5


def first_result_s(data_dir: Path, folder: Path) -> float:
    """Seconds from starting the program to its first line of results."""
    variables = Deployment("embedded", {"CUEMILL_DATA_DIR": str(data_dir)}).variables
    command = [*CUEMILL, "classify", str(folder), "--format", "jsonl", "--fresh"]

    started = time.perf_counter()
    with subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        if program.stdout is None or not program.stdout.readline():
            raise RuntimeError(f"{command} printed no result.")
        seconds = time.perf_counter() - started
        program.communicate()
    return seconds


def main() -> None:
    table = Table("database", "first result, s", "fastest", "slowest", box=None)
    with tempfile.TemporaryDirectory() as scratch:
        folder = draw(Path(scratch) / "faces", 10, FACE)
        timings = {
            "new": [first_result_s(Path(scratch) / f"data{run}", folder) for run in range(RUNS)],
            "existing": [first_result_s(Path(scratch) / "data0", folder) for _ in range(RUNS)],
        }

    for database, seconds in timings.items():
        columns = (median(seconds), min(seconds), max(seconds))
        table.add_row(database, *(f"{value:.2f}" for value in columns))
    Console(width=110).print(table, "", describe(), highlight=False)


if __name__ == "__main__":
    main()
