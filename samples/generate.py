"""Draws the sample images.

`python -m samples.generate` rewrites this folder; with one version of Pillow, byte for byte.
"""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import ExifTags, Image

from samples.faces import (
    ADA,
    ANGER,
    BEN,
    CHI,
    DEE,
    DISGUST,
    ELI,
    FAY,
    FEAR,
    GRIN,
    LAUGH,
    NEUTRAL,
    SADNESS,
    SMILE,
    SURPRISE,
    Face,
    draw,
    soft,
)
from samples.scenes import CLOTHES, GUS, HUE, Person, Scene, living_room, shore

FOLDER: Final = Path(__file__).parent

Encode = Callable[[Image.Image], bytes]


def plain(kind: str, mode: str = "RGB", **options: Any) -> Encode:
    """An encoder that writes a picture with Pillow, in this format and mode."""

    def encode(image: Image.Image) -> bytes:
        file = io.BytesIO()
        image.convert(mode).save(file, kind, **options)
        return file.getvalue()

    return encode


def rotated(image: Image.Image) -> bytes:
    """Stored on its side, as telephones do, with the rotation in EXIF."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return plain("JPEG", exif=exif)(image.transpose(Image.Transpose.ROTATE_90))


def sixteen_bits(image: Image.Image) -> bytes:
    """Grey from 0 to 65535."""
    return plain("PNG", "I;16")(Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257))


def cut_out(image: Image.Image) -> bytes:
    """Transparent outside an oval around the face."""
    x, y = np.linspace(-1, 1, image.width), np.linspace(-1, 1, image.height)[:, None]
    image.putalpha(Image.fromarray((255 * soft(0.95 - np.hypot(x, y), 0.05)).astype(np.uint8)))
    return plain("PNG", "RGBA")(image)


def animated(image: Image.Image) -> bytes:
    """Two grey frames, of which a classifier reads the first."""
    leaning = image.convert("L").rotate(5, Image.Resampling.BICUBIC)
    return plain("GIF", "L", save_all=True, append_images=[leaning], duration=500, loop=0)(image)


def broken(image: Image.Image) -> bytes:
    """A download that stopped halfway."""
    whole = plain("JPEG")(image)
    return whole[: len(whole) // 2]


SAMPLES: Final[dict[str, tuple[Face, tuple[int, int], Encode]]] = {
    "happiness.jpg": (replace(GRIN, look=ADA, yaw=0.12), (640, 480), plain("JPEG", quality=88)),
    "happiness-grey48.jpg": (
        replace(GRIN, look=BEN, tilt=0.08),
        (48, 48),
        plain("JPEG", "L", quality=92),
    ),
    "happiness-rotated.jpg": (replace(LAUGH, look=FAY, tilt=-0.1), (360, 420), rotated),
    "happiness-palette.png": (
        replace(SMILE, look=ELI),
        (256, 256),
        plain("PNG", "P", palette=Image.Palette.ADAPTIVE),
    ),
    "sadness.png": (replace(SADNESS, look=CHI, tilt=0.1), (300, 340), plain("PNG")),
    "sadness-cmyk.jpg": (replace(SADNESS, look=DEE, yaw=-0.15), (320, 320), plain("JPEG", "CMYK")),
    "anger.webp": (replace(ANGER, look=CHI), (480, 480), plain("WEBP", quality=85)),
    "anger.bmp": (replace(ANGER, look=ELI, tilt=-0.06), (160, 160), plain("BMP")),
    "fear.tif": (
        replace(FEAR, look=FAY, yaw=0.1),
        (240, 240),
        plain("TIFF", compression="tiff_lzw"),
    ),
    "fear.ppm": (replace(FEAR, look=ELI), (128, 128), plain("PPM")),
    "surprise.jpeg": (
        replace(SURPRISE, look=BEN, zoom=1.2),
        (1024, 768),
        plain("JPEG", quality=85),
    ),
    "surprise-16bit.png": (replace(SURPRISE, look=DEE, yaw=-0.1), (192, 192), sixteen_bits),
    "disgust.gif": (replace(DISGUST, look=FAY), (200, 200), animated),
    "disgust.pgm": (replace(DISGUST, look=ADA, tilt=0.08), (96, 96), plain("PPM", "L")),
    "neutral-transparent.png": (replace(NEUTRAL, look=DEE), (224, 224), cut_out),
    "more/neutral.webp": (
        replace(NEUTRAL, look=CHI, yaw=0.1),
        (400, 400),
        plain("WEBP", quality=85),
    ),
    "broken.jpg": (replace(SMILE, look=BEN), (320, 240), broken),
}


FRIENDS: Final = (
    Person(replace(SMILE, look=GUS, yaw=0.1, tilt=0.04), 0.34, 0.415, 0.21, CLOTHES[2]),
    Person(replace(NEUTRAL, look=HUE, yaw=-0.08), 0.66, 0.4, 0.215, CLOTHES[6]),
    Person(replace(GRIN, look=ADA, yaw=0.12, tilt=0.08), 0.155, 0.565, 0.25, CLOTHES[0]),
    Person(replace(SURPRISE, look=BEN, yaw=-0.1, tilt=-0.05), 0.83, 0.56, 0.255, CLOTHES[4]),
    Person(replace(LAUGH, look=DEE, tilt=-0.04), 0.5, 0.62, 0.26, CLOTHES[1]),
)
FILM_NIGHT: Final = (
    Person(replace(SURPRISE, look=FAY, yaw=0.15, tilt=0.06), 0.2, 0.56, 0.3, CLOTHES[3]),
    Person(replace(FEAR, look=CHI, yaw=-0.05, tilt=-0.05), 0.5, 0.62, 0.3, CLOTHES[5]),
    Person(replace(LAUGH, look=ELI, yaw=-0.15, tilt=-0.08), 0.8, 0.55, 0.31, CLOTHES[0]),
)
WALKER: Final = Person(replace(SMILE, look=FAY, yaw=0.1), 0.3, 0.56, 0.22, CLOTHES[1])

PHOTOGRAPHS: Final[dict[str, tuple[Scene, Encode]]] = {
    "photographs/friends.jpg": (
        Scene((1280, 853), FRIENDS, blur=0.004),
        plain("JPEG", quality=85),
    ),
    "photographs/film-night.jpg": (
        Scene((1024, 768), FILM_NIGHT, living_room, lamp=(-0.6, -0.4, 0.8), blur=0.003),
        plain("JPEG", quality=85),
    ),
    "photographs/walk.jpg": (
        Scene((1600, 900), (WALKER,), shore, lamp=(0.3, -0.5, 0.9)),
        plain("JPEG", quality=80),
    ),
    "photographs/nobody.png": (Scene((640, 480), grain=0), plain("PNG")),
}


def write(folder: Path) -> None:
    """Draws every sample into a folder."""
    images = [(name, encode(draw(face, *size))) for name, (face, size, encode) in SAMPLES.items()]
    images += [(name, encode(scene.draw())) for name, (scene, encode) in PHOTOGRAPHS.items()]

    for name, data in images:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)


def main() -> None:
    write(FOLDER)


if __name__ == "__main__":
    main()
