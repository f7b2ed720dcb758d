"""How many images the network is best given at a time, and what each new number of them costs OpenVINO.

python -m benchmarks.batches    # on one core, in processor time; what decision 11 quotes
"""

import time
from pathlib import Path
from typing import Final

import numpy as np
import openvino
from rich.console import Console
from rich.table import Table

from benchmarks.hardware import describe
from models.release.files import load_release
from models.settings import SHIPPED_MODEL
from worker.engines.graph import build_graph
from worker.engines.openvino import OpenVinoEngine

SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
NEW: Final = range(33, 64, 2)
ROUNDS: Final = 10


def _memory_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return (
        next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
        / 1e3
    )


def main() -> None:
    release = load_release(SHIPPED_MODEL)
    size = release.preprocessing
    images = (
        np.random.default_rng(0)
        .uniform(-1, 1, (max(SIZES), size.height, size.width, 3))
        .astype(np.float32)
    )
    options = {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
    int8 = OpenVinoEngine(release).precision == "int8"
    request = (
        openvino.Core()
        .compile_model(build_graph(release, int8=int8), "CPU", options)
        .create_infer_request()
    )

    def seconds(count: int) -> float:
        begun = time.process_time()
        request.infer({0: images[:count]}, share_inputs=True)
        return time.process_time() - begun

    table = Table("images at a time", *map(str, SIZES), box=None)
    for count in SIZES:
        seconds(count)
    best = [min(seconds(count) for _ in range(ROUNDS)) / count for count in SIZES]
    table.add_row("microseconds each", *(f"{1e6 * each:,.0f}" for each in best))

    before = _memory_mb()
    extra = [seconds(count) - min(seconds(count) for _ in range(3)) for count in NEW]
    grown = (_memory_mb() - before) / len(NEW)
    each = f"a number met for the first time: {1e3 * float(np.median(extra)):.1f} ms and {grown:.1f} MB"
    Console(width=120).print(table, "", each, "", describe(), highlight=False)


if __name__ == "__main__":
    main()
