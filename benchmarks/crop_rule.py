"""Which pictures `--faces auto` takes whole, and what that costs in accuracy.

    python -m benchmarks.crop_rule PHOTOS CROPS

PHOTOS holds folders of photographs and `truth.json`, as for `benchmarks.detection`; CROPS holds
labelled faces, such as FER-2013's validation, with a subfolder for each label.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.hardware import describe
from benchmarks.labelled import Photograph, labelled_crops, photographs
from models.pictures.crops import crop, roll_of
from models.pictures.detection import THRESHOLD
from models.pictures.resize import resize
from models.release.detectors import SHIPPED, shipped_digest
from models.release.files import load_release
from models.settings import SHIPPED_MODEL
from worker.engines.faces.base import Detector
from worker.engines.faces.load import load_detector
from worker.engines.faces.rule import is_crop, is_sure_crop
from worker.engines.openvino import OpenVinoEngine

THUMBNAILS_PX = (64, 128, 256)
CLOSE_UP = 0.25
"""A photograph's only face that covers this share fills it: either call is right."""
CUT_PX = 60
"""The smallest face, by its shorter side, that is cut out of a photograph."""
MARGINS = (0.0, 0.1, 0.3)
"""Beside a face that is cut out, in sides of its square, on each side."""
CROPS, CROPS_PX = 400, (48, 100, 224)
FRAMED, FRAMES = 1200, (1.0, 1.1, 1.2, 1.3, 1.45, 1.6)
"""How many labelled faces are framed, and the frames' sides in sides of the face."""
SHARES = (0.0, 0.3, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 1.01)

Picture = tuple[str, Image.Image]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("crops", type=Path)
    arguments = parser.parse_args()

    console = Console(width=110)
    detector = load_detector(SHIPPED, shipped_digest())
    _calls(arguments.photos, arguments.crops, detector, console)
    _cost(arguments.crops, detector, console)
    console.print(describe(), highlight=False)


def _calls(photos: Path, crops: Path, detector: Detector, console: Console) -> None:
    """The confusion table: what the rule calls each kind of picture, and why."""
    calls: dict[str, Counter[str]] = {}
    for kind, picture in track(_pictures(photos, crops), "pictures", console=console):
        calls.setdefault(kind, Counter())[_call(picture, detector)] += 1

    reasons = ("tiny", "filled", "small", "faces", "none")
    table = Table(
        *("pictures", "of them", "whole: tiny", "filled", "small, none found"),
        *("detected: found", "none found"),
    )
    for kind, counts in sorted(calls.items()):
        table.add_row(kind, str(counts.total()), *(str(counts[reason]) for reason in reasons))
    console.print(table)


def _call(picture: Image.Image, detector: Detector) -> str:
    if is_sure_crop(picture.size):
        return "tiny"

    faces = detector.detect(picture, THRESHOLD)
    if is_crop(picture.size, faces):
        return "filled" if len(faces) else "small"
    return "faces" if len(faces) else "none"


def _pictures(photos: Path, crops: Path) -> Iterator[Picture]:
    """Each picture and what it is: a photograph, a thumbnail of one, or a crop."""
    for photograph in photographs(photos):
        kind = "close-up" if _is_close_up(photograph) else "photograph"
        yield kind, photograph.picture
        for side in THUMBNAILS_PX:
            yield f"{kind}, {side} px", photograph.shrunk(side).picture
        yield from _cut_out(photograph)

    for file in labelled_crops(crops, CROPS)[0]:
        face = Image.open(file).convert("RGB")
        for side in CROPS_PX:
            yield (
                f"crop, labelled, {side:3} px",
                face.resize((side, side), Image.Resampling.BICUBIC),
            )


def _is_close_up(photograph: Photograph) -> bool:
    extents = photograph.faces[:, 2:] - photograph.faces[:, :2]
    width, height = photograph.picture.size
    return len(extents) == 1 and bool(extents.prod() >= CLOSE_UP * width * height)


def _cut_out(photograph: Photograph) -> Iterator[Picture]:
    """The photograph's faces, cut out square with each margin, at their own size."""
    extents = photograph.faces[:, 2:] - photograph.faces[:, :2]
    middles = (photograph.faces[:, 2:] + photograph.faces[:, :2]) / 2
    for extent, middle in zip(extents, middles, strict=True):
        if extent.min() < CUT_PX:
            continue
        for margin in MARGINS:
            reach = extent.max() * (0.5 + margin)
            low = np.maximum(middle - reach, 0).round()
            high = np.minimum(middle + reach, photograph.picture.size).round()
            yield f"crop, margin {margin}", photograph.picture.crop((*low, *high))


def _cost(folder: Path, detector: Detector, console: Console) -> None:
    """Accuracy on labelled faces in wider and wider frames: taken whole, and found and cut out."""
    release = load_release(SHIPPED_MODEL)
    engine, preprocessing = OpenVinoEngine(release, "f32"), release.preprocessing
    files, labels = labelled_crops(folder, FRAMED)
    shares, right = [], []
    pairs = list(zip(files, labels, strict=True))

    for side in FRAMES:
        for file, label in track(pairs, f"a frame of {side} faces", console=console):
            picture = _framed(Image.open(file).convert("RGB"), side)
            faces = detector.detect(picture, THRESHOLD)
            if len(faces) != 1:
                continue

            cut = crop(picture, faces.boxes[0], roll_of(faces.points[0]), preprocessing.size)
            pixels = np.stack([resize(image, preprocessing) for image in (picture, cut)])
            predicted = engine.predict(preprocessing.to_input(pixels)).argmax(axis=1)
            shares.append(float(faces.shares(picture.size)[0]))
            right.append(predicted == label)

    table = Table("share of the picture", "faces", "whole", "found and cut out", "difference")
    shown, hits = np.array(shares), np.array(right)
    for low, high in pairwise(SHARES):
        chosen = hits[(shown >= low) & (shown < high)].astype(float)
        if not len(chosen):
            continue
        difference = chosen[:, 0] - chosen[:, 1]
        table.add_row(
            f"{low:.2f} to {min(high, 1):.2f}",
            f"{len(chosen)}",
            *(f"{mean:.3f}" for mean in chosen.mean(axis=0)),
            f"{difference.mean():+.3f} ± {difference.std() / len(chosen) ** 0.5:.3f}",
        )
    console.print(table)


def _framed(face: Image.Image, frame: float) -> Image.Image:
    """224 pixels square, the face in its middle, the face's edge pixels repeated around it."""
    side = round(224 / frame)
    pixels = np.asarray(face.resize((side, side), Image.Resampling.BICUBIC))
    before = (224 - side) // 2
    around = (before, 224 - side - before)
    return Image.fromarray(np.pad(pixels, (around, around, (0, 0)), "edge"))


if __name__ == "__main__":
    main()
