"""Draws faces.

A network trained on photographs of faces responds to light and relief more than to lines. So a head
is an ellipsoid with a relief (eye sockets, nose, cheeks) under one lamp, painted with soft masks.
Every mask is a formula in the face's own coordinates: x to the right, y down, the eyes near
y = -0.2 and the chin near y = 1; one unit is about half a picture.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grid = NDArray[np.float64]  # (height, width): a coordinate, a mask in [0, 1] or a relief
Point = tuple[float, float]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Look:
    """A person, in front of a wall, under a lamp.

    Attributes:
        hair_end: the y at which the hair beside the face ends.
        lamp: the direction to it: right, down, towards the viewer.
    """

    skin: Triple
    hair: Triple
    hair_end: float
    wall: Triple
    lamp: Triple


ADA: Final = Look((222, 184, 162), (62, 46, 38), 1.4, (128, 136, 144), (-0.45, -0.5, 0.8))
BEN: Final = Look((158, 120, 100), (24, 20, 20), -0.1, (168, 162, 150), (0.5, -0.45, 0.8))
CHI: Final = Look((232, 204, 182), (32, 28, 30), 0.9, (98, 112, 118), (0.2, -0.6, 0.9))
DEE: Final = Look((118, 86, 72), (18, 15, 15), 0.1, (150, 162, 158), (-0.5, -0.3, 0.8))
ELI: Final = Look((234, 200, 184), (146, 108, 70), 0.1, (88, 92, 106), (-0.2, -0.6, 0.8))
FAY: Final = Look((196, 154, 128), (68, 44, 34), 1.4, (170, 154, 144), (0.55, -0.4, 0.7))


@dataclass(frozen=True)
class Face:
    """A person's expression. The defaults are a neutral face.

    Attributes:
        brow: raise; slant, where > 0 lifts the inner ends (grief), < 0 lowers them (anger); arch.
        lids: how far the upper lid is open, and how far the lower lid is raised.
        gaze: shift of the irises.
        mouth: smile, where > 0 lifts the corners and < 0 pulls them down; half the width; y.
        gap: how far the mouth opens.
        boxy: the shape of the opening, from an oval (0) to a box (1).
        teeth: visible height of the upper and the lower teeth.
        frown, forehead, folds, sneer: wrinkles, from 0 to 1: between the brows, above the brows,
            from nose to mouth, and on the nose, whose wings rise.
        tilt, yaw: how far the head leans and turns, in radians.
        zoom: > 1 crops tighter.
    """

    look: Look = ADA
    brow: Triple = (0.0, -0.01, 0.03)
    lids: Point = (0.85, 0.0)
    gaze: Point = (0.0, 0.0)
    mouth: Triple = (0.0, 0.29, 0.52)
    gap: float = 0.0
    boxy: float = 0.0
    teeth: Point = (0.0, 0.0)
    frown: float = 0.0
    forehead: float = 0.0
    folds: float = 0.15
    sneer: float = 0.0
    tilt: float = 0.0
    yaw: float = 0.0
    zoom: float = 1.08


NEUTRAL: Final = Face()
GRIN: Final = Face(mouth=(0.13, 0.4, 0.5), gap=0.14, teeth=(0.1, 0), lids=(0.8, 0.5), folds=1)
SMILE: Final = Face(mouth=(0.11, 0.36, 0.52), lids=(0.85, 0.5), folds=0.8)
LAUGH: Final = replace(GRIN, mouth=(0.12, 0.4, 0.47), gap=0.26, teeth=(0.11, 0), lids=(0.5, 0.5))
SADNESS: Final = Face(
    brow=(0, 0.07, 0),
    lids=(0.5, 0),
    gaze=(0, 0.03),
    mouth=(-0.08, 0.25, 0.52),
    frown=0.4,
    forehead=0.3,
)
SNARL: Final = Face(
    mouth=(-0.07, 0.3, 0.52), gap=0.18, boxy=0.8, teeth=(0.06, 0.05), sneer=0.4, folds=0.8
)
ANGER: Final = replace(SNARL, brow=(-0.06, -0.1, 0), lids=(0.95, 0.2), frown=1)
FEAR: Final = Face(
    brow=(0.06, 0.08, 0),
    lids=(1.5, 0),
    mouth=(-0.05, 0.36, 0.52),
    gap=0.13,
    boxy=0.6,
    teeth=(0.03, 0.05),
    forehead=1,
)
SURPRISE: Final = Face(
    brow=(0.13, -0.01, 0.08), lids=(1.6, 0), mouth=(0, 0.2, 0.54), gap=0.36, forehead=0.8
)
RETCH: Final = Face(mouth=(-0.1, 0.28, 0.47), gap=0.12, teeth=(0.08, 0), sneer=1, folds=1)
DISGUST: Final = replace(RETCH, brow=(-0.05, -0.02, 0), lids=(0.2, 0.75), frown=0.4)


def soft(distance: Grid, width: float = 0.012) -> Grid:
    """1 where `distance` > 0, else 0, with a smooth edge."""
    t = np.clip(distance / (2 * width) + 0.5, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def ridge(distance: Grid, width: float) -> Grid:
    """A soft line where `distance` is 0."""
    return np.asarray(np.exp(-((distance / width) ** 2)))


def blob(x: Grid, y: Grid, at: Point, radii: Point) -> Grid:
    """A Gaussian hill of height 1."""
    return ridge(np.hypot((x - at[0]) / radii[0], (y - at[1]) / radii[1]), 1)


def stroke(x: Grid, y: Grid, start: Point, bend: Point, end: Point, width: float) -> Grid:
    """A soft line along a quadratic Bezier curve, approximated by nine straight segments."""
    t = np.linspace(0, 1, 10)[:, None]
    path = (
        (1 - t) ** 2 * np.asarray(start)
        + 2 * t * (1 - t) * np.asarray(bend)
        + t**2 * np.asarray(end)
    )

    nearest = np.full_like(x, np.inf)
    for (ax, ay), (dx, dy) in zip(path[:-1], np.diff(path, axis=0), strict=True):
        along = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - ax - along * dx, y - ay - along * dy))
    return ridge(nearest, width)


class Portrait:
    """A face being drawn. The steps share coordinates and colours; each paints over the last."""

    def __init__(self, face: Face, right: Grid, down: Grid, pixel: float) -> None:
        """`right` (width,) and `down` (height, 1) are the coordinates of the canvas' pixels before
        the head is tilted, and `pixel` is their distance."""
        self.face = face
        self.skin = np.asarray(face.look.skin, np.float64)
        self.hair_colour = np.asarray(face.look.hair, np.float64)

        self.pixel, self.right, self.down = pixel, right, down
        cos, sin = np.cos(face.tilt), np.sin(face.tilt)
        self.head_x = right * cos + down * sin
        self.y = down * cos - right * sin

        # The features turn with the ellipsoid's surface, whose outline stays in place.
        angle = np.arcsin(np.clip(self.head_x / 0.95, -1, 1))
        self.x = np.where(np.abs(self.head_x) < 0.9, 0.95 * np.sin(angle - face.yaw), 9.0)

        # Eyes, brows, cheeks and the mouth's corners are drawn once, mirrored.
        self.side = np.abs(self.x)

        self.colours = (1.05 - 0.25 * down - 0.12 * right)[..., None] * np.asarray(face.look.wall)
        self.lift = 0.03 * face.sneer
        across = np.sin(55 * self.head_x + 5 * np.sin(4 * down))
        waves = across * np.sin(23 * self.head_x + 3 * down)
        self.strands = (1 + 0.25 * waves)[..., None]

    def paint(self, mask: Grid, colour: Triple | Grid) -> None:
        self.colours += mask[..., None] * (np.asarray(colour, np.float64) - self.colours)

    def darken(self, mask: Grid, depth: float) -> None:
        self.colours *= 1 - depth * mask[..., None]

    def draw(self) -> Image.Image:
        """Draws the person, then adds the camera's exposure and grain."""
        self.person()
        self.colours *= (125 / self.colours.mean()) ** 0.6
        self.colours += np.random.default_rng(7).normal(0, 2, self.y.shape)[..., None]
        return Image.fromarray(np.clip(self.colours, 0, 255).astype(np.uint8))

    def person(self) -> None:
        """Draws from back to front; the lamp shines before the hair is on."""
        self.body()
        depth = self.head()
        self.eyes()
        self.wrinkles()
        self.brows()
        self.nose()
        self.mouth()
        self.shine(depth)
        self.hair(depth)

    def body(self) -> None:
        """Draws clothes and neck."""
        y, m = self.y, np.abs(self.head_x)
        self.paint(soft(y - 1.2 + 0.3 * m, 0.03), (70, 72, 84))
        self.paint(soft(0.47 - m, 0.05) * soft(y - 0.6, 0.1), self.skin * 0.5)

    def head(self) -> Grid:
        """Draws ears and head.

        Returns:
            The head's squared depth: 1 at its middle, 0 at its outline.
        """
        y, m = self.y, np.abs(self.head_x)
        ears = 1 - ((m - 0.8) / 0.1) ** 2 - ((y + 0.08) / 0.24) ** 2
        self.paint(soft(ears, 0.2), self.skin * 0.72)

        jaw = 0.77 - 0.08 * soft(y - 0.5, 0.5)
        chin = 1.02 + 0.35 * self.face.gap
        depth = 1 - (m / jaw) ** 2 - (np.abs(y) / np.where(y > 0, chin, 1.1)) ** 2.4
        self.paint(soft(depth, 0.03), self.skin)
        return np.asarray(depth)

    def eyes(self) -> None:
        y, m, (upper_lid, lower_lid) = self.y, self.side, self.face.lids
        u = (m - 0.345) / 0.165
        arc = np.clip(1 - u * u, 0, 1)
        upper = -0.21 - 0.015 * u - 0.085 * upper_lid * arc**0.7
        lower = -0.21 - 0.015 * u + 0.055 * (1 - lower_lid) * min(1.0, 0.4 + 0.6 * upper_lid) * arc

        # Shadows of the sockets, then the whites.
        self.darken(blob(m, y, (0.3, -0.25), (0.2, 0.1)), 0.22)
        self.darken(blob(m, y, (0.32, -0.09), (0.15, 0.03)), 0.12)
        inside = soft(np.minimum(y - upper, lower - y)) * soft(1 - np.abs(u), 0.05)
        self.paint(inside, (0.72 + 2.5 * np.clip(y - upper, 0, 0.11))[..., None] * (222, 216, 210))

        # Iris, pupil and highlight.
        across = m - 0.345 - np.sign(self.x) * self.face.gaze[0]
        down = y + 0.225 - self.face.gaze[1]
        self.paint(inside * soft(0.074 - np.hypot(across, down)), (66, 48, 36))
        self.paint(inside * soft(0.036 - np.hypot(across, down)), (12, 10, 10))
        self.paint(inside * soft(0.016 - np.hypot(across + 0.025, down + 0.025)), (250, 250, 250))

        # Lashes and the fold above the eye.
        lid = soft(1.06 - np.abs(u), 0.08)
        self.darken(lid * ridge(y - upper, 0.018), 0.85)
        self.darken(lid * ridge(y - lower, 0.012), 0.35)
        self.darken(lid * ridge(y - upper + 0.055 + 0.02 * arc, 0.016), 0.3)

    def brows(self) -> None:
        rise, slant, arch = self.face.brow
        u = (self.side - 0.355 + 0.03 * self.face.frown) / 0.215
        line = -0.4 - rise + slant * u - arch * (1 - u * u) + 0.03 * self.face.frown
        mask = soft(0.04 - 0.013 * u - np.abs(self.y - line), 0.022) * soft(1 - np.abs(u), 0.1)
        self.paint(0.88 * mask, self.hair_colour * 0.7 * self.strands)

    def wrinkles(self) -> None:
        f, y, m, lift = self.face, self.y, self.side, self.lift
        corner = (f.mouth[1] + 0.06, f.mouth[2] - 0.5 * f.mouth[0])
        fold = stroke(m, y, (0.16, 0.15 - lift), (corner[0], 0.2), corner, 0.035)
        self.darken(fold * soft(corner[1] - y, 0.15), 0.45 * f.folds)

        frown = stroke(m, y, (0.05, -0.46), (0.065, -0.4), (0.045, -0.33), 0.022)
        self.darken(frown, 0.5 * f.frown)
        self.darken(stroke(m, y, (0, -0.2), (0.08, -0.19), (0.13, -0.11), 0.02), 0.4 * f.sneer)
        self.darken(stroke(m, y, (0, -0.13), (0.06, -0.12), (0.1, -0.06), 0.02), 0.3 * f.sneer)

        for height in (-0.58, -0.66, -0.74):
            line = ridge(y - height - f.brow[2] * np.cos(6 * self.x), 0.016)
            self.darken(line * blob(self.x, y, (0, height), (0.32, 0.2)), 0.35 * f.forehead)

    def nose(self) -> None:
        y, m, lift = self.y, self.side, self.lift
        self.darken(blob(m, y, (0.065, 0.225 - lift), (0.038, 0.022)), 0.75)
        wing = stroke(m, y, (0.13, 0.12 - lift), (0.19, 0.18 - lift), (0.13, 0.235 - lift), 0.02)
        self.darken(wing, 0.35)
        self.darken(blob(m, y, (0, 0.285 - lift), (0.13, 0.03)), 0.25)
        self.paint(0.2 * blob(m, y, (0.45, 0.2), (0.18, 0.14)), self.skin * (0.95, 0.7, 0.68))

    def mouth(self) -> None:
        f, y, m, (smile, half_width, middle) = self.face, self.y, self.side, self.face.mouth
        u = m / half_width
        arc = np.clip(1 - u * u, 0, 1) ** (0.55 - 0.3 * f.boxy)
        line = middle + smile * (0.35 - np.minimum(u, 1.1) ** 2)
        top, bottom = line - 0.35 * f.gap * arc, line + 0.65 * f.gap * arc

        # Lips, and the shadow below them.
        bow = 0.062 * arc**0.6 - 0.014 * ridge(u, 0.16)
        edge = np.minimum(y - top + bow, bottom + 0.08 * arc**0.6 - y)
        lips = soft(edge, 0.014) * soft(1 - u, 0.06)
        self.paint(0.75 * lips, self.skin * (0.76, 0.54, 0.54))
        self.darken(lips * soft(line - y, 0.03), 0.15)
        below = (0, middle + 0.35 * smile + 0.65 * f.gap + 0.13)
        self.darken(blob(m, y, below, (0.17, 0.035)), 0.3)

        # The opening, with tongue and teeth.
        inside = soft(np.minimum(y - top, bottom - y)) * soft(1 - u, 0.04) * (f.gap > 0)
        self.paint(inside, (38, 14, 16))
        tongue = blob(m, y, (0, middle + 0.62 * f.gap), (0.2, 0.3 * f.gap + 0.01))
        self.paint(0.7 * inside * tongue, (150, 70, 72))
        shown = np.maximum(soft(top + f.teeth[0] - y), soft(y - bottom + f.teeth[1]))
        white = (1.02 - 0.35 * u * u) * (1 - 0.15 * ridge(np.sin(self.x * np.pi / 0.075), 0.18))
        self.paint(inside * shown, white[..., None] * (238, 232, 222))

        # The line between the lips, and the corners.
        self.darken(ridge(y - line, 0.014) * soft(1.05 - u, 0.06) * (1 - inside), 0.7)
        self.darken(blob(m, y, (half_width + 0.01, middle - 0.65 * smile), (0.035, 0.035)), 0.4)

    def relief(self) -> Grid:
        """The height above the ellipsoid."""
        f, m, y, lift, up = self.face, self.side, self.y, self.lift, max(self.face.mouth[0], 0)
        hills: tuple[tuple[float, Point, Point], ...] = (
            (0.05, (0.3, -0.42), (0.2, 0.1)),  # brow ridge
            (-0.1, (0.3, -0.23), (0.17, 0.12)),  # socket
            (0.05, (0.345, -0.21), (0.13, 0.08)),  # eyeball
            (0.13, (0, -0.05), (0.085, 0.25)),  # bridge of the nose
            (0.15, (0, 0.14 - lift), (0.11, 0.1)),  # its tip
            (0.06, (0.12, 0.18 - lift), (0.055, 0.06)),  # its wings
            (0.07 + 0.35 * up + lift, (0.44, 0.14 - 0.3 * up), (0.19, 0.16)),  # cheek
            (0.05, (0, f.mouth[2]), (0.3, 0.16)),  # lips
            (0.07, (0, 0.86 + 0.4 * f.gap), (0.2, 0.12)),  # chin
        )
        return np.asarray(sum(height * blob(m, y, at, radii) for height, at, radii in hills))

    def shine(self, depth: Grid) -> None:
        """Lights the head by Lambert's law: 0.3 from the room, 0.85 from the lamp, some gloss."""
        slope_y, slope_x = np.gradient(self.relief(), self.pixel)
        towards_viewer = np.sqrt(np.clip(depth, 0.02, 1)) + 0.2
        normal = np.stack([self.head_x / 0.8 - slope_x, self.y / 1.5 - slope_y, towards_viewer])
        normal /= np.linalg.norm(normal, axis=0)

        lamp = np.asarray(self.face.look.lamp) / np.linalg.norm(self.face.look.lamp)
        mirror = (lamp + np.array([0, 0, 1])) / np.linalg.norm(lamp + np.array([0, 0, 1]))
        diffuse = np.clip(np.einsum("i,ihw->hw", lamp, normal), 0, 1)
        gloss = np.clip(np.einsum("i,ihw->hw", mirror, normal), 0, 1)

        on_head = soft(depth, 0.03)[..., None]
        self.colours *= 1 + on_head * (0.3 + 0.85 * diffuse[..., None] - 1)
        self.colours += 28 * on_head * gloss[..., None] ** 30

    def hair(self, depth: Grid) -> None:
        """Draws hair above the hairline and, if it is long, beside the face."""
        look, m, y = self.face.look, np.abs(self.head_x), self.y
        half_width = 0.88 + 0.1 * max(look.hair_end, 0) + 0.02 * np.sin(6 * y)
        cap = 1 - (m / half_width) ** 2 - (np.minimum(y + 0.1, 0) / 1.15) ** 2
        hairline = -0.8 + 0.1 * m + 0.75 * np.clip(m - 0.45, 0, 1) ** 1.5
        off_face = np.maximum(soft(hairline - y, 0.03), soft(0.02 - depth, 0.05))
        mask = soft(cap, 0.05) * off_face * soft(look.hair_end - y - 0.4 * (0.86 - m), 0.08)
        light = 0.75 + 0.5 * np.clip(look.lamp[0] * self.head_x - 0.6 * y, -0.4, 0.7)
        self.paint(mask, self.hair_colour * self.strands * light[..., None])


def draw(face: Face, width: int, height: int) -> Image.Image:
    """Draws a face. A small picture is drawn larger and averaged, as a camera's sensor does."""
    factor = max(1, round(480 / height))
    columns, rows = width * factor, height * factor
    pixel = 2 / min(columns, rows) / face.zoom
    right = np.asarray((np.arange(columns) + 0.5 - columns / 2) * pixel, np.float64)
    down = np.asarray((np.arange(rows)[:, None] + 0.5 - rows / 2) * pixel + 0.05, np.float64)

    picture = Portrait(face, right, down, pixel).draw()
    return picture.resize((width, height), Image.Resampling.BOX)
