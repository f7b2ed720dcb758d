"""What the detector finds, what it invents, its speed, and what its crops cost in accuracy.

    python -m benchmarks.detection PHOTOS [--faces FOLDER]

PHOTOS holds folders of photographs and `truth.json`, which maps each path to `boxes` (left, top,
right, bottom, in pixels) and `ignore` (faces that do not count). `--faces` names labelled crops,
with a subfolder for each label: they are pasted into scenes, turned, found, cut out and classified.
"""

import argparse
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.hardware import describe
from benchmarks.labelled import Boxes, labelled_crops, photographs
from models.pictures.crops import crop, roll_of
from models.pictures.decode import decode
from models.pictures.detection import THRESHOLD
from models.pictures.resize import resize
from models.release.detectors import SHIPPED, shipped_digest
from models.release.files import load_release
from models.settings import SHIPPED_MODEL
from worker.engines.faces.base import Faces
from worker.engines.faces.load import load_detector
from worker.engines.openvino import OpenVinoEngine

RECALL_IOU, PRECISION_IOU = 0.5, 0.3
SMALLEST_PX = (0, 20, 40, 80)
FACE_PX = (60, 120)
ROLLS = (0, 15, 30)
CROPS = 600
REPEATS = 15


@dataclass
class Count:
    """Faces of one set of photographs, from a smallest size on."""

    labelled: int = 0
    found: int = 0
    reported: int = 0
    right: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--faces", type=Path)
    arguments = parser.parse_args()

    console = Console(width=110)
    _photographs(arguments.photos, console)
    _speed(arguments.photos, console)
    if arguments.faces:
        _end_to_end(arguments.faces, console)
    console.print(describe(), highlight=False)


def _photographs(folder: Path, console: Console) -> None:
    detector = load_detector(SHIPPED, shipped_digest())
    counts: dict[str, list[Count]] = {}
    total, empty, alarms = 0, 0, 0

    for photograph in track(photographs(folder), "photographs", console=console):
        found = detector.detect(photograph.picture, THRESHOLD)
        total += 1
        if not len(photograph.faces) and not len(photograph.ignored):
            empty += 1
            alarms += bool(len(found))
        row = counts.setdefault(photograph.set, [Count() for _ in SMALLEST_PX])
        for count, smallest in zip(row, SMALLEST_PX, strict=True):
            _count(count, found.boxes, photograph.faces, photograph.ignored, smallest)

    console.print(
        f"{total} photographs, threshold {THRESHOLD}; {alarms} of {empty} pictures without a face "
        "had one reported."
    )
    table = Table("recall / precision of", *(f">= {px} px" for px in SMALLEST_PX))
    for name, row in counts.items():
        table.add_row(name, *(_share(count) for count in row))
    console.print(table)


def _speed(folder: Path, console: Console) -> None:
    """Milliseconds of one core, for a crop, and for two photographs in two sizes."""
    detector = load_detector(SHIPPED, shipped_digest())
    every = list(photographs(folder))
    portrait = next(photograph for photograph in every if len(photograph.faces) == 1)
    group = max(every, key=lambda photograph: len(photograph.faces))
    left, top, right, bottom = map(float, portrait.faces[0])
    pictures = [("a crop", portrait.picture.crop((left, top, right, bottom)), (224, 224))]
    for size in ((640, 480), (4032, 3024)):
        for photograph in (portrait, group):
            pictures.append((f"{len(photograph.faces)} faces", photograph.picture, size))

    table = Table("a JPEG of", "pixels", "decoded to", "decoding, ms", "detection, ms")
    for name, picture, size in pictures:
        file = io.BytesIO()
        picture.resize(size).save(file, "JPEG", quality=90)
        half = -(-detector.shorter_side // 2)
        read = partial(decode, file.getvalue(), (half, half))
        image = read()

        costs = [_milliseconds(read), _milliseconds(partial(detector.detect, image, THRESHOLD))]
        shapes = [f"{width} x {height}" for width, height in (size, image.size)]
        table.add_row(name, *shapes, *(f"{cost:.1f}" for cost in costs))
    console.print(table)


def _milliseconds(function: Callable[[], object]) -> float:
    """The median of one thread's time, after a first call that prepares what is kept."""
    function()
    times = []
    for _ in range(REPEATS):
        begun = time.thread_time()
        function()
        times.append(time.thread_time() - begun)
    return 1000 * float(np.median(times))


def _side(boxes: Boxes) -> NDArray[np.float32]:
    sides: NDArray[np.float32] = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
    return sides


def _overlaps(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """(n, m): intersection over union of each pair."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    shares: NDArray[np.float32] = shared / (areas[0][:, None] + areas[1][None] - shared)
    return shares


def _count(count: Count, found: Boxes, labelled: Boxes, ignored: Boxes, smallest: int) -> None:
    """Adds one photograph. Smaller faces, found or labelled, count neither for nor against."""
    counted = _side(labelled) >= smallest
    count.labelled += int(counted.sum())

    shares = _overlaps(found, labelled)
    taken: set[int] = set()
    for row in shares:  # The surest first; a labelled face is found once.
        free = [j for j in np.argsort(-row) if row[j] >= RECALL_IOU and int(j) not in taken]
        taken.update(map(int, free[:1]))
    count.found += sum(bool(counted[j]) for j in taken)

    right = (shares >= PRECISION_IOU).any(axis=1)
    unknown = (_overlaps(found, ignored) >= PRECISION_IOU).any(axis=1) & ~right
    judged = (_side(found) >= smallest) & ~unknown
    count.reported += int(judged.sum())
    count.right += int((right & judged).sum())


def _share(count: Count) -> str:
    if not count.labelled:
        return ""
    recall, precision = count.found / count.labelled, count.right / max(count.reported, 1)
    return f"{recall:.3f} / {precision:.3f} of {count.labelled}"


def _end_to_end(folder: Path, console: Console) -> None:
    """Accuracy on crops as they are, and on the same faces found in a scene and cut out again."""
    release = load_release(SHIPPED_MODEL)
    engine, detector = OpenVinoEngine(release, "f32"), load_detector(SHIPPED, shipped_digest())
    preprocessing = release.preprocessing
    files, labels = labelled_crops(folder, CROPS)
    random = np.random.default_rng(0)

    def accuracy(images: list[Image.Image], chosen: list[int]) -> float:
        pixels = np.stack([resize(image, preprocessing) for image in images])
        predicted = engine.predict(preprocessing.to_input(pixels)).argmax(axis=1)
        return float((predicted == labels[chosen]).mean())

    table = Table(
        "face", "roll", "found", "the crops themselves", "found and cut out", "and turned"
    )
    for side in FACE_PX:
        for roll in ROLLS:
            chosen, whole, upright, turned = [], [], [], []
            numbered = list(enumerate(files))
            for number, file in track(numbered, f"{side} px, {roll} degrees", console=console):
                face = Image.open(file).convert("RGB")
                scene, centre = _scene(face, side, roll * int(random.choice((-1, 1))), random)
                faces = detector.detect(scene, THRESHOLD)
                nearest = _nearest(faces, centre, side)
                if nearest is None:
                    continue
                chosen.append(number)
                whole.append(face)
                box, lean = faces.boxes[nearest], roll_of(faces.points[nearest])
                upright.append(crop(scene, box, 0, preprocessing.size))
                turned.append(crop(scene, box, lean, preprocessing.size))
            table.add_row(
                f"{side} px",
                f"{roll}",
                f"{len(chosen) / len(files):.3f}",
                *(f"{accuracy(images, chosen):.3f}" for images in (whole, upright, turned)),
            )
    console.print(table)


def _scene(
    face: Image.Image, side: int, roll: int, random: np.random.Generator
) -> tuple[Image.Image, NDArray[np.int64]]:
    """A grey picture with the face turned in it, its edge pixels repeated, and the middle of it."""
    enlarged = np.asarray(face.resize((side, side), Image.Resampling.BICUBIC))
    spread = np.pad(enlarged, ((side // 2,) * 2, (side // 2,) * 2, (0, 0)), "edge")
    patch = Image.fromarray(spread).rotate(-roll, Image.Resampling.BICUBIC)

    scene = Image.new("RGB", (640, 480), (110, 120, 130))
    corner = random.integers(0, np.array(scene.size) - 2 * side)
    scene.paste(patch, (int(corner[0]), int(corner[1])))
    return scene, corner + side


def _nearest(faces: Faces, centre: NDArray[np.int64], side: int) -> int | None:
    """The face found at a place, if one was."""
    if not len(faces):
        return None
    middles = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    distances = np.abs(middles - centre).max(axis=1)
    return int(distances.argmin()) if distances.min() < 0.4 * side else None


if __name__ == "__main__":
    main()
