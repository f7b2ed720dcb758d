"""The best number of images per inference, and what each new batch size costs OpenVINO.

python -m benchmarks.batches    # CPU time on one core; the figures of docs/decisions/0011
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
NEW_SIZES: Final = range(33, 64, 2)
ROUNDS: Final = 10


def _memory_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1e3
    raise RuntimeError("/proc/self/status has no VmRSS.")


def main() -> None:
    release = load_release(SHIPPED_MODEL)
    shape = (max(SIZES), release.preprocessing.height, release.preprocessing.width, 3)
    images = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)

    int8 = OpenVinoEngine(release).precision == "int8"
    options = {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
    compiled = openvino.Core().compile_model(build_graph(release, int8=int8), "CPU", options)
    request = compiled.create_infer_request()

    def infer_s(size: int) -> float:
        started = time.process_time()
        request.infer({0: images[:size]}, share_inputs=True)
        return time.process_time() - started

    def best_s(size: int, rounds: int) -> float:
        return min(infer_s(size) for _ in range(rounds))

    for size in SIZES:
        infer_s(size)
    per_image_s = [best_s(size, ROUNDS) / size for size in SIZES]
    table = Table("images per inference", *map(str, SIZES), box=None)
    table.add_row("microseconds per image", *(f"{1e6 * seconds:,.0f}" for seconds in per_image_s))

    memory_before = _memory_mb()
    extra_s = [infer_s(size) - best_s(size, 3) for size in NEW_SIZES]
    memory_mb = (_memory_mb() - memory_before) / len(NEW_SIZES)
    new_size = f"each new size: {1e3 * float(np.median(extra_s)):.1f} ms and {memory_mb:.1f} MB"
    Console(width=120).print(table, "", new_size, "", describe(), highlight=False)


if __name__ == "__main__":
    main()
