"""Keras networks for tests, with nothing left at a value that hides a mistake."""

import keras
import numpy as np
from numpy.typing import NDArray


def pictures(count: int, seed: int = 0, height: int = 48, width: int = 48) -> NDArray[np.float32]:
    """(count, height, width, 3) in [-1, 1]: a third noise, the rest blocks, grey and coloured, as unlike as can be."""
    random = np.random.default_rng(seed)
    noise = random.uniform(-1, 1, (count, 48, 48, 3))
    grey = np.kron(random.uniform(-1, 1, (count, 6, 6, 1)), np.ones((1, 8, 8, 3)))
    coloured = np.kron(random.uniform(-1, 1, (count, 3, 3, 3)), np.ones((1, 16, 16, 1)))
    kinds = np.stack([noise, grey, coloured])
    return kinds[np.arange(count) % 3, np.arange(count), :height, :width].astype(np.float32)


def randomise(model: keras.Model, seed: int = 0) -> keras.Model:
    """Sets every weight at random, batch normalisation's statistics too.

    A kernel's spread is He's, sqrt(2 / inputs), which keeps activations at one size from layer to layer. The last bias
    is then set to favour no label, or all pictures would get the same.
    """
    random = np.random.default_rng(seed)
    spreads = {"bias": 0.1, "beta": 0.3, "moving_mean": 0.3}
    for variable in model.variables:
        if variable.name == "kernel":
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
