"""Training images made different each time they are seen, so that a network learns faces and not files."""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_MARGIN: Final = 8  # Pixels repeated at the edge, so that turning and shifting show no black.


@dataclass(frozen=True)
class Augmentation:
    """What may be done to an image, each time by chance: mirrored in half of the cases, and the rest up to these.

    Attributes:
        degrees: turned to either side.
        zoom: magnified or shrunk, as a share.
        shift: moved, in whole pixels along each axis; what is neither turned nor zoomed stays as sharp as it was.
        contrast: made stronger or weaker, as a share.
        brightness: made lighter or darker, in grey levels of 255.
        erase: the share of images of which a rectangle of 2 to 15 % is filled with one random grey.
        mixup: the alpha of the beta distribution that says how far each image is blended with another (Zhang et al.
            2018, arXiv:1710.09412); 0 = never.
        sizes: up to which share of the epochs faces are shrunk to how many pixels, which costs less; after, they are
            whole.
        sharp: the share of the epochs, at the end, in which images are neither turned, zoomed nor blended. These blur,
            and a network that ends on blurred images reads sharp ones worse (EXPERIMENTS.md).
    """

    degrees: float = 12.0
    zoom: float = 0.12
    shift: int = 4
    contrast: float = 0.25
    brightness: float = 20.0
    erase: float = 0.25
    mixup: float = 0.2
    sizes: tuple[tuple[float, int], ...] = ()
    sharp: float = 0.0

    def at(self, epoch: int, epochs: int) -> Self:
        """What is done in an epoch (counted from 1) of so many."""
        if epoch > (1 - self.sharp) * epochs:
            return replace(self, degrees=0.0, zoom=0.0, mixup=0.0)
        return self

    def size(self, whole: int, epoch: int, epochs: int) -> int:
        """The side, in pixels, of what is fitted in an epoch (counted from 1) of so many."""
        return next((size for share, size in self.sizes if epoch <= share * epochs), whole)

    def apply(
        self, images: NDArray[np.uint8], size: int, random: np.random.Generator
    ) -> NDArray[np.uint8]:
        """uint8 (n, height, width, 3) to uint8 (n, size, size, 3), each image changed by itself."""
        padded = np.pad(images, ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), "edge")
        changed = np.stack([self._move(image, size, random) for image in padded])
        column = (len(images), 1, 1, 1)
        contrast = random.uniform(1 - self.contrast, 1 + self.contrast, column).astype(np.float32)
        lift = random.uniform(-self.brightness, self.brightness, column).astype(np.float32)
        mean = changed.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float32)
        toned: NDArray[np.uint8] = np.clip(
            (changed - mean) * contrast + mean + lift, 0, 255
        ).astype(np.uint8)
        for i in np.flatnonzero(random.random(len(images)) < self.erase):
            _erase(toned[i], random)
        return toned

    def _move(
        self, image: NDArray[np.uint8], size: int, random: np.random.Generator
    ) -> NDArray[np.uint8]:
        """One affine transform: mirror, turn, zoom and shift."""
        angle = np.radians(random.uniform(-self.degrees, self.degrees))
        scale = (len(image) - 2 * _MARGIN) / size / random.uniform(1 - self.zoom, 1 + self.zoom)
        mirror = random.choice((-1.0, 1.0))
        a, b = scale * mirror * np.cos(angle), scale * np.sin(angle)
        d, e = -scale * mirror * np.sin(angle), scale * np.cos(angle)
        x, y = (
            side / 2 + random.integers(-self.shift, self.shift, endpoint=True)
            for side in image.shape[1::-1]
        )
        coefficients = (a, b, x - (a + b) * size / 2, d, e, y - (d + e) * size / 2)
        moved = Image.fromarray(image).transform(
            (size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
        )
        return np.asarray(moved)


def _erase(image: NDArray[np.uint8], random: np.random.Generator) -> None:
    """Random erasing, in place (Zhong et al. 2020, arXiv:1708.04896)."""
    side = len(image)
    area, ratio = random.uniform(0.02, 0.15) * side * side, random.uniform(0.5, 2.0)
    height, width = (
        min(side - 1, max(1, round(n))) for n in ((area * ratio) ** 0.5, (area / ratio) ** 0.5)
    )
    top, left = random.integers(0, side - height), random.integers(0, side - width)
    image[top : top + height, left : left + width] = random.integers(0, 256)


def mix(
    inputs: NDArray[np.float32],
    targets: NDArray[np.float32],
    alpha: float,
    random: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mixup: each input (n, ...) and its target (n, labels) blended with another of the batch."""
    share = random.beta(alpha, alpha, len(inputs)).astype(np.float32)
    other = random.permutation(len(inputs))

    def blend(values: NDArray[np.float32]) -> NDArray[np.float32]:
        weight = share.reshape(-1, *[1] * (values.ndim - 1))
        blended: NDArray[np.float32] = values * weight + values[other] * (1 - weight)
        return blended

    return blend(inputs), blend(targets)
