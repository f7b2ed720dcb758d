"""The candidate networks, by name: plain functions whose docstrings give parameters, source and measured score."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers


@dataclass(frozen=True)
class Candidate:
    """A network and the recipe it is fitted by."""

    name: str
    build: Callable[[tuple[int, int, int], int], keras.Model]
    optimizer: Callable[[], keras.Optimizer]
    epochs: int
    patience: int
    batch_size: int = 32


def model3(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """The winner of the reference's experiment: eight 3x3 convolutions and three dense layers.

    3,265,372 parameters at (48, 48, 3) and 28 classes, of which 2,816 are not trainable; 334 million multiply-adds an
    image. Source: Cue-Cetera (2023), whose validation accuracy on EMOTIC and FER-2013 together was 50.14 %.
    """

    def convolution(filters: int, l2: bool) -> list[Any]:
        regularizer = keras.regularizers.L2(0.01) if l2 else None
        return [
            layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_regularizer=regularizer),
            layers.BatchNormalization(),
        ]

    def block(first: int, second: int, dropout: float, l2: bool = True) -> list[Any]:
        return [
            *convolution(first, l2),
            *convolution(second, l2),
            layers.MaxPooling2D(2),
            layers.Dropout(dropout),
        ]

    return keras.Sequential(
        [
            keras.Input(input_shape),
            *block(64, 64, 0.3, l2=False),
            *block(128, 64, 0.4),
            *block(256, 256, 0.5),
            *block(512, 64, 0.3),
            layers.Flatten(),
            layers.Dense(1024, activation="relu"),
            layers.Dropout(0.4),
            layers.Dense(256, activation="relu"),
            # The softmax stays in float32 when the rest runs in mixed precision, or small scores round to nothing.
            layers.Dense(num_classes, activation="softmax", dtype="float32"),
        ],
        name="model3",
    )


CANDIDATES = {
    "model3": Candidate("model3", model3, lambda: keras.optimizers.Adam(1e-4), epochs=25, patience=10),
}
