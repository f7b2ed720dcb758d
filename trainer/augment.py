"""Random changes to training images, so that a network learns faces and not files."""

from dataclasses import dataclass, replace
from io import BytesIO
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_MARGIN: Final = 8
"""Pixels by which the edge is repeated, so that rotating and shifting show no black."""


@dataclass(frozen=True)
class Augmentation:
    """The limits of the random changes to each image. Half of the images are also mirrored.

    Attributes:
        degrees: rotation to either side.
        zoom: enlargement or reduction, as a share of the size.
        shift: movement along each axis, in whole pixels, so that images that are neither rotated
            nor zoomed stay sharp.
        contrast: change of contrast, as a share.
        brightness: change of brightness, in grey levels of 255.
        gain: change of exposure: grey levels are multiplied by up to this share more or less.
        still: share of the images that are neither rotated nor zoomed, so stay sharp.
        coarse: share of the images that are reduced to between a quarter and all of their size,
            then enlarged again, as faces from small or blurred pictures are.
        compress: share of the images that pass through JPEG at a quality of 20 to 90.
        erase: share of the images in which a rectangle of 2 to 15 % of the area is filled with a
            random grey.
        mixup: alpha of the beta distribution that decides how far each image is blended with
            another (Zhang et al. 2018, arXiv:1710.09412); 0 turns it off.
        sizes: (share of the epochs, pixels): until that share is done, images are reduced to that
            size, which costs less. After the last entry they have their full size.
        sharp: share of the epochs, at the end, without rotation, zoom and mixup. These blur, and a
            network that ends on blurred images reads sharp ones less well (EXPERIMENTS.md).
    """

    degrees: float = 12.0
    zoom: float = 0.12
    shift: int = 4
    contrast: float = 0.25
    brightness: float = 20.0
    gain: float = 0.0
    still: float = 0.0
    coarse: float = 0.0
    compress: float = 0.0
    erase: float = 0.25
    mixup: float = 0.2
    sizes: tuple[tuple[float, int], ...] = ()
    sharp: float = 0.0

    def at(self, epoch: int, epochs: int) -> Self:
        """The changes in one epoch, counted from 1."""
        if epoch > (1 - self.sharp) * epochs:
            return replace(self, degrees=0.0, zoom=0.0, mixup=0.0)
        return self

    def size(self, full: int, epoch: int, epochs: int) -> int:
        """The side of the images in one epoch, in pixels."""
        for share, size in self.sizes:
            if epoch <= share * epochs:
                return size
        return full

    def apply(
        self, images: NDArray[np.uint8], size: int, random: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Changes each image at random: uint8 (n, height, width, 3) to (n, size, size, 3)."""
        padded = np.pad(images, ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), "edge")
        moved = np.stack([self._move(image, size, random) for image in padded])

        per_image = (len(images), 1, 1, 1)
        contrast = random.uniform(1 - self.contrast, 1 + self.contrast, per_image)
        brightness = random.uniform(-self.brightness, self.brightness, per_image)
        mean = moved.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float32)
        toned = (moved - mean) * contrast.astype(np.float32) + mean + brightness.astype(np.float32)
        if self.gain:
            toned *= random.uniform(1 - self.gain, 1 + self.gain, per_image).astype(np.float32)
        changed: NDArray[np.uint8] = np.clip(toned, 0, 255).astype(np.uint8)

        for index in np.flatnonzero(random.random(len(images)) < self.erase):
            _erase(changed[index], random)
        for index in _choose(self.coarse, len(images), random):
            changed[index] = _coarsen(changed[index], random)
        for index in _choose(self.compress, len(images), random):
            changed[index] = _compress(changed[index], random)
        return changed

    def _move(
        self, image: NDArray[np.uint8], size: int, random: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Mirrors, rotates, zooms and shifts in one affine transform, so it resamples only once."""
        height, width = image.shape[:2]
        angle = np.radians(random.uniform(-self.degrees, self.degrees))
        zoom = random.uniform(1 - self.zoom, 1 + self.zoom)
        if self.still and random.random() < self.still:
            angle, zoom = 0.0, 1.0

        scale = (height - 2 * _MARGIN) / size / zoom
        mirror = random.choice((-1.0, 1.0))
        center_x = width / 2 + random.integers(-self.shift, self.shift, endpoint=True)
        center_y = height / 2 + random.integers(-self.shift, self.shift, endpoint=True)

        # The result's pixel (x, y) is the image's (a * x + b * y + c, d * x + e * y + f).
        a, b = scale * mirror * np.cos(angle), scale * np.sin(angle)
        d, e = -scale * mirror * np.sin(angle), scale * np.cos(angle)
        c = center_x - (a + b) * size / 2
        f = center_y - (d + e) * size / 2
        moved = Image.fromarray(image).transform(
            (size, size), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR
        )
        return np.asarray(moved)


def _erase(image: NDArray[np.uint8], random: np.random.Generator) -> None:
    """Fills a random rectangle, in place (Zhong et al. 2020, arXiv:1708.04896)."""
    side = len(image)
    area = random.uniform(0.02, 0.15) * side * side
    ratio = random.uniform(0.5, 2.0)
    height = min(side - 1, max(1, round((area * ratio) ** 0.5)))
    width = min(side - 1, max(1, round((area / ratio) ** 0.5)))

    top = random.integers(0, side - height)
    left = random.integers(0, side - width)
    image[top : top + height, left : left + width] = random.integers(0, 256)


def _choose(share: float, count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """The images of a batch that a change is made to; without a share, nothing is drawn."""
    return np.flatnonzero(random.random(count) < share) if share else np.empty(0, np.int64)


def _coarsen(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    side = len(image)
    smaller = int(random.integers(side // 4, side))
    reduced = Image.fromarray(image).resize((smaller, smaller), Image.Resampling.BICUBIC)
    return np.asarray(reduced.resize((side, side), Image.Resampling.BICUBIC))


def _compress(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=int(random.integers(20, 91)))
    with Image.open(buffer) as compressed:
        return np.asarray(compressed)


def mix(
    inputs: NDArray[np.float32],
    targets: NDArray[np.float32],
    alpha: float,
    random: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mixup: blends each input (n, ...) and its target (n, labels) with another of the batch."""
    share = random.beta(alpha, alpha, len(inputs)).astype(np.float32)
    other = random.permutation(len(inputs))
    return _blend(inputs, other, share), _blend(targets, other, share)


def _blend(
    values: NDArray[np.float32], other: NDArray[np.int64], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    weight = share.reshape(-1, *[1] * (values.ndim - 1))
    blended: NDArray[np.float32] = values * weight + values[other] * (1 - weight)
    return blended
