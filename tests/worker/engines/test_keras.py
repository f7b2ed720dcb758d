"""The Keras engine: closed to configs that name anything else than a network's layers."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.errors import EngineError
from models.release.release import Release
from worker.engines.keras import KerasEngine, to_keras


def test_keras_gets_back_the_very_weights_it_exported(release: Release) -> None:
    model = to_keras(release)
    weights = {
        f"{layer.name}/{v.name}": np.asarray(v) for layer in model.layers for v in layer.weights
    }
    assert weights.keys() == release.weights.keys()
    assert all((weights[name] == array).all() for name, array in release.weights.items())


def with_config(release: Release, change: Callable[[dict[str, Any]], object]) -> Release:
    config = json.loads(release.keras_config)
    change(config)
    return replace(release, keras_config=json.dumps(config))


def first_layer(config: dict[str, Any]) -> dict[str, Any]:
    layer: dict[str, Any] = config["config"]["layers"][1]
    return layer


EVIL = {
    "module": "builtins",
    "class_name": "function",
    "config": "eval",
    "registered_name": "function",
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: first_layer(c).update(class_name="Lambda"), "asks for keras.layers.Lambda"),
        (
            lambda c: first_layer(c).update(class_name="TFSMLayer"),
            "asks for keras.layers.TFSMLayer",
        ),
        (lambda c: first_layer(c).update(module="os"), "asks for os.Conv2D"),
        (
            lambda c: first_layer(c).update(registered_name="mine>Conv2D"),
            "asks for keras.layers.Conv2D",
        ),
        (lambda c: first_layer(c).update(shared_object_id=1), "asks for keras.layers.Conv2D"),
        (lambda c: first_layer(c)["config"].update(activation=EVIL), "asks for builtins.function"),
        (
            lambda c: first_layer(c)["config"].update(kernel_regularizer={"a": [EVIL]}),
            "asks for builtins.function",
        ),
        (lambda c: first_layer(c).update(class_name=["Conv2D"]), "asks for keras.layers."),
        (
            lambda c: first_layer(c)["config"].update(activation={"class_name": "__lambda__"}),
            "asks for None.__lambda__",
        ),
        (lambda c: c.update(compile_config={"optimizer": "adam"}), "asks for keras.Sequential"),
        (lambda c: c.update(class_name="Functional"), "asks for keras.Functional"),
        (lambda c: c.update(class_name="Conv2D"), "does not describe a network"),
        (
            lambda c: first_layer(c).update(
                config={"class_name": "__keras_tensor__", "module": "os"}
            ),
            "asks for os.__ker",
        ),
        (lambda c: first_layer(c)["config"].update(filters=3), "does not match its weights"),
        (lambda c: first_layer(c)["config"].update(filters=-1), "does not match its weights"),
        (
            lambda c: first_layer(c)["config"].update(name="other"),
            "does not match its weights: KeyError: 'other/kernel'",
        ),
        (lambda c: c["config"].update(layers=None), "does not match its weights"),
    ],
)
def test_a_keras_config_that_is_not_ours_is_refused_before_keras_builds_it(
    release: Release, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    with pytest.raises(EngineError, match=said):
        KerasEngine(with_config(release, change))


@pytest.mark.parametrize("config", ["", "{", "[]", "7", "[" * 100_000])
def test_a_keras_config_that_is_no_json_of_a_network_is_refused(
    release: Release, config: str
) -> None:
    with pytest.raises(EngineError, match=r"is not valid JSON|does not describe a network"):
        KerasEngine(replace(release, keras_config=config))
