"""Classifies folders with the package `fer`, in its environment; `benchmarks.peer` runs it.

fer_loop.py DETECTOR SECONDS FOLDER...    prints a line of JSON for each folder

DETECTOR is `cascade` or `mtcnn`.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import cv2
from fer.fer import FER

SAMPLE = 4


def measure(detector: Any, paths: list[Path], seconds: float) -> dict[str, Any]:
    """The speed, and the boxes (x, y, width, height) in each of the first pictures."""

    def classify(path: Path) -> list[list[int]]:
        faces = detector.detect_emotions(cv2.imread(str(path)))
        return [[int(side) for side in face["box"]] for face in faces]

    boxes = [classify(path) for path in paths[:SAMPLE]]
    started, started_processor, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - started < seconds:
        classify(paths[count % len(paths)])
        count += 1
    return {
        "rate": count / (time.perf_counter() - started),
        "processor_ms": 1000 * (time.process_time() - started_processor) / count,
        "boxes": boxes,
    }


def main() -> None:
    name, seconds, *folders = sys.argv[1:]
    detector = FER(mtcnn=name == "mtcnn")
    for folder in folders:
        paths = sorted(Path(folder).iterdir())
        print(json.dumps(measure(detector, paths, float(seconds))), flush=True)


if __name__ == "__main__":
    main()
