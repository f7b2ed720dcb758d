"""Keras networks for tests, with random weights: a default value could hide a mistake."""

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from models.release.release import Release
from trainer.export import export


def pictures(count: int, seed: int = 0, height: int = 48, width: int = 48) -> NDArray[np.float32]:
    """Inputs (count, height, width, 3) in [-1, 1]: in turn noise, grey and coloured blocks."""
    random = np.random.default_rng(seed)
    noise = random.uniform(-1, 1, (count, 48, 48, 3))
    grey = np.kron(random.uniform(-1, 1, (count, 6, 6, 1)), np.ones((1, 8, 8, 3)))
    coloured = np.kron(random.uniform(-1, 1, (count, 3, 3, 3)), np.ones((1, 16, 16, 1)))
    kinds = np.stack([noise, grey, coloured])
    return kinds[np.arange(count) % 3, np.arange(count), :height, :width].astype(np.float32)


def randomise(model: keras.Model, seed: int = 0) -> keras.Model:
    """Sets every weight at random, and the statistics of batch normalisation.

    The spread of a kernel is He's, sqrt(2 / inputs), which keeps activations at the same scale from
    layer to layer. The last bias then balances the labels, so that not all pictures get the same.
    """
    random = np.random.default_rng(seed)
    spreads = {"bias": 0.1, "beta": 0.3, "moving_mean": 0.3}
    for variable in model.variables:
        if variable.name.endswith("kernel"):
            value = random.normal(0, np.sqrt(2 / np.prod(variable.shape[:-1])), variable.shape)
        elif variable.name in ("gamma", "moving_variance"):
            value = random.uniform(0.5, 1.5, variable.shape)
        elif variable.name in spreads:
            value = random.normal(0, spreads[variable.name], variable.shape)
        else:
            continue
        variable.assign(value.astype(np.float32))

    last, (_, height, width, _) = model.layers[-1], model.input_shape
    scores = model.predict_on_batch(pictures(96, seed, height, width))
    last.bias.assign(last.bias - np.log(scores).mean(axis=0))
    return model


def exported(model: keras.Model, preprocessing: Preprocessing) -> Release:
    return export(model, "random", preprocessing, EMOTIONS, {}, {}, {})


def crooked(input_shape: tuple[int, int, int]) -> keras.Model:
    """What Model 3 does not have: odd sizes, strides and paddings, and layers without bias."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(5, (3, 2), strides=(2, 1), padding="same", use_bias=False),
            layers.BatchNormalization(epsilon=0.1),
            layers.Activation("relu"),
            layers.MaxPooling2D((2, 3), strides=(1, 2), padding="same"),
            layers.Conv2D(7, (2, 4), strides=2, padding="valid"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(11, use_bias=False, activation="relu"),
            layers.Dense(28, activation="softmax"),
        ]
    )


def branching(input_shape: tuple[int, int, int]) -> keras.Model:
    """What a sequence does not have: sums, depthwise convolutions, zero padding, global pools."""
    images = keras.Input(input_shape)
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(images)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))

    y = layers.DepthwiseConv2D(3, strides=2)(layers.ZeroPadding2D(((0, 1), (1, 2)))(x))
    z = layers.DepthwiseConv2D((3, 2), padding="same", use_bias=False, activation="relu6")(y)
    x = layers.ReLU()(layers.Add()([y, layers.Dropout(0.5)(z)]))
    x = layers.Add()([layers.GlobalMaxPooling2D()(x), layers.GlobalAveragePooling2D()(z)])

    scores = layers.Dense(28, activation="softmax", name="last")(x)
    return keras.Model(images, scores, name="branching")


def varied(input_shape: tuple[int, int, int]) -> keras.Model:
    """What networks from elsewhere have: separable convolutions, averages, other activations."""
    images = keras.Input(input_shape)
    x = layers.SeparableConv2D(6, 3, padding="same", activation="relu")(images)
    x = layers.AveragePooling2D((3, 2), strides=2, padding="same")(x)
    x = layers.SeparableConv2D(6, (2, 3), use_bias=False, strides=(2, 1))(x)
    x = layers.LeakyReLU(0.3)(x)
    x = layers.Add()([x, layers.Conv2D(6, 1, activation="sigmoid")(x)])
    x = layers.Dense(9)(layers.Flatten()(layers.AveragePooling2D(2)(x)))
    x = layers.Activation("sigmoid")(x)
    return keras.Model(images, layers.Dense(28, activation="softmax")(x))
