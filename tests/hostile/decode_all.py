"""A program: decodes every image of a folder as a worker does, in bounded memory and time, and says what came of each.

It prints JSON: path -> [code, sentence], or null where there is a picture. It fails where anything else is raised, or a
warning, and is killed where it takes more than SECONDS of a processor.
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

MEMORY = 1 << 30
SECONDS = 60
NETWORKS = (
    Preprocessing(),
    Preprocessing(antialias=False, channel_order="bgr"),
    Preprocessing(channel_order="grey"),
)


def main(folder: bytes) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    warnings.simplefilter("error")
    found: dict[str, list[str] | None] = {}
    for path in walk(folder, recursive=True):
        try:
            data, _ = read_image(folder, path)
            shapes = {read_pixels(data, network).shape for network in NETWORKS}
        except ImageError as error:
            found[to_text(path)] = [error.code, str(error)]
            continue
        if shapes != {(48, 48, 3)}:
            raise ValueError(f"{to_text(path)} became {shapes}")
        found[to_text(path)] = None
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(os.fsencode(sys.argv[1]))
