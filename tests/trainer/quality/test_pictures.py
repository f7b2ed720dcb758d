"""The kinds of pictures: told apart on the same textures, as they are and processed."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps

from models.pictures.preprocessing import Preprocessing
from trainer.quality.pictures import PictureKind, warn_of_evaluation, warn_of_training

TRUE = PictureKind(grey=1.0, equalised=0.0, enlarged=0.0)


def textures(count: int = 40) -> list[Image.Image]:
    """Grey pictures with detail of every size and little contrast, as photographs have."""
    random = np.random.default_rng(0)
    pictures = []
    for _ in range(count):
        layers = [
            np.asarray(
                Image.fromarray(
                    random.normal(0, side**-0.9, (side, side)).astype(np.float32)
                ).resize((48, 48), Image.Resampling.BICUBIC)
            )
            for side in (3, 6, 12, 24, 48)
        ]
        pixels = np.clip(110 + 60 * sum(layers), 0, 255)
        pictures.append(Image.fromarray(pixels.astype(np.uint8)))
    return pictures


def kind_of(pictures: list[Image.Image]) -> PictureKind:
    return PictureKind.of(stack(pictures))


def stack(pictures: list[Image.Image]) -> NDArray[np.uint8]:
    return np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])


def test_pictures_as_a_camera_makes_them_are_of_no_processed_kind() -> None:
    assert kind_of(textures()) == TRUE


def test_equalised_pictures_are_told_by_their_flat_histograms() -> None:
    assert kind_of([ImageOps.equalize(picture) for picture in textures()]).equalised > 0.9


@pytest.mark.parametrize("side", [12, 24])
def test_enlarged_pictures_are_told_by_the_detail_that_they_lack(side: int) -> None:
    bicubic = Image.Resampling.BICUBIC
    enlarged = [
        picture.resize((side, side), bicubic).resize((48, 48), bicubic) for picture in textures()
    ]
    assert kind_of(enlarged).enlarged > 0.9


def test_blurred_pictures_count_as_enlarged() -> None:
    blurred = [picture.filter(ImageFilter.GaussianBlur(1.5)) for picture in textures()]
    assert kind_of(blurred).enlarged > 0.9


def test_pictures_of_one_grey_are_of_no_processed_kind() -> None:
    assert PictureKind.of(np.full((3, 48, 48, 3), 128, np.uint8)) == TRUE


def test_the_share_of_grey_pictures_is_counted() -> None:
    images = stack(textures())
    images[:10, :, :, 0] //= 2
    assert PictureKind.of(images).grey == 0.75


def test_training_on_true_pictures_warns_of_nothing() -> None:
    assert warn_of_training(TRUE, TRUE) == []


def test_training_warns_of_equalised_enlarged_and_mixed_pictures() -> None:
    warnings = warn_of_training(
        PictureKind(grey=0.4, equalised=0.9, enlarged=0.8),
        PictureKind(grey=0.4, equalised=0.9, enlarged=0.8),
    )
    assert [warning.split(".")[0] for warning in warnings] == [
        "90% of the training pictures have an equalised histogram",
        "80% of the training pictures are enlarged or blurred",
        "40% of the training pictures are grey and the others in colour",
    ]


def test_pictures_of_another_kind_than_the_training_ones_are_warned_of() -> None:
    colour = PictureKind(grey=0.0, equalised=0.0, enlarged=0.0)
    sentence = "0% of the {} pictures are grey, but 100% of those that the network was trained on."
    for name, warnings in (
        ("validation", warn_of_training(TRUE, colour)),
        ("given", warn_of_evaluation(colour, TRUE)),
    ):
        assert len(warnings) == 1
        assert warnings[0].startswith(sentence.format(name))


def test_a_model_of_unknown_training_is_evaluated_with_what_the_pictures_show() -> None:
    assert warn_of_evaluation(TRUE, None) == []
    assert len(warn_of_evaluation(PictureKind(1.0, 0.9, 0.0), None)) == 1


def test_a_network_that_equalises_is_not_warned_of_equalised_pictures() -> None:
    kind = PictureKind(1.0, 0.9, 0.0)
    assert kind.seen_by(Preprocessing(channel_order="grey", equalise=True)) == TRUE
    assert kind.seen_by(Preprocessing(channel_order="grey")) == kind


def test_a_kind_survives_the_pickle_and_nothing_else_passes_for_one() -> None:
    assert PictureKind.from_plain(TRUE.to_plain()) == TRUE
    assert PictureKind.from_plain({"grey": 1.0}) is None
    assert PictureKind.from_plain(None) is None
