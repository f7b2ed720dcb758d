"""A program that decodes every image of a folder as a worker does, in limited memory and CPU time.

It prints JSON: path -> [code, message], or null for a picture. It fails on any other exception and
on any warning, and is killed when it takes more than CPU_S.
"""

import json
import os
import resource
import sys
import warnings

from models.errors import ImageError
from models.pictures.preprocessing import Preprocessing
from models.pictures.resize import read_pixels
from models.sources.names import to_text
from models.sources.read import read_image
from models.sources.walk import walk

MEMORY_BYTES = 1 << 30
CPU_S = 60
NETWORKS = (
    Preprocessing(),
    Preprocessing(antialias=False, channel_order="bgr"),
    Preprocessing(channel_order="grey"),
)


def main(folder: bytes) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    warnings.simplefilter("error")

    outcomes: dict[str, list[str] | None] = {}
    for path in walk(folder, recursive=True):
        try:
            data, _ = read_image(folder, path)
            shapes = {read_pixels(data, network).shape for network in NETWORKS}
        except ImageError as error:
            outcomes[to_text(path)] = [error.code, str(error)]
            continue

        if shapes != {(48, 48, 3)}:
            raise ValueError(f"{to_text(path)} gave the shapes {shapes}")
        outcomes[to_text(path)] = None
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main(os.fsencode(sys.argv[1]))
