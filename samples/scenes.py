"""Draws photographs: people, or nobody, before a backdrop.

    Scene((1600, 1200), crowd(5)).draw()                        five people among hills
    Scene((640, 480), (Person(GRIN, 0.3, 0.5),), shore).draw()  one, by the sea

A backdrop is a formula in the picture's own coordinates: x and y run from 0 to 1, and `aspect` is
its width divided by its height.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from samples.faces import (
    ADA,
    BEN,
    CHI,
    DEE,
    ELI,
    FAY,
    GRIN,
    LAUGH,
    NEUTRAL,
    SADNESS,
    SMILE,
    SURPRISE,
    Face,
    Grid,
    Look,
    Portrait,
    Triple,
    ridge,
    soft,
)

Colours = NDArray[np.float64]  # (height, width, 3), in [0, 255]
Backdrop = Callable[[Grid, Grid, float], Colours]
Box = tuple[float, float, float, float]

BACKDROP_PX: Final = 1600
"""A backdrop is drawn with a longer side of at most this, and enlarged."""
UNIT_PX: Final = 100
"""People are drawn with this many pixels a unit, and shrunk or enlarged."""

GUS: Final = Look((228, 190, 170), (176, 174, 170), -0.1, (0, 0, 0), (0, 0, 1))
HUE: Final = Look((98, 70, 58), (70, 68, 68), 0.6, (0, 0, 0), (0, 0, 1))
LOOKS: Final = (ADA, BEN, CHI, DEE, ELI, FAY, GUS, HUE)

EXPRESSIONS: Final = (GRIN, SURPRISE, SMILE, LAUGH, NEUTRAL, SADNESS)
CLOTHES: Final[tuple[Triple, ...]] = (
    (58, 84, 122),
    (176, 82, 62),
    (214, 204, 186),
    (84, 116, 92),
    (196, 152, 74),
    (110, 74, 104),
    (62, 66, 76),
)


@dataclass(frozen=True)
class Person:
    """Somebody in a scene.

    Attributes:
        x, chin: where the chin is, as shares of the scene's width and height.
        size: the head's height, from the top of the hair to the chin, as a share of the scene's.
    """

    face: Face
    x: float
    chin: float
    size: float = 0.3
    clothes: Triple = CLOTHES[0]

    def box(self, width: int, height: int) -> Box:
        """The face in a scene of this size: left, top, right, bottom, in pixels.

        As detectors see it: from ear to ear, and from the hairline to the chin.
        """
        unit, chin = _unit_px(self, height), self.chin * height
        middle = self.x * width
        return middle - 0.78 * unit, chin - 2 * unit, middle + 0.78 * unit, chin


def _unit_px(person: Person, height: int) -> float:
    """Pixels of a unit of the face's coordinates. A head reaches from y = -1.25 to 1.02."""
    return person.size * height / 2.27


class Figure(Portrait):
    """A person down to the waist, on a transparent canvas.

    The canvas begins black, so that the colours are premultiplied with their opacity.
    """

    WIDTH, TOP, BOTTOM = 4.4, -1.5, 4.0

    def __init__(self, face: Face, clothes: Triple) -> None:
        pixel = 1 / UNIT_PX
        right = np.arange(-self.WIDTH / 2, self.WIDTH / 2, pixel) + pixel / 2
        down = np.arange(self.TOP, self.BOTTOM, pixel)[:, None] + pixel / 2
        super().__init__(face, right, down, pixel)
        self.clothes = np.asarray(clothes, np.float64)
        self.colours = np.zeros((*self.y.shape, 3))
        self.opacity = np.zeros(self.y.shape)

    def paint(self, mask: Grid, colour: Triple | Grid) -> None:
        super().paint(mask, colour)
        self.opacity += mask * (1 - self.opacity)

    def draw(self) -> Image.Image:
        self.person()
        straight = self.colours / np.maximum(self.opacity, 0.01)[..., None]
        rgba = np.concatenate([straight, 255 * self.opacity[..., None]], axis=-1)
        return Image.fromarray(np.clip(rgba, 0, 255).astype(np.uint8))

    def body(self) -> None:
        """Draws the neck, and a pullover."""
        m, y, (lamp, _, _) = np.abs(self.right), self.down, self.face.look.lamp
        flare = 0.46 + 0.9 * np.clip(y - 0.95, 0, 0.5) ** 2
        round_neck = 0.8 + 0.25 * lamp * self.right - 0.2 * soft(1.25 - y, 0.2)
        neck = soft(flare - m, 0.04) * soft(y - 0.6, 0.1) * soft(2 - y)
        self.paint(neck, round_neck[..., None] * self.skin)

        trunk = 1 - (m / 1.95) ** 3.4 - (np.clip(2.9 - y, 0, None) / 1.62) ** 2
        collar = np.hypot(m / 0.54, (y - 1.15) / 0.44) - 1
        light = 0.86 + 0.2 * lamp * self.right - 0.06 * (y - 2)
        weave = 1 + 0.03 * np.sin(90 * self.right) * np.sin(90 * y) * soft(3.2 - y, 0.7)
        cloth = soft(trunk, 0.03) * soft(collar, 0.02)
        self.paint(cloth, (light * weave)[..., None] * self.clothes)

        # The ribbed collar, and the folds where the arms begin.
        self.darken(cloth * ridge(collar - 0.18, 0.03), 0.25)
        self.darken(ridge(m - 1.4 - 0.05 * np.sin(3 * y), 0.06) * soft(y - 2.6, 0.5), 0.3)


@lru_cache(maxsize=32)
def _figure(face: Face, clothes: Triple) -> Image.Image:
    return Figure(face, clothes).draw()


@lru_cache(maxsize=32)
def _scaled_figure(face: Face, clothes: Triple, unit_px: float, below: int) -> Image.Image:
    """A person as RGBA, the last row repeated until there are `below` pixels under the canvas."""
    figure = _figure(face, clothes)
    factor = unit_px / UNIT_PX
    size = (max(1, round(figure.width * factor)), max(1, round(figure.height * factor)))
    scaled = figure.resize(size, Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC)

    extended = Image.new("RGBA", (size[0], size[1] + below))
    extended.paste(scaled, (0, 0))
    if below:
        hem = scaled.crop((0, size[1] - 1, *size))
        extended.paste(hem.resize((size[0], below)), (0, size[1]))
    return extended


def blend(mask: Grid, over: Colours | Triple, under: Colours) -> Colours:
    return under + mask[..., None] * (np.asarray(over) - under)


def waves(x: Grid, seed: int, octaves: int = 5, first: float = 2.0) -> Grid:
    """A rough line, or surface: sines of doubling frequency and falling height, in [-1, 1]."""
    random = np.random.default_rng(seed)
    total: Grid = np.zeros_like(x)
    for octave in range(octaves):
        frequency = first * 2**octave * random.uniform(0.8, 1.2)
        total += np.sin(2 * np.pi * (frequency * x + random.uniform())) / 1.7**octave
    return total / 2.2


def hills(x: Grid, y: Grid, aspect: float) -> Colours:
    """An evening: clouds, three ranges of hills, the last wooded, and a meadow."""
    u = x * aspect
    sky = blend(y / 0.6 + 0 * x, (250, 222, 190), np.ones_like(x)[..., None] * (128, 170, 214))
    drift = waves(u + 2.5 * y, 3, 4, 0.7) + waves(4 * y - 0.3 * u, 4, 4, 0.8)
    picture = blend(0.55 * soft(drift - 0.1, 0.5) * soft(0.5 - y, 0.2), (255, 244, 234), sky)

    ranges: tuple[tuple[float, float, Triple], ...] = (
        (0.44, 0.06, (150, 168, 190)),
        (0.52, 0.05, (110, 140, 138)),
        (0.6, 0.035, (76, 106, 80)),
    )
    for seed, (height, rise, colour) in enumerate(ranges):
        line = height + rise * waves(u, seed, 3, 0.7) + 0.004 * waves(u, seed + 9, 4, 12)
        haze = np.asarray(colour) * (1.12 - 1.2 * np.clip(y - line, 0, 0.3))[..., None]
        picture = blend(soft(y - line, 0.003), haze, picture)

    grass = 1 + 0.12 * waves(u + 0.3 * waves(y, 21, 2, 30), 22, 5, 9) * waves(y, 23, 4, 11)
    meadow = (grass * (1.25 - 0.55 * y))[..., None] * np.array([128, 142, 74])
    return blend(soft(y - 0.66 - 0.015 * waves(u, 8, 2, 0.8), 0.01), meadow, picture)


def shore(x: Grid, y: Grid, aspect: float) -> Colours:
    """A beach at noon: sky, sea, surf and sand."""
    u = x * aspect
    sky = blend(y / 0.42 + 0 * x, (214, 232, 240), np.ones_like(x)[..., None] * (96, 156, 212))
    drift = waves(u + 3 * y, 31, 4, 0.5) + 1.2 * waves(7 * y - 0.2 * u, 32, 4, 0.6)
    picture = blend(0.7 * soft(drift - 0.5, 0.5) * soft(0.36 - y, 0.2), (252, 252, 250), sky)

    depth = np.clip((y - 0.42) / 0.3, 0.001, 1)
    ripples = waves(u / (0.15 + depth) + 0.2 * waves(12 * depth, 33, 3), 34, 4, 5)
    swell = ripples * waves(8 * depth**0.5, 35, 4, 3)
    sea = blend(depth, (96, 176, 180), np.ones_like(x)[..., None] * (44, 108, 150))
    picture = blend(soft(y - 0.42, 0.002), sea * (1 + 0.14 * swell)[..., None], picture)

    edge = 0.7 + 0.02 * waves(u, 36, 4, 0.9) + 0.03 * (x - 0.5)
    dunes = 1 + 0.04 * waves(u + 2 * y, 37, 5, 3) * waves(y, 38, 4, 9)
    sand = (dunes * (0.92 + 0.14 * y))[..., None] * np.array([216, 192, 152])
    wet = blend(np.exp(-np.clip(y - edge, 0, 1) / 0.04), (150, 138, 116), sand)
    picture = blend(soft(y - edge, 0.003), wet, picture)
    foam = ridge(y - edge + 0.004, 0.007) + 0.6 * ridge(y - edge + 0.05, 0.006)
    return blend(np.clip(foam * (0.75 + 0.5 * waves(u, 39, 5, 6)), 0, 1), (250, 250, 248), picture)


def living_room(x: Grid, y: Grid, aspect: float) -> Colours:
    """A warm wall with a shelf of books, a picture and the light of a lamp."""
    u = (x - 0.5) * aspect
    lamp = np.exp(-np.hypot(u + 0.45, (y - 0.2) * 1.2) / 0.55)
    picture = (0.62 + 0.6 * lamp)[..., None] * np.array([206, 180, 146])

    def block(left: float, top: float, right: float, bottom: float) -> Grid:
        return soft(np.minimum.reduce([u - left, right - u, y - top, bottom - y]), 0.003)

    # The shelf's books differ in width, height and colour.
    random = np.random.default_rng(5)
    for board in (0.3, 0.66):
        spine = 0.12
        while spine < 0.95:
            width, height = random.uniform(0.022, 0.05), random.uniform(0.17, 0.25)
            colour = np.asarray(CLOTHES[random.integers(len(CLOTHES))]) * random.uniform(0.6, 0.95)
            picture = blend(
                block(spine, board - height, spine + width - 0.003, board), colour, picture
            )
            spine += width + (0.08 if random.uniform() < 0.08 else 0)
        picture = blend(block(0.1, board, 0.97, board + 0.022), (116, 78, 50), picture)

    picture = blend(block(-0.62, 0.12, -0.2, 0.42), (74, 56, 44), picture)
    painting = hills((u + 0.6) / 0.38, (y - 0.14) / 0.26, 1.4)
    return blend(block(-0.6, 0.14, -0.22, 0.4), 0.9 * painting, picture)


@lru_cache(maxsize=2)
def _backdrop(backdrop: Backdrop, width: int, height: int, blur: float) -> Image.Image:
    shrink = min(1.0, BACKDROP_PX / max(width, height))
    columns, rows = max(1, round(width * shrink)), max(1, round(height * shrink))
    x = np.broadcast_to((np.arange(columns) + 0.5) / columns, (rows, columns))
    y = np.broadcast_to((np.arange(rows)[:, None] + 0.5) / rows, (rows, columns))

    colours = backdrop(x, y, width / height)
    drawn = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
    blurred = drawn.filter(ImageFilter.GaussianBlur(blur * rows))
    return blurred.resize((width, height), Image.Resampling.BICUBIC)


@dataclass(frozen=True)
class Scene:
    """A photograph to draw.

    Attributes:
        size: width and height in pixels.
        people: each stands before those listed earlier, and reaches down to the lower edge.
        lamp: the light's direction, for everybody.
        blur: how far the backdrop is out of focus, as a share of the height.
        grain: standard deviation of the camera's noise, in grey levels.
        seed: of that noise.
    """

    size: tuple[int, int]
    people: tuple[Person, ...] = ()
    backdrop: Backdrop = hills
    lamp: Triple = (-0.4, -0.5, 0.8)
    blur: float = 0.0
    grain: float = 2.0
    seed: int = 7

    def draw(self) -> Image.Image:
        width, height = self.size
        picture = _backdrop(self.backdrop, width, height, self.blur).copy()
        for person in self.people:
            self._place(person, picture)
        if not self.grain:
            return picture

        noise = np.random.default_rng(self.seed).standard_normal((height, width, 1), np.float32)
        grained = np.asarray(picture, np.float32) + self.grain * noise
        return Image.fromarray(np.clip(grained, 0, 255).astype(np.uint8))

    def boxes(self) -> list[Box]:
        """Where the faces are."""
        return [person.box(*self.size) for person in self.people]

    def _place(self, person: Person, picture: Image.Image) -> None:
        face = replace(person.face, look=replace(person.face.look, lamp=self.lamp))
        unit_px = _unit_px(person, picture.height)
        chin = person.chin * picture.height
        top = round(chin - (1.02 - Figure.TOP) * unit_px)
        below = max(0, round(picture.height - chin - (Figure.BOTTOM - 1.02) * unit_px) + 2)

        figure = _scaled_figure(face, person.clothes, unit_px, below)
        picture.paste(figure, (round(person.x * picture.width - figure.width / 2), top), figure)


def crowd(count: int, size: float = 0.16, first: int = 0) -> tuple[Person, ...]:
    """People in rows, the last row in front, with looks and expressions taken in turn.

    Args:
        first: with which look and expression to begin; the places stay the same.
    """
    columns = max(1, min(count, 5))
    rows = -(-count // columns)
    people = []
    for number in range(count):
        row, column = divmod(number, columns)
        in_row = min(columns, count - row * columns)
        who = first + number
        face = replace(
            EXPRESSIONS[who % len(EXPRESSIONS)],
            look=LOOKS[who % len(LOOKS)],
            tilt=(0.06, -0.05, 0.0)[who % 3],
            yaw=(0.1, 0.0, -0.12, 0.05)[who % 4],
        )
        x = (column + 0.5 + 0.1 * (-1) ** row) / in_row
        chin = 0.55 + 0.42 * (row + 0.5 - rows / 2) / rows
        people.append(Person(face, x, chin, size, CLOTHES[who % len(CLOTHES)]))
    return tuple(people)
