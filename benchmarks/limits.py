"""Where the time goes: what the network reaches of the processor's own rate, and what the whole way costs beside it.

python -m benchmarks.limits    # processor time, so that a busy machine changes little

The processor's rate is taken from large convolutions of OpenVINO's, in the same precision, on one core.
"""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops
from rich.console import Console
from rich.table import Table

from benchmarks.end_to_end import BATCH, embedded, run_job, scaled
from benchmarks.hardware import describe
from benchmarks.pictures import FACE, draw
from models.pictures.resize import read_pixels
from models.release.files import load_release
from models.settings import SHIPPED_MODEL
from models.sources.read import read_image
from models.sources.walk import walk
from models.store.reuse import ReuseScope
from tests.integration.deployment import Deployment, processes_of
from worker.engines.graph import build_graph
from worker.engines.openvino import OpenVinoEngine

ROUNDS, IMAGES = 20, 20_000
TICKS_S = os.sysconf("SC_CLK_TCK")
CHANNELS, SIDE, LAYERS = 256, 24, 4
STEPS = ("open, read", "recognize", "decode", "scale", "network")


def multiply_adds(model: openvino.Model) -> int:
    """Of the convolutions and products, for one image."""
    total = 0
    for op in model.get_ops():
        if op.get_type_name() in ("Convolution", "MatMul"):
            positions = np.prod(
                [n.get_length() for n in list(op.output(0).get_partial_shape())[2:]], dtype=int
            )
            total += int(positions) * int(np.prod(list(op.input(1).get_shape())))
    return total


def large_convolutions(*, int8: bool) -> openvino.Model:
    """A network that does little but multiply."""

    def rounded(values: Any, least: np.float32, levels: int) -> Any:
        return (
            ops.fake_quantize(values, least, np.float32(1), least, np.float32(1), levels)
            if int8
            else values
        )

    images = ops.parameter([-1, CHANNELS, SIDE, SIDE], np.float32)
    x: Any = images
    for layer in range(LAYERS):
        drawn = (
            np.random.default_rng(layer)
            .uniform(-1, 1, (CHANNELS, CHANNELS, 3, 3))
            .astype(np.float32)
            / CHANNELS
        )
        kernel = rounded(ops.constant(drawn), np.float32(-1), 255)
        x = ops.relu(
            ops.convolution(rounded(x, np.float32(0), 256), kernel, [1, 1], [1, 1], [1, 1], [1, 1])
        )
    return openvino.Model([ops.result(x)], [images])


def seconds_an_image(model: openvino.Model, shape: tuple[int, ...], batch: int) -> float:
    """The least processor time of some rounds, on one core."""
    options = {
        "INFERENCE_NUM_THREADS": 1,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    inputs = np.random.default_rng(0).uniform(0, 1, (batch, *shape)).astype(np.float32)
    taken = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        request.infer({0: inputs})
        taken.append(time.process_time() - begun)
    return min(taken) / batch


def networks() -> Table:
    """The shipped network's rate in both precisions, against the processor's."""
    table = Table(
        "the network, on one core",
        "images/s",
        "10^9 multiply-adds/s",
        "of the processor's",
        box=None,
    )
    release = load_release(SHIPPED_MODEL)
    side = release.preprocessing
    amount = multiply_adds(build_graph(release))
    for int8 in (False, True):
        network = seconds_an_image(
            build_graph(release, int8=int8), (side.height, side.width, 3), BATCH
        )
        large = large_convolutions(int8=int8)
        most = multiply_adds(large) / seconds_an_image(large, (CHANNELS, SIDE, SIDE), 16)
        rate = amount / network
        table.add_row(
            "int8" if int8 else "float32",
            f"{1 / network:,.0f}",
            f"{rate / 1e9:.0f}",
            f"{rate / most:.2f}",
        )
    return table


def steps() -> Table:
    """What a worker does with an image, but for the database; the least processor time of some rounds."""
    release = load_release(SHIPPED_MODEL)
    preprocessing, engine, sources = (
        release.preprocessing,
        OpenVinoEngine(release),
        ReuseScope(release.sha256),
    )
    with tempfile.TemporaryDirectory() as folder:
        root = os.fsencode(draw(Path(folder), 32 * BATCH, FACE).resolve())
        paths = list(walk(root, recursive=False))
        rounds = np.zeros((ROUNDS, len(STEPS)))
        for spent in rounds:
            for i in range(0, len(paths), BATCH):
                times = [time.process_time()]
                files = [read_image(root, path)[0] for path in paths[i : i + BATCH]]
                times.append(time.process_time())
                for data in files:
                    sources.fingerprint(data)
                times.append(time.process_time())
                pixels = [read_pixels(data, preprocessing) for data in files]
                times.append(time.process_time())
                inputs = preprocessing.to_input(np.stack(pixels))
                times.append(time.process_time())
                engine.predict(inputs)
                times.append(time.process_time())
                spent[:] += np.diff(times)
    each = 1e6 * rounds.min(axis=0) / len(paths)
    table = Table("microseconds of processor time an image", *STEPS, "all", box=None)
    table.add_row("a worker, on one core", *(f"{us:,.0f}" for us in (*each, each.sum())))
    return table


def ways() -> Table:
    """Processor time by program."""
    table = Table(
        "microseconds of processor time an image",
        "workers",
        "database",
        "queue",
        "besides",
        box=None,
    )
    with tempfile.TemporaryDirectory() as folder:
        faces = draw(Path(folder), IMAGES, FACE)
        ways: dict[str, Callable[[], AbstractContextManager[Deployment]]] = {
            "embedded": embedded,
            "scaled": scaled,
        }
        for title, way in ways.items():
            with way() as made:
                spent = _spent(made, faces)
            columns = ("worker", "postgres", "redis-server", "besides")
            table.add_row(
                title, *(f"{1e6 * spent[name] / TICKS_S / IMAGES:,.0f}" for name in columns)
            )
    return table


def _spent(made: Deployment, faces: Path) -> Counter[str]:
    database = made.database()
    database.upgrade()
    program = made.start("worker")
    with tempfile.TemporaryDirectory() as warm:
        run_job(made, database, draw(Path(warm), 8 * BATCH, FACE))
    before = _processor_time(program.pid)
    run_job(made, database, faces)
    return _processor_time(program.pid) - before


def _processor_time(program: int) -> Counter[str]:
    """Ticks so far, of a worker program's processes and of all servers."""
    spent: Counter[str] = Counter()
    ours = set(processes_of(program))
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, fields = (folder / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        ticks = sum(map(int, fields.split()[11:13]))
        if int(folder.name) in ours:
            spent["besides" if int(folder.name) == program else "worker"] += ticks
        elif name in ("postgres", "redis-server"):
            spent[name] += ticks
    return spent


def main() -> None:
    console = Console(width=120)
    with console.status("measuring ..."):
        tables = networks(), steps(), ways()
    console.print(*(part for table in tables for part in (table, "")), describe(), highlight=False)


if __name__ == "__main__":
    main()
