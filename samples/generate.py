"""Draws the demo images: `python samples/generate.py` rewrites this folder, byte for byte, on one version of Pillow.

A network trained on photographs of faces needs light and relief more than lines. So a head is an ellipsoid with a
relief (sockets, nose, cheeks, folds) under one lamp, painted with soft masks. Every mask is a formula in the face's own
coordinates: x to the right and y down, the eyes near y = -0.2 and the chin near y = 1; one unit is half a picture.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FOLDER: Final = Path(__file__).parent

Grid = NDArray[np.float64]
Colour = tuple[int, int, int]
Point = tuple[float, float]


@dataclass(frozen=True)
class Face:
    """An expression, and whose face wears it. The defaults are a neutral face; lengths are in half pictures.

    Attributes:
        brow_raise, brow_slant, brow_arch: slant > 0 lifts the inner ends (grief), < 0 lowers them (anger).
        eye_open, squint: what upper and lower lid do; 0.85 and 0 at rest.
        gaze: (right, down) shift of the irises.
        smile, mouth_width, mouth_y: smile > 0 lifts the corners, < 0 pulls them down.
        gap, boxy: how far the mouth opens, and whether its outline is an oval (0) or a box (1).
        teeth, lower_teeth: height shown, cut off by the lips.
        frown, forehead, folds, sneer: depth, 0 to 1, of the wrinkles between the brows, above them, from nose to mouth
            and on the nose, whose wings the sneer also lifts.
        tilt, yaw: radians; the head leans, the head turns.
        light: direction to the lamp (right, down, towards us).
        zoom: > 1 crops tighter.
    """

    brow_raise: float = 0.0
    brow_slant: float = -0.01
    brow_arch: float = 0.03
    eye_open: float = 0.85
    squint: float = 0.0
    gaze: Point = (0.0, 0.0)
    smile: float = 0.0
    mouth_width: float = 0.29
    mouth_y: float = 0.52
    gap: float = 0.0
    boxy: float = 0.0
    teeth: float = 0.0
    lower_teeth: float = 0.0
    frown: float = 0.0
    forehead: float = 0.0
    folds: float = 0.15
    sneer: float = 0.0
    tilt: float = 0.0
    yaw: float = 0.0
    skin: Colour = (226, 178, 148)
    hair: Colour = (62, 44, 34)
    hair_length: float = 0.1
    backdrop: Colour = (128, 138, 150)
    light: tuple[float, float, float] = (-0.45, -0.5, 0.8)
    zoom: float = 1.08


def soft(distance: Grid, width: float = 0.012) -> Grid:
    """1 where `distance` > 0, else 0, with a smooth edge."""
    t = np.clip(distance / (2 * width) + 0.5, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def blob(x: Grid, y: Grid, at: Point, radii: Point) -> Grid:
    """A Gaussian hill of height 1."""
    return np.asarray(np.exp(-(((x - at[0]) / radii[0]) ** 2) - ((y - at[1]) / radii[1]) ** 2))


def stroke(x: Grid, y: Grid, start: Point, bend: Point, end: Point, width: float) -> Grid:
    """A ridge of height 1 along a quadratic Bezier curve, by its distance to nine straight pieces."""
    t = np.linspace(0, 1, 10)[:, None]
    path = (1 - t) ** 2 * np.asarray(start) + 2 * t * (1 - t) * np.asarray(bend) + t**2 * np.asarray(end)
    nearest = np.full_like(x, np.inf)
    for (ax, ay), (dx, dy) in zip(path[:-1], np.diff(path, axis=0), strict=True):
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
        nearest = np.minimum(nearest, (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2)
    return np.asarray(np.exp(-nearest / width**2))


class Portrait:
    """One face being drawn. The steps share the coordinates and the colours, and each paints over those before."""

    def __init__(self, face: Face, width: int, height: int) -> None:
        self.face = face
        self.pixel = 2 / min(width, height) / face.zoom
        columns, rows = np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2
        u, v = np.meshgrid(columns * self.pixel, rows * self.pixel + 0.05)
        cos, sin = np.cos(face.tilt), np.sin(face.tilt)
        self.head_x, self.y = u * cos + v * sin, v * cos - u * sin
        # The features turn with the ellipsoid's surface, whose outline stays where it is.
        angle = np.arcsin(np.clip(self.head_x / 0.95, -1, 1))
        self.x = np.where(np.abs(self.head_x) < 0.9, 0.95 * np.sin(angle - face.yaw), 9.0)
        self.side = np.abs(self.x)  # Eyes, brows, cheeks and corners of the mouth are drawn once, mirrored.
        self.colours = np.empty((height, width, 3))
        self.colours[:] = face.backdrop
        self.colours *= (1.05 - 0.25 * v - 0.12 * u)[..., None]
        self.streaks = 1 + 0.25 * np.sin(55 * self.head_x + 5 * np.sin(4 * v)) * np.sin(23 * self.head_x + 3 * v)

    def paint(self, mask: Grid, colour: Colour | NDArray[np.float64]) -> None:
        self.colours += mask[..., None] * (np.asarray(colour, np.float64) - self.colours)

    def darken(self, mask: Grid, depth: float) -> None:
        self.colours *= 1 - depth * mask[..., None]

    def draw(self) -> Image.Image:
        """From the back to the front, then the lamp."""
        shape = self.head()
        self.features()
        self.shine(shape)
        self.hair(shape)
        noise = np.random.default_rng(7).normal(0, 2.0, self.colours.shape[:2])  # A camera's grain.
        return Image.fromarray(np.clip(self.colours + noise[..., None], 0, 255).astype(np.uint8))

    def head(self) -> Grid:
        """Neck, ears and head. Returns 1 - r^2 of the head's outline: 1 at its middle, 0 at its edge."""
        y, m = self.y, np.abs(self.head_x)
        skin = np.asarray(self.face.skin, np.float64)
        self.paint(soft(0.95 - m - 0.2 * (y < 1.2), 0.02) * soft(y - 1.2 + 0.3 * m, 0.03), (70, 72, 84))
        self.paint(soft(0.47 - m, 0.05) * soft(y - 0.6, 0.1), skin * 0.5)
        self.paint(soft(1 - ((m - 0.8) / 0.1) ** 2 - ((y + 0.08) / 0.24) ** 2, 0.2), skin * 0.72)
        chin = 1.02 + 0.35 * self.face.gap
        jaw = 0.77 - 0.08 * soft(y - 0.5, 0.5)
        shape = 1 - (m / jaw) ** 2 - (np.abs(y) / np.where(y > 0, chin, 1.1)) ** 2.4
        self.paint(soft(shape, 0.03), skin)
        return np.asarray(shape)

    def features(self) -> None:
        self.eyes()
        self.wrinkles()
        self.brows()
        self.nose()
        self.mouth()

    def eyes(self) -> None:
        f, y = self.face, self.y
        u = (self.side - 0.345) / 0.165
        arc = np.clip(1 - u * u, 0, 1)
        middle = -0.21 - 0.015 * u
        upper = middle - 0.085 * f.eye_open * arc**0.7
        lower = middle + 0.055 * (1 - f.squint) * min(1.0, 0.4 + 0.6 * f.eye_open) * arc
        self.darken(blob(self.side, y, (0.3, -0.25), (0.2, 0.1)), 0.22)
        self.darken(blob(self.side, y, (0.32, -0.09), (0.15, 0.03)), 0.12)
        inside = soft(np.minimum(y - upper, lower - y)) * soft(1 - np.abs(u), 0.05)
        self.paint(inside, np.asarray((222, 216, 210)) * (0.72 + 2.5 * np.clip(y - upper, 0, 0.11))[..., None])
        across, down = self.side - 0.345 - np.sign(self.x) * f.gaze[0], y + 0.225 - f.gaze[1]
        radius = np.hypot(across, down)
        self.paint(inside * soft(0.074 - radius), (66, 48, 36))
        self.paint(inside * soft(0.036 - radius), (12, 10, 10))
        self.paint(inside * soft(0.016 - np.hypot(across + 0.025, down + 0.025)), (250, 250, 250))
        lid = soft(1.06 - np.abs(u), 0.08)
        self.darken(lid * np.exp(-(((y - upper) / 0.018) ** 2)), 0.85)
        self.darken(lid * np.exp(-(((y - lower) / 0.012) ** 2)), 0.35)
        self.darken(lid * np.exp(-(((y - upper + 0.055 + 0.02 * arc) / 0.016) ** 2)), 0.3)

    def brows(self) -> None:
        f, y = self.face, self.y
        u = (self.side - 0.355 + 0.03 * f.frown) / 0.215
        line = -0.4 - f.brow_raise + f.brow_slant * u - f.brow_arch * (1 - u * u) + 0.03 * f.frown
        thickness = 0.04 - 0.013 * u
        mask = soft(thickness - np.abs(y - line), 0.022) * soft(1 - np.abs(u), 0.1)
        self.paint(0.88 * mask, np.asarray(f.hair) * 0.7 * self.streaks[..., None])

    def wrinkles(self) -> None:
        f, x, y, m = self.face, self.x, self.y, self.side
        lift = 0.03 * f.sneer
        corner = (f.mouth_width + 0.06, f.mouth_y - 0.5 * f.smile)
        fold = stroke(m, y, (0.16, 0.15 - lift), (corner[0], 0.2), corner, 0.035)
        self.darken(fold * soft(corner[1] - y, 0.15), 0.45 * f.folds)
        self.darken(stroke(m, y, (0.055, -0.47), (0.08, -0.4), (0.05, -0.33), 0.02), 0.5 * f.frown)
        self.darken(stroke(m, y, (0.0, -0.2), (0.08, -0.19), (0.13, -0.11), 0.02), 0.4 * f.sneer)
        self.darken(stroke(m, y, (0.0, -0.13), (0.06, -0.12), (0.1, -0.06), 0.02), 0.3 * f.sneer)
        for height in (-0.58, -0.66, -0.74):
            line = np.exp(-(((y - height - f.brow_arch * np.cos(6 * x)) / 0.016) ** 2))
            self.darken(line * blob(x, y, (0.0, height), (0.32, 0.2)), 0.35 * f.forehead)

    def nose(self) -> None:
        f, lift = self.face, 0.03 * self.face.sneer
        self.darken(blob(self.side, self.y, (0.065, 0.225 - lift), (0.038, 0.022)), 0.75)
        self.darken(
            stroke(self.side, self.y, (0.13, 0.12 - lift), (0.19, 0.18 - lift), (0.13, 0.235 - lift), 0.02), 0.35
        )
        self.darken(blob(self.x, self.y, (0.0, 0.285 - lift), (0.13, 0.03)), 0.25)
        self.paint(0.2 * blob(self.side, self.y, (0.45, 0.2), (0.18, 0.14)), np.asarray(f.skin) * (0.95, 0.66, 0.64))

    def mouth(self) -> None:
        f, y = self.face, self.y
        u = self.side / f.mouth_width
        arc = np.clip(1 - u * u, 0, 1) ** (0.55 - 0.3 * f.boxy)
        line = f.mouth_y + f.smile * (0.35 - np.minimum(u, 1.1) ** 2)
        top, bottom = line - 0.35 * f.gap * arc, line + 0.65 * f.gap * arc
        bow = 0.062 * arc**0.6 - 0.014 * np.exp(-((u / 0.16) ** 2))
        lips = soft(np.minimum(y - top + bow, bottom + 0.08 * arc**0.6 - y), 0.014) * soft(1 - u, 0.06)
        self.paint(0.75 * lips, np.asarray(f.skin) * (0.78, 0.5, 0.5))
        self.darken(lips * soft(line - y, 0.03), 0.15)
        self.darken(blob(self.x, y, (0.0, float(bottom.max(where=u < 0.1, initial=0)) + 0.13), (0.17, 0.035)), 0.3)
        inside = soft(np.minimum(y - top, bottom - y)) * soft(1 - u, 0.04)
        if f.gap:
            self.paint(inside, (38, 14, 16))
            self.paint(
                0.7 * inside * blob(self.x, y, (0.0, f.mouth_y + 0.62 * f.gap), (0.2, 0.3 * f.gap)), (150, 70, 72)
            )
            shown = np.maximum(soft(top + f.teeth - y), soft(y - bottom + f.lower_teeth))
            gaps = 1 - 0.25 * np.exp(-((np.sin(self.x * np.pi / 0.075) / 0.18) ** 2))
            self.paint(inside * shown, np.asarray((238, 232, 220)) * (gaps * (1.02 - 0.35 * u * u))[..., None])
        self.darken(np.exp(-(((y - line) / 0.014) ** 2)) * soft(1.05 - u, 0.06) * (1 - inside), 0.7)
        self.darken(blob(self.side, y, (f.mouth_width + 0.01, f.mouth_y - 0.65 * f.smile), (0.035, 0.035)), 0.4)

    def relief(self) -> Grid:
        """Height over the ellipsoid."""
        f, m, y = self.face, self.side, self.y
        lift = 0.03 * f.sneer
        up = max(f.smile, 0.0)
        hills = 0.05 * blob(m, y, (0.3, -0.42), (0.2, 0.1)) - 0.1 * blob(m, y, (0.3, -0.23), (0.17, 0.12))
        hills += 0.05 * blob(m, y, (0.345, -0.21), (0.13, 0.08))
        hills += 0.13 * blob(m, y, (0, -0.05), (0.085, 0.25)) + 0.15 * blob(m, y, (0, 0.14 - lift), (0.11, 0.1))
        hills += 0.06 * blob(m, y, (0.12, 0.18 - lift), (0.055, 0.06))
        hills += (0.07 + 0.35 * up + 0.03 * f.sneer) * blob(m, y, (0.44, 0.14 - 0.3 * up), (0.19, 0.16))
        hills += 0.05 * blob(m, y, (0, f.mouth_y), (0.3, 0.16)) + 0.07 * blob(
            m, y, (0, 0.86 + 0.4 * f.gap), (0.2, 0.12)
        )
        return np.asarray(hills)

    def shine(self, shape: Grid) -> None:
        """Lambert's law, the lamp's share 0.75 and the room's 0.3, and a little gloss where the lamp is mirrored."""
        slope_y, slope_x = np.gradient(self.relief(), self.pixel)
        normal = np.stack([self.head_x / 0.8 - slope_x, self.y / 1.5 - slope_y, np.sqrt(np.clip(shape, 0.02, 1)) + 0.2])
        normal /= np.linalg.norm(normal, axis=0)
        lamp = np.asarray(self.face.light) / np.linalg.norm(self.face.light)
        half = (lamp + (0, 0, 1)) / np.linalg.norm(lamp + (0, 0, 1))
        diffuse = np.clip(np.tensordot(lamp, normal, 1), 0, 1)
        gloss = np.clip(np.tensordot(half, normal, 1), 0, 1) ** 30
        on_head = soft(shape, 0.03)
        self.colours *= (1 + on_head * (0.3 + 0.85 * diffuse - 1))[..., None]
        self.colours += (28 * on_head * gloss)[..., None]

    def hair(self, shape: Grid) -> None:
        f, m, y = self.face, np.abs(self.head_x), self.y
        cap = 1 - (m / (0.88 + 0.1 * max(f.hair_length, 0.0))) ** 2 - (np.minimum(y + 0.1, 0.0) / 1.15) ** 2
        hairline = -0.8 + 0.1 * m + 0.75 * np.clip(m - 0.45, 0, 1) ** 1.5
        off_face = np.maximum(soft(hairline - y, 0.03), soft(0.02 - shape, 0.05))
        light = 0.75 + 0.5 * np.clip(f.light[0] * self.head_x - y * 0.6, -0.4, 0.7)
        mask = soft(cap, 0.05) * off_face * soft(f.hair_length - y - 0.4 * (0.86 - m), 0.08)
        self.paint(mask, np.asarray(f.hair) * (self.streaks * light)[..., None])


def draw(face: Face, width: int, height: int) -> Image.Image:
    """The face, drawn larger than small pictures need and averaged, as a camera does."""
    factor = max(1, round(480 / height))
    return Portrait(face, width * factor, height * factor).draw().resize((width, height), Image.Resampling.BOX)
