"""TensorFlow, from the Keras config in the pickle: the reference that the other engine is measured against, and the one
that runs on an NVIDIA GPU, where TensorFlow finds one (pip install "tensorflow[and-cuda]==2.21.*")."""

import json
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.errors import EngineError
from models.release.release import Release

# Keras builds whatever class a config names, so only these reach it: class -> module.
_CLASSES: Final = {
    "Sequential": "keras",
    "Functional": "keras.src.models.functional",
    "DTypePolicy": "keras",
    **dict.fromkeys(
        (
            *(
                "InputLayer",
                "Conv2D",
                "DepthwiseConv2D",
                "ZeroPadding2D",
                "BatchNormalization",
                "MaxPooling2D",
            ),
            *(
                "GlobalAveragePooling2D",
                "GlobalMaxPooling2D",
                "Flatten",
                "Dense",
                "Add",
                "Activation",
                "ReLU",
                "Dropout",
            ),
        ),
        "keras.layers",
    ),
    **dict.fromkeys(("GlorotUniform", "HeNormal", "Zeros", "Ones"), "keras.initializers"),
    "L2": "keras.regularizers",
}
_KEYS: Final = frozenset(
    {"module", "class_name", "config", "registered_name", "build_config", "name", "inbound_nodes"}
)
_TENSOR: Final = {
    "class_name",
    "config",
}  # How a functional network's config names a layer's output.


class TensorFlowEngine:
    """Runs a release with Keras on TensorFlow.

    Raises:
        EngineError: TensorFlow isn't installed, or the config isn't one of a network of ours.
    """

    name = "tensorflow"
    precision = "f32"

    def __init__(self, release: Release) -> None:
        _share_gpus()
        self._model = to_keras(release)

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores (n, labels) for inputs (n, height, width, 3), as the protocol says."""
        return np.asarray(self._model.predict_on_batch(batch), np.float32)


def _share_gpus() -> None:
    """Takes a GPU's memory as it is needed: the first worker would else take all of it, and leave the others none."""
    try:
        import tensorflow as tf
    except ImportError:  # `to_keras` says it better.
        return
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def to_keras(release: Release) -> Any:
    """The release's network as a `keras.Model`, not compiled, with its weights: the inverse of the trainer's export.

    Raises:
        EngineError: TensorFlow isn't installed, the config names a class that is none of ours, or config and weights
            don't fit each other.
    """
    try:
        import keras
    except ImportError as error:
        raise EngineError(
            f"TensorFlow isn't installed ({error}). pip install 'cuemill[trainer]'"
        ) from error
    config = _admitted(release)
    try:
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        for layer in model.layers:
            layer.set_weights(
                [release.weights[f"{layer.name}/{variable.name}"] for variable in layer.weights]
            )
    except Exception as error:  # Keras raises nearly anything on a config that contradicts itself.
        raise EngineError(
            f"The Keras config of {release.name} doesn't fit its weights: {type(error).__name__}: {error}. "
            "Export the model again."
        ) from error
    return model


def _admitted(release: Release) -> Any:
    """The parsed config, once every class it names is found to be admitted."""
    try:
        config = json.loads(release.keras_config)
        found = list(_objects(config))
    except (ValueError, RecursionError) as error:
        raise EngineError(
            f"The Keras config of {release.name} is no JSON: {error}. Export the model again."
        ) from error
    if not isinstance(config, dict) or config.get("class_name") not in ("Sequential", "Functional"):
        raise EngineError(
            f"The Keras config of {release.name} is of no network. Export the model again."
        )
    for value in found:
        _check_class(release, value)
    return config


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every dict in the config that Keras would take for an object to build."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


def _check_class(release: Release, value: dict[str, Any]) -> None:
    name = value["class_name"]
    if name == "__keras_tensor__" and _TENSOR.issuperset(value):
        return
    known = isinstance(name, str) and name in _CLASSES and value.get("module") == _CLASSES[name]
    if not known or value.get("registered_name") not in (None, name) or not _KEYS.issuperset(value):
        raise EngineError(
            f"The Keras config of {release.name} asks for {value.get('module')}.{name}, which is no part of a network "
            "of ours, so it is refused. Use a model from a source you trust."
        )
