"""OpenVINO on the processor: the engine that ships.

Compiling takes about a tenth of a second, so no compiled network is kept on disk: OpenVINO's own cache saved nothing
measurable and weighed 39 MB a model. The batch size is left free: it ran as fast as a fixed one, and an image's scores
were the same to the bit whatever it was batched with (tests/worker/test_engines.py). But OpenVINO prepares itself for
each size that it meets, and keeps that, so it is to meet few (`benchmarks/batches.py`).
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import openvino
from numpy.typing import NDArray

from models.cpu import gains_by_bf16, has_bf16, has_int8
from models.errors import EngineError
from models.release.release import Release
from models.settings import Precision
from worker.engines.graph import build_graph

LARGEST: Final = 64
"""Images that the network takes at a time; more ran no faster."""


class OpenVinoEngine:
    """Runs a release on `threads` cores; make it in the process that uses it, after any fork.

    Args:
        precision: of the arithmetic. auto = int8, where the processor gains by it and the release admits it; else bf16,
            where the processor gains by that; else f32. The label is nearly always the same (`benchmarks/accuracy.py`).

    Raises:
        EngineError: the network is malformed, or the processor lacks the precision asked for.
    """

    name = "openvino"

    def __init__(self, release: Release, precision: Precision = "auto", threads: int = 1) -> None:
        self.precision: str = _choose(precision, release)
        size = release.preprocessing
        self._input = (size.height, size.width, 3)
        self._request = _compile(release, self.precision, threads).create_infer_request()

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores (n, labels) for inputs (n, height, width, 3), as the protocol says.

        Raises:
            EngineError: the inputs have another shape.
        """
        if batch.ndim != 4 or batch.shape[1:] != self._input:
            raise EngineError(
                f"The network takes images of shape (n, {', '.join(map(str, self._input))}), received {batch.shape}."
            )
        inputs = np.ascontiguousarray(batch, np.float32)
        return np.concatenate(
            [self._request.infer({0: part}, share_inputs=True)[0] for part in _parts(inputs)]
        )


def _parts(inputs: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Parts whose lengths are powers of two, the largest first."""
    while len(inputs):
        size = min(LARGEST, 1 << (len(inputs).bit_length() - 1))
        yield inputs[:size]
        inputs = inputs[size:]


def _choose(precision: Precision, release: Release) -> str:
    if precision == "auto":
        if release.int8 and release.int8.admitted and has_int8():
            return "int8"
        return "bf16" if gains_by_bf16() else "f32"
    if precision == "bf16" and not has_bf16():
        raise EngineError(
            "This processor has no bfloat16 arithmetic; set CUEMILL_PRECISION to auto or f32."
        )
    if precision == "int8" and not release.int8:
        raise EngineError(
            f"{release.name} holds nothing to run it in int8 by; `cuemill models quantize` adds it, or set "
            "CUEMILL_PRECISION to auto."
        )
    return precision


def _compile(release: Release, precision: str, threads: int) -> Any:
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # Pinned, the workers of one machine would all sit on its first cores.
        "INFERENCE_PRECISION_HINT": "f32" if precision == "int8" else precision,
    }
    graph = build_graph(release, int8=precision == "int8")
    try:
        return openvino.Core().compile_model(graph, "CPU", options)
    except RuntimeError as error:
        raise EngineError(
            f"OpenVINO can't compile the network of {release.name}: {error}"
        ) from error
