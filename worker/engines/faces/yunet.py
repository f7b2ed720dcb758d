"""YuNet (Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector"), run by OpenVINO.

The network finds faces of about 10 to 300 pixels. The detector therefore looks at a picture in
several sizes and merges what it finds: 256 pixels for faces that nearly fill the picture, 640 for
most others, and 1,280 for the small ones of a large photograph (docs/decisions/0014-faces.md).

OpenVINO needs 0.2 s to prepare for each shape, so a picture is laid into one of a few canvases:
16:9, 4:3, square, and their upright counterparts. A longer picture is cut into overlapping tiles.
"""

import io
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino.frontend import FrontEndManager
from openvino.preprocess import ColorFormat, PrePostProcessor
from PIL import Image

from models.errors import EngineError
from worker.engines.core import openvino_core
from worker.engines.faces.base import MAX_FACES, Faces
from worker.engines.faces.rule import fills

STRIDES: Final = (8, 16, 32)
FIRST: Final = 256
"""The longer side, in pixels, at which every picture is looked at first."""
SECOND: Final = 640
"""The second size, unless one face fills the picture, or all faces of a small picture are big."""
BIG_FACE_PX: Final = 80.0
"""A picture no larger than FIRST whose faces are all as large as this at FIRST has no others."""
LARGE: Final = 1280
"""The third size, for photographs at least as large that show small faces, or none, at 640."""
SMALL_FACE_PX: Final = 40.0
"""Next to a face smaller than this at 640 pixels there may be some that only LARGE shows."""
SAME_FACE: Final = 0.3
"""Boxes of one size that share more than this (intersection over union) are one face."""
SAME_FACE_BETWEEN_SIZES: Final = 0.4
MAX_CANDIDATES: Final = 4000
"""How many boxes are compared, the surest first: the cost grows with the square of their number."""
ASPECT: Final = 4 / 3
"""Of the longest tile."""
SHORT_SIDES: Final = (0.6, 0.75, 1.0)
"""Of a canvas, as shares of its longer side: for 16:9 and longer, for 4:3, and for all others."""
OVERLAP: Final = 0.25
"""Share of a tile that the next one repeats, so that a face on the seam is whole in one of them."""
MAX_TILES: Final = 16
"""A picture longer than these cover is shrunk until they do."""


class YuNet:
    """Finds faces with YuNet's network, or another with the same outputs.

    Args:
        weights: the bytes of an ONNX file; the caller has checked its digest.
        threads: cores to use.

    Raises:
        EngineError: OpenVINO cannot read the file, or it is no network of this kind.
    """

    shorter_side = round(LARGE / ASPECT)

    def __init__(self, weights: bytes, name: str = "YuNet_2023mar", threads: int = 1) -> None:
        self.name = name
        self._weights = weights
        self._threads = threads
        self._requests: dict[tuple[int, int], Any] = {}
        self._request(*_canvas(FIRST, FIRST))  # Fails now on a broken file.

    def detect(self, image: Image.Image, threshold: float) -> Faces:
        """Finds the faces of one picture, as `Detector.detect` says."""
        longer_side = max(image.size)
        first = self._look(image, FIRST, threshold)
        if fills(image.size, first):
            return first
        if longer_side <= FIRST and _smallest(first, FIRST / longer_side) >= BIG_FACE_PX:
            return first

        second = self._look(image, SECOND, threshold)
        looks = [first, second]
        if longer_side >= LARGE and _smallest(second, SECOND / longer_side) < SMALL_FACE_PX:
            looks.append(self._look(image, LARGE, threshold))

        faces = _merge(looks)
        return faces.take(_distinct(faces, SAME_FACE_BETWEEN_SIZES)[:MAX_FACES])

    def _look(self, image: Image.Image, size: int, threshold: float) -> Faces:
        """The faces seen when each tile is scaled to a longer side of `size` pixels."""
        parts = []
        for left, top, right, bottom in _tiles(*image.size):
            scale = size / max(right - left, bottom - top)
            width, height = round((right - left) * scale), round((bottom - top) * scale)
            tile = image.resize(
                (max(width, 1), max(height, 1)),
                Image.Resampling.BILINEAR,
                box=(left, top, right, bottom),
                reducing_gap=1.0,  # 2.0 takes twice as long and finds no more.
            )
            faces = self._run(np.asarray(tile), threshold)
            offset = np.array([left, top], np.float32)
            parts.append(
                Faces(
                    faces.boxes / scale + np.tile(offset, 2),
                    faces.confidences,
                    faces.points / scale + offset,
                )
            )
        return _merge(parts)

    def _run(self, pixels: NDArray[np.uint8], threshold: float) -> Faces:
        """The faces of pixels (height, width, 3) that fit a canvas, in pixels of these."""
        height, width = pixels.shape[:2]
        rows, columns = _canvas(height, width)
        canvas = np.zeros((1, rows, columns, 3), np.uint8)
        canvas[0, :height, :width] = pixels

        request = self._request(rows, columns)
        request.infer({0: canvas}, share_inputs=True)

        faces = _merge([_decode(request, stride, columns, threshold) for stride in STRIDES])
        return faces.take(_distinct(faces, SAME_FACE))

    def _request(self, rows: int, columns: int) -> Any:
        """The network, prepared for a canvas of this shape."""
        if (rows, columns) not in self._requests:
            try:
                compiled = _compile(self._weights, rows, columns, self._threads)
            except RuntimeError as error:
                raise EngineError(
                    f"OpenVINO cannot run the face detector {self.name}: {error}. Expected an ONNX "
                    "file with YuNet's outputs: cls, obj, bbox and kps at strides 8, 16 and 32."
                ) from error
            self._requests[rows, columns] = compiled.create_infer_request()
        return self._requests[rows, columns]


def _compile(weights: bytes, rows: int, columns: int, threads: int) -> Any:
    """The network for uint8 images (1, rows, columns, 3), RGB; OpenVINO converts them."""
    # OpenVINO itself would try its readers of other formats as well.
    reader = FrontEndManager().load_by_framework("onnx")
    model = reader.convert(reader.load(io.BytesIO(weights)))
    model.reshape([1, 3, rows, columns])

    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(openvino.Type.u8)
    steps.input().tensor().set_layout(openvino.Layout("NHWC")).set_color_format(ColorFormat.RGB)
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    steps.input().preprocess().convert_element_type(openvino.Type.f32).convert_color(
        ColorFormat.BGR
    )

    options = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = openvino_core().compile_model(steps.build(), "CPU", options)
    for kind in ("cls", "obj", "bbox", "kps"):
        for stride in STRIDES:
            compiled.output(f"{kind}_{stride}")
    return compiled


def _canvas(height: int, width: int) -> tuple[int, int]:
    """(rows, columns) of the smallest canvas that holds a picture; both are multiples of 32."""
    long, short = max(height, width), min(height, width)
    sides = [-(-round(long * share) // 32) * 32 for share in SHORT_SIDES]
    side = next(side for side in sides if short <= side)
    return (side, sides[-1]) if width >= height else (sides[-1], side)


def _tiles(width: int, height: int) -> Iterator[tuple[float, float, float, float]]:
    """Boxes (left, top, right, bottom) that cover a picture, none longer than 4:3."""
    long, short = max(width, height), min(width, height)
    length = short * ASPECT
    step = length * (1 - OVERLAP)
    count = 1 + max(0, -(-(long - length) // step)) if long > 1.5 * length else 1
    if count == 1 or count > MAX_TILES:
        count = min(count, MAX_TILES)
        length = long / (1 + (count - 1) * (1 - OVERLAP))
        step = length * (1 - OVERLAP)

    for number in range(int(count)):
        start = min(number * step, long - length)
        if width >= height:
            yield start, 0.0, start + length, float(height)
        else:
            yield 0.0, start, float(width), start + length


def _decode(request: Any, stride: int, columns: int, threshold: float) -> Faces:
    """The boxes of one of the network's three grids whose confidence reaches the threshold."""

    def output(kind: str) -> NDArray[np.float32]:
        values: NDArray[np.float32] = request.get_tensor(f"{kind}_{stride}").data[0]
        return values

    confidences = np.sqrt(output("cls").clip(0, 1) * output("obj").clip(0, 1))[:, 0]
    cells = np.flatnonzero(confidences >= threshold)
    cells = cells[np.argsort(-confidences[cells], kind="stable")][:MAX_CANDIDATES]

    row, column = np.divmod(cells, columns // stride)
    corner = np.stack([column, row], axis=1)
    shift, size = np.split(output("bbox")[cells], 2, axis=1)
    centre, extent = (corner + shift) * stride, np.exp(size) * stride
    points = (output("kps")[cells].reshape(-1, 5, 2) + corner[:, None]) * stride
    boxes = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)
    return Faces(boxes.astype(np.float32), confidences[cells], points.astype(np.float32))


def _merge(parts: list[Faces]) -> Faces:
    """The faces of several looks, the surest first; one face may be in it several times."""
    faces = Faces(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.confidences for part in parts]),
        np.concatenate([part.points for part in parts]),
    )
    return faces.take(np.argsort(-faces.confidences, kind="stable")[:MAX_CANDIDATES])


def _distinct(faces: Faces, same: float) -> NDArray[np.intp]:
    """Non-maximum suppression: the faces that no surer one overlaps by more than `same`."""
    left, top, right, bottom = faces.boxes.T
    areas = (right - left) * (bottom - top)

    kept = []
    rest = np.arange(len(faces))
    while len(rest):
        first, rest = rest[0], rest[1:]
        kept.append(first)

        width = np.minimum(right[first], right[rest]) - np.maximum(left[first], left[rest])
        height = np.minimum(bottom[first], bottom[rest]) - np.maximum(top[first], top[rest])
        shared = width.clip(0) * height.clip(0)
        rest = rest[shared <= same * (areas[first] + areas[rest] - shared)]
    return np.array(kept, np.intp)


def _smallest(faces: Faces, scale: float) -> float:
    """The height of the smallest face at this scale, in pixels; 0 if there is none."""
    heights = (faces.boxes[:, 3] - faces.boxes[:, 1]) * scale
    return float(heights.min()) if len(heights) else 0.0
