"""Keras on TensorFlow, from the Keras config in the pickle.

It is the reference that the OpenVINO engine is tested against, and the engine for NVIDIA GPUs,
which TensorFlow uses when it finds one (pip install "tensorflow[and-cuda]==2.21.*").
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.errors import EngineError
from models.release.release import Release

_CLASSES: Final = {
    "Sequential": "keras",
    "Functional": "keras.src.models.functional",
    "DTypePolicy": "keras",
    "InputLayer": "keras.layers",
    "Conv2D": "keras.layers",
    "DepthwiseConv2D": "keras.layers",
    "SeparableConv2D": "keras.layers",
    "ZeroPadding2D": "keras.layers",
    "BatchNormalization": "keras.layers",
    "MaxPooling2D": "keras.layers",
    "AveragePooling2D": "keras.layers",
    "GlobalAveragePooling2D": "keras.layers",
    "GlobalMaxPooling2D": "keras.layers",
    "Flatten": "keras.layers",
    "Dense": "keras.layers",
    "Add": "keras.layers",
    "Activation": "keras.layers",
    "ReLU": "keras.layers",
    "LeakyReLU": "keras.layers",
    "Dropout": "keras.layers",
    "GlorotUniform": "keras.initializers",
    "HeNormal": "keras.initializers",
    "Zeros": "keras.initializers",
    "Ones": "keras.initializers",
    "L2": "keras.regularizers",
}
"""Class -> module. Keras instantiates any class that a config names, so only these may reach it."""

_OBJECT_KEYS: Final = frozenset(
    {
        "module",
        "class_name",
        "config",
        "registered_name",
        "build_config",
        "name",
        "inbound_nodes",
    }
)

_TENSOR_KEYS: Final = frozenset({"class_name", "config"})
"""Of a `__keras_tensor__`, which refers to a layer's output in a functional network's config."""


class KerasEngine:
    """Runs a release with Keras on TensorFlow.

    Raises:
        EngineError: TensorFlow is not installed, or the config is not that of a Cuemill network.
    """

    name = "keras"
    precision = "f32"

    def __init__(self, release: Release) -> None:
        _share_gpus()
        self._model = to_keras(release)

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores a batch, as `Engine.predict`."""
        return np.asarray(self._model.predict_on_batch(batch), np.float32)


def _share_gpus() -> None:
    """Allocates GPU memory on demand. By default, the first worker would take all of it."""
    try:
        import tensorflow as tf
    except ImportError:  # `to_keras` reports it with the remedy.
        return
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def to_keras(release: Release) -> Any:
    """Builds the release's network as an uncompiled `keras.Model`, with its weights.

    It is the inverse of `trainer.export.export`.

    Raises:
        EngineError: TensorFlow is not installed, the config names a class that is not allowed, or
            config and weights do not match.
    """
    try:
        import keras
    except ImportError as error:
        raise EngineError(
            f"TensorFlow is missing ({error}). In a clone, run `make trainer`; elsewhere, run "
            "`pip install 'cuemill[trainer]'`."
        ) from error

    config = _checked_config(release)
    try:
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        for layer in model.layers:
            names = [f"{layer.name}/{variable.name}" for variable in layer.weights]
            layer.set_weights([release.weights[name] for name in names])
    except Exception as error:  # Keras raises nearly anything on an inconsistent config.
        raise EngineError(
            f"The Keras config of {release.name} does not match its weights: "
            f"{type(error).__name__}: {error}. Export the model again."
        ) from error

    return model


def _checked_config(release: Release) -> Any:
    """The parsed config, after checking that every class it names is allowed."""
    try:
        config = json.loads(release.keras_config)
        objects = list(_objects(config))
    except (ValueError, RecursionError) as error:
        raise EngineError(
            f"The Keras config of {release.name} is not valid JSON: {error}. "
            "Export the model again."
        ) from error

    if not isinstance(config, dict) or config.get("class_name") not in ("Sequential", "Functional"):
        raise EngineError(
            f"The Keras config of {release.name} does not describe a network. "
            "Export the model again."
        )

    for value in objects:
        _check_class(release, value)
    return config


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every dict in the config from which Keras would build an object."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


def _check_class(release: Release, value: dict[str, Any]) -> None:
    name = value["class_name"]
    if name == "__keras_tensor__" and _TENSOR_KEYS.issuperset(value):
        return

    allowed = (
        isinstance(name, str)
        and name in _CLASSES
        and value.get("module") == _CLASSES[name]
        and value.get("registered_name") in (None, name)
        and _OBJECT_KEYS.issuperset(value)
    )
    if not allowed:
        raise EngineError(
            f"The Keras config of {release.name} asks for {value.get('module')}.{name}, "
            "which is not allowed in a network. Use a model from a source you trust."
        )
