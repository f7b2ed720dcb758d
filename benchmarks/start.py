"""How long `cuemill classify` takes to its first result, from a cold process: ten faces, new database and known one.

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


def first_result(data: Path, folder: Path) -> float:
    """Seconds from starting the program to its first line of results."""
    variables = Deployment("embedded", {"CUEMILL_DATA_DIR": str(data)}).variables
    begun = time.perf_counter()
    command = [*CUEMILL, "classify", str(folder), "--format", "jsonl", "--fresh"]
    with subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        if program.stdout is None or not program.stdout.readline():
            raise RuntimeError(f"{command} gave no result.")
        taken = time.perf_counter() - begun
        program.communicate()
    return taken


def main() -> None:
    table = Table("database", "first result, s", "fastest", "slowest", box=None)
    with tempfile.TemporaryDirectory() as scratch:
        folder = draw(Path(scratch) / "faces", 10, FACE)
        new = [first_result(Path(scratch) / f"data{run}", folder) for run in range(RUNS)]
        known = [first_result(Path(scratch) / "data0", folder) for _ in range(RUNS)]
    for name, found in (("new", new), ("known", known)):
        table.add_row(
            name, *(f"{seconds:.2f}" for seconds in (median(found), min(found), max(found)))
        )
    console = Console(width=110)
    console.print(table, "", describe(), highlight=False)


if __name__ == "__main__":
    main()
