"""Photographs of nobody, one and ten people: images a second, beside the same steps in other ways.

python -m benchmarks.photographs            part of `make bench`
python -m benchmarks.peer                   the same pictures, by another package
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from benchmarks.jobs import JobMeasurement, WarmWorkers, embedded, job_size
from benchmarks.pictures import PHOTOGRAPH, VIDEO, draw_photographs, repeat
from benchmarks.report import Report, print_hardware
from benchmarks.ways import BATCH, CORES, KERAS_BATCH, Way, measure, read_file, warm_keras
from models.pictures.detection import MIN_FACE, THRESHOLD, FaceMode
from models.pictures.resize import resize
from models.release.detectors import SHIPPED, choose_detection
from models.release.files import load_release
from models.settings import SHIPPED_MODEL, Settings
from models.store.scans import FIRST_BATCH
from samples.scenes import Box
from worker.engines.faces.load import load_detector
from worker.engines.load import load_engine
from worker.faces import Face, FaceFinder

DISTINCT = 4
SIZES = {"640x480": VIDEO, "12 megapixels": PHOTOGRAPH}
FACES = (0, 1, 10)
LOOP_PX = 1280
"""The plain loop shrinks a larger photograph to this, because its detector misses large faces."""
SAME_FACE = 0.3
"""Boxes that share at least this (intersection over union) show one face: detectors differ in how
much of it they frame."""

Boxes = list[Box]


@dataclass(frozen=True)
class Photographs:
    """A folder of photographs, each with faces in the same places."""

    title: str
    folder: Path
    boxes: Boxes

    @classmethod
    def draw(cls, scratch: Path, title: str, faces: int) -> "Photographs":
        folder = scratch / f"{title}-{faces}"
        boxes = draw_photographs(folder, DISTINCT, SIZES[title], faces)
        return cls(f"{title}, {faces}", folder, boxes)

    def recall(self, pictures: Sequence[Sequence[Box]]) -> float:
        """The share of the faces drawn in these pictures that were found."""
        found = sum(_overlap(box, boxes) for boxes in pictures for box in self.boxes)
        return found / (len(pictures) * len(self.boxes))


def _overlap(drawn: Box, found: Sequence[Box]) -> bool:
    for box in found:
        low, high = np.maximum(drawn[:2], box[:2]), np.minimum(drawn[2:], box[2:])
        shared = np.prod((high - low).clip(0))
        areas = sum((right - left) * (bottom - top) for left, top, right, bottom in (drawn, box))
        if shared >= SAME_FACE * (areas - shared):
            return True
    return False


def parts_alone() -> Way:
    """Decoding, detector and network on one core, as a worker runs them; nothing is kept."""
    release = load_release(SHIPPED_MODEL)
    engine, preprocessing = load_engine(release, Settings()), release.preprocessing
    detection = choose_detection(FaceMode.AUTO, MIN_FACE, THRESHOLD)
    detector = load_detector(SHIPPED, detection.detector_sha256)
    finder = FaceFinder(detection, preprocessing, lambda: detector)

    def predict(faces: list[Face]) -> None:
        for i in range(0, len(faces), BATCH):
            pixels = np.stack([face.pixels for face in faces[i : i + BATCH]])
            engine.predict(preprocessing.to_input(pixels))

    def classify(paths: list[bytes]) -> list[Boxes]:
        boxes: list[Boxes] = []
        faces: list[Face] = []
        for path in paths:
            found = finder.find(read_file(path)).faces
            boxes.append([corners(*face.box) for face in found if face.box])
            faces += found
            if len(faces) >= BATCH:
                predict(faces)
                faces = []
        predict(faces)
        return boxes

    return Way(classify)


def plain_loop() -> Way:
    """The same steps as most people would write them, on all cores."""
    import cv2

    release = load_release(SHIPPED_MODEL)
    network, preprocessing = warm_keras(release), release.preprocessing
    detector = cv2.FaceDetectorYN.create(str(SHIPPED), "", (0, 0), score_threshold=THRESHOLD)

    def find(image: Image.Image) -> Boxes:
        small = image.copy()
        small.thumbnail((LOOP_PX, LOOP_PX))
        detector.setInputSize(small.size)
        _, faces = detector.detect(np.asarray(small)[..., ::-1].copy())
        scale = image.width / small.width
        rows: NDArray[np.float32] = faces if faces is not None else np.zeros((0, 4), np.float32)
        return [corners(*(scale * side for side in row[:4])) for row in rows.tolist()]

    def classify(paths: list[bytes]) -> list[Boxes]:
        boxes, crops = [], []
        for path in paths:
            with Image.open(path) as file:
                image = file.convert("RGB")
            boxes.append(find(image))
            crops += [resize(image.crop(box), preprocessing) for box in map(_whole, boxes[-1])]
        if crops:
            inputs = preprocessing.to_input(np.stack(crops))
            network.predict(inputs, batch_size=KERAS_BATCH, verbose=0)
        return boxes

    return Way(classify)


def corners(x: float, y: float, width: float, height: float) -> Box:
    return x, y, x + width, y + height


def _whole(box: Box) -> tuple[int, int, int, int]:
    left, top, right, bottom = map(round, box)
    return left, top, right, bottom


PARTS = "decoding, detector and network alone"
CUEMILL = "embedded: SQLite"
LOOP = "plain loop: Pillow, OpenCV's YuNet, Keras"


def draw_sets(scratch: Path, seconds: float) -> list[Photographs]:
    """Photographs of each size and number of faces, as many as keep Cuemill busy for a while."""
    sets = [Photographs.draw(scratch, title, faces) for title in SIZES for faces in FACES]
    for each, measured in zip(sets, measure(parts_alone, [e.folder for e in sets], 1), strict=True):
        repeat(each.folder, job_size(measured.rate * len(CORES) * seconds))
    return sets


class PhotographReport:
    """A row for each way, with the faces a second and the share of the faces found."""

    def __init__(self, console: Console, sets: Sequence[Photographs]) -> None:
        self._console, self._sets = console, sets
        titles = [each.title for each in sets]
        self._report = Report(console, "photographs: images/s (faces/s, found)", titles)
        self._processor: list[tuple[str, Sequence[float]]] = []
        self._memory_mb = 0.0

    def add(
        self,
        name: str,
        rates: Sequence[float],
        processor_ms: Sequence[float],
        pictures: Sequence[Sequence[Boxes]],
    ) -> None:
        """Adds a way: its speed for each set, and the boxes it found in some of the pictures."""
        rows = zip(self._sets, rates, pictures, strict=True)
        self._report.add(name, rates, [_note(*row) for row in rows])
        self._processor.append((name, processor_ms))

    def add_way(self, name: str, load: Callable[[], Way], seconds: float, processes: int) -> None:
        with self._console.status(f"{name} ..."):
            measured = measure(load, [each.folder for each in self._sets], seconds, processes)
        pictures = [list(chain(*each.samples)) for each in measured]
        self.add(name, [m.rate for m in measured], [m.processor_ms for m in measured], pictures)

    def add_cuemill(self, scratch: Path) -> None:
        with self._console.status(f"{CUEMILL} ..."), embedded() as cuemill:
            workers = WarmWorkers(cuemill, faces="auto", warm_up=_warm_up(scratch))
            jobs = [workers.measure(each.folder) for each in self._sets]
            self._memory_mb = workers.peak_memory_mb()

        rates, processor_ms = zip(
            *((j.images_per_second, j.processor_ms) for j in jobs), strict=True
        )
        self.add(CUEMILL, rates, processor_ms, [_found_by(job) for job in jobs])

    def finish(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Prints how the ways compare: by time, and by processor time."""
        self._report.compare(pairs)
        titles = [each.title for each in self._sets]
        processor = Report(self._console, "photographs: ms of processor time an image", titles)
        for name, values in self._processor:
            processor.add(name, values)
        processor.compare([(other, name) for name, other in pairs])
        self._console.print(f"A worker took at most {self._memory_mb:.0f} MB.", highlight=False)


def measure_photographs(console: Console, seconds: float) -> None:
    """Cuemill beside its parts alone and beside a plain loop."""
    with tempfile.TemporaryDirectory() as scratch:
        with console.status("drawing photographs ..."):
            sets = draw_sets(Path(scratch), seconds)

        report = PhotographReport(console, sets)
        report.add_way(PARTS, parts_alone, seconds, len(CORES))
        report.add_way(LOOP, plain_loop, seconds, 1)
        report.add_cuemill(Path(scratch))
        report.finish(((CUEMILL, PARTS), (CUEMILL, LOOP)))


def _note(photographs: Photographs, rate: float, pictures: Sequence[Boxes]) -> str:
    count = len(photographs.boxes)
    return f"{rate * count:,.0f}, {photographs.recall(pictures):.2f}" if count else ""


def _found_by(job: JobMeasurement) -> list[Boxes]:
    """The boxes in each picture; those without a face come last."""
    pictures: dict[str, Boxes] = {}
    for record in job.records:
        box = record.face and record.face["box"]
        if box:
            found = pictures.setdefault(record.path, [])
            found.append(corners(box["x"], box["y"], box["width"], box["height"]))
    return [*pictures.values(), *([[]] * (job.images - len(pictures)))]


def _warm_up(scratch: Path) -> Path:
    """Pictures that the detector looks at in each of its sizes."""
    folder = scratch / "warm-up"
    draw_photographs(folder, 1, (1280, 960), 0)
    return repeat(folder, 4 * FIRST_BATCH)


def main() -> None:
    started = time.monotonic()
    console = Console(width=200)
    measure_photographs(console, 4)
    print_hardware(console, time.monotonic() - started)


if __name__ == "__main__":
    main()
