"""The candidate networks, by name: plain functions whose docstrings give parameters, source and measured score."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from trainer.augment import Augmentation

Shape = tuple[int | None, int | None, int]
"""Height, width, channels; None = any, for a network that is all convolutions."""


@dataclass(frozen=True)
class Candidate:
    """A network and the recipe it is fitted by.

    Attributes:
        build: makes the network for an input's shape and a number of classes.
        optimizer: makes it for a number of batches an epoch, which its schedule may follow.
        patience: fitting stops after so many epochs without a better one.
        label_smoothing: the share of each target that is spread over the labels that the training data has.
        averaging: the decay, by batch, of the moving average of the weights that is validated and kept; 0 = none.
    """

    name: str
    build: Callable[[Shape, int], keras.Model]
    optimizer: Callable[[int], keras.Optimizer]
    epochs: int
    patience: int
    batch_size: int = 32
    augmentation: Augmentation | None = None
    label_smoothing: float = 0.0
    averaging: float = 0.0


def model3(input_shape: Shape, num_classes: int) -> keras.Model:
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


def cuemill1(input_shape: Shape, num_classes: int) -> keras.Model:
    """Our own: a residual network (He et al. 2016, arXiv:1512.03385) with five blocks, for small faces.

    2,695,420 parameters at 28 classes; 205 million multiply-adds an image of 48x48.
    """

    def convolution(x: Any, filters: int, size: int, strides: int = 1) -> Any:
        x = layers.Conv2D(
            filters, size, strides, padding="same", use_bias=False, kernel_initializer="he_normal"
        )(x)
        return layers.BatchNormalization()(x)

    def block(x: Any, filters: int, strides: int) -> Any:
        y = layers.ReLU()(convolution(x, filters, 3, strides))
        y = convolution(y, filters, 3)
        if strides != 1 or x.shape[-1] != filters:
            x = convolution(x, filters, 1, strides)
        return layers.ReLU()(layers.Add()([x, y]))

    inputs = keras.Input(input_shape)
    x = layers.ReLU()(convolution(inputs, 32, 3))
    for filters, strides in ((64, 2), (128, 2), (128, 1), (256, 2), (256, 1)):
        x = block(x, filters, strides)
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(num_classes, activation="softmax", dtype="float32")(x)
    return keras.Model(inputs, outputs, name="cuemill1")


def sgd(epochs: int, peak: float, weight_decay: float) -> Callable[[int], keras.Optimizer]:
    """Nesterov momentum; the rate rises to its peak for a twentieth of the epochs, then falls as a cosine to zero."""

    def make(steps: int) -> keras.Optimizer:
        warmup = max(1, epochs * steps // 20)
        rate = keras.optimizers.schedules.CosineDecay(
            peak / 100, epochs * steps - warmup, alpha=0.0, warmup_target=peak, warmup_steps=warmup
        )
        return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=weight_decay)

    return make


CANDIDATES = {
    candidate.name: candidate
    for candidate in (
        Candidate("model3", model3, lambda _steps: keras.optimizers.Adam(1e-4), epochs=25, patience=10),
        Candidate(
            "cuemill1",
            cuemill1,
            # Keras takes decay off the weights by itself, outside the momentum: 5e-3 here is 5e-4 elsewhere.
            sgd(epochs=50, peak=0.1, weight_decay=5e-3),
            epochs=50,
            patience=50,
            batch_size=128,
            augmentation=Augmentation(sizes=((0.4, 32), (0.7, 40))),
            label_smoothing=0.1,
            averaging=0.998,
        ),
    )
}
