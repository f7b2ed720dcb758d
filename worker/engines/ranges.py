"""Which values a network's layers take, so that it can be run in int8.

The range of each layer's input is the one that loses least when its values are rounded to 256 steps: by the mean
squared error, over values drawn from real images, of a number of ranges up to the whole. Source: Nagel et al. 2021,
"A White Paper on Neural Network Quantization", arXiv:2106.08295, section 3.1.
"""

from typing import Final

import numpy as np
import openvino
from numpy.typing import NDArray

from models.release.release import Int8, Release
from worker.engines.graph import build_probe

BATCH: Final = 64
DRAWN: Final = 20_000  # Values by batch and tensor.
SHARES: Final = np.linspace(0.2, 1.0, 33)  # Of the highest value, tried as the range's end.
LOW_AT_LEAST: Final = 0.5  # Of the lowest: few values are negative, behind a ReLU, and they matter.


def quantize(release: Release, inputs: NDArray[np.float32]) -> Int8:
    """What it takes to run a release in int8, found on real inputs; how right it then is remains to be measured.

    Args:
        inputs: (n, height, width, 3), as the network takes them; some hundred.

    Raises:
        EngineError: the network is malformed.
    """
    names, probe = build_probe(release)
    compiled = openvino.Core().compile_model(probe, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request, random = compiled.create_infer_request(), np.random.default_rng(0)
    drawn: list[list[NDArray[np.float32]]] = [[] for _ in names]
    for start in range(0, len(inputs), BATCH):
        request.infer({0: np.ascontiguousarray(inputs[start : start + BATCH])})
        for i, values in enumerate(drawn):
            given = request.get_output_tensor(i).data.ravel()
            values.append(given[random.integers(given.size, size=DRAWN)])
    return Int8(
        {name: _range(np.concatenate(values)) for name, values in zip(names, drawn, strict=True)}
    )


def _range(values: NDArray[np.float32]) -> tuple[float, float]:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 1e-6)
    tried = [(low * max(share, LOW_AT_LEAST), high * share) for share in map(float, SHARES)]
    return min(tried, key=lambda ends: _rounding_error(values, *ends))


def _rounding_error(values: NDArray[np.float32], low: float, high: float) -> float:
    """Mean squared."""
    step = (high - low) / 255
    first = np.round(low / step)
    rounded = (np.clip(np.round(values / step), first, first + 255)) * step
    return float(((rounded - values) ** 2).mean())
