"""What kind of pictures a data set holds, and whether those in use would be of another kind.

A network reads pictures of another kind less well: Cuemill's were once fitted on a copy of FER-2013
with equalised histograms, and lost a point on true pixels (docs/science.md).
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from models.pictures.preprocessing import Preprocessing

SAMPLE: Final = 2000
"""Pictures that are looked at; more change the shares by less than a point."""

EQUALISED_BELOW: Final = 0.06
"""Largest distance between the shares of pixels and of grey levels up to a level.

Of FER-2013's pictures 0.3 % are below, of the same ones equalised 90 % or more (3,000 of each)."""

ENLARGED_BELOW: Final = 0.015
"""Energy of the finest details, as a share of that of coarse ones.

Of FER-2013's pictures 0.1 % are below, of the same ones from half their size 95 % or more."""

_MANY: Final = 0.5
"""Share of pictures from which a warning says that the data is of a kind."""

_SOME: Final = 0.05
"""Share of colourless pictures from which data is of both kinds, unless nearly all are."""


@dataclass(frozen=True)
class PictureKind:
    """What share of the pictures is of each kind, in [0, 1].

    Attributes:
        grey: colourless.
        equalised: the histogram was made flat, so that every picture has full contrast.
        enlarged: no detail as fine as the picture's size would hold, so enlarged from about half of
            it or less, or blurred.
    """

    grey: float
    equalised: float
    enlarged: float

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> Self:
        """Looks at a sample of images (n, height, width, 3), as the network will see them."""
        chosen = np.random.default_rng(0).permutation(len(images))[:SAMPLE]
        sample = images[np.sort(chosen)]
        luminance = np.asarray(np.rint(sample.mean(axis=-1, dtype=np.float32)), np.uint8)

        return cls(
            grey=float((sample == sample[..., :1]).all(axis=(1, 2, 3)).mean()),
            equalised=float((_distance_from_flat(luminance) < EQUALISED_BELOW).mean()),
            enlarged=float((_fine_detail(luminance) < ENLARGED_BELOW).mean()),
        )

    @classmethod
    def from_plain(cls, values: Any) -> Self | None:
        """The inverse of `to_plain`; None for values that it does not write."""
        try:
            return cls(**{name: float(value) for name, value in dict(values).items()})
        except (TypeError, ValueError):
            return None

    def seen_by(self, preprocessing: Preprocessing) -> Self:
        """What a network is shown of them. One that equalises sees no difference in that."""
        return replace(self, equalised=0.0) if preprocessing.equalise else self

    def to_plain(self) -> dict[str, float]:
        """Plain values, for the pickle."""
        return asdict(self)


def warn_of_training(train: PictureKind, validation: PictureKind) -> list[str]:
    """Sentences about training pictures that differ from those in use, or from validation's."""
    warnings = _warn_of_processing(train, "training")
    if _SOME < train.grey < 1 - _SOME:
        warnings.append(
            f"{train.grey:.0%} of the training pictures are grey and the others in colour. If "
            "their labels differ, the network learns to tell these by colour. Train on pictures of "
            "one kind."
        )
    return warnings + _warn_of_difference(validation, "validation", train)


def warn_of_evaluation(evaluated: PictureKind, train: PictureKind | None) -> list[str]:
    """Sentences about pictures on which a model's figures say little about its use.

    Args:
        train: what the model was trained on; None if unknown.
    """
    warnings = _warn_of_processing(evaluated, "given")
    return warnings + (_warn_of_difference(evaluated, "given", train) if train else [])


def _warn_of_processing(kind: PictureKind, name: str) -> list[str]:
    warnings = []
    if kind.equalised >= _MANY:
        warnings.append(
            f"{kind.equalised:.0%} of the {name} pictures have an equalised histogram. Pictures in "
            "use are not equalised, so figures on these do not hold for them. Use the originals."
        )
    if kind.enlarged >= _MANY:
        warnings.append(
            f"{kind.enlarged:.0%} of the {name} pictures are enlarged or blurred. Faces in use are "
            "mostly sharp, so figures on these do not hold for them. Use larger originals."
        )
    return warnings


def _warn_of_difference(kind: PictureKind, name: str, train: PictureKind) -> list[str]:
    """Compares with the training pictures."""
    kinds = {"grey": "grey", "equalised": "equalised", "enlarged": "enlarged or blurred"}
    shares = [(words, getattr(kind, key), getattr(train, key)) for key, words in kinds.items()]
    return [
        f"{share:.0%} of the {name} pictures are {words}, but {trained:.0%} of those that the "
        "network was trained on. It reads pictures of another kind less well."
        for words, share, trained in shares
        if abs(share - trained) >= _MANY
    ]


def _distance_from_flat(luminance: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n,): how far each image's distribution of grey levels is from an even one, in [0, 1].

    The Kolmogorov-Smirnov distance, with half of a level's pixels counted as below it.
    """
    counts = np.stack([np.bincount(image.ravel(), minlength=256) for image in luminance])
    shares = counts / luminance[0].size
    up_to = shares.cumsum(axis=1) - shares / 2
    distance: NDArray[np.float64] = np.abs(up_to - (np.arange(256) + 0.5) / 256).max(axis=1)
    return distance


def _fine_detail(luminance: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n,): energy above 0.6 of the highest frequency, over that from 0.15 to 0.4 of it.

    A picture of one grey has no detail to miss, and infinity says so.
    """
    height, width = luminance.shape[1:]
    window = np.hanning(height)[:, None] * np.hanning(width)
    centred = luminance - luminance.mean(axis=(1, 2), keepdims=True)
    energy = np.abs(np.fft.fft2(centred * window)) ** 2

    rows, columns = np.abs(np.fft.fftfreq(height)), np.abs(np.fft.fftfreq(width))
    frequency = 2 * np.maximum(rows[:, None], columns)
    fine = energy[:, frequency > 0.6].sum(axis=1)
    coarse = energy[:, (frequency > 0.15) & (frequency <= 0.4)].sum(axis=1)
    ratio = np.full(len(fine), np.inf)
    np.divide(fine, coarse, out=ratio, where=coarse > 1e-6)
    return ratio
