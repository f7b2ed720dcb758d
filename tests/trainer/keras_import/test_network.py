"""The config: only known layers with known, plain options are rebuilt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.errors import (
    EngineError,
    PickleCorruptError,
)
from tests.trainer.keras_import.pickles import config, layer, option, repacked
from trainer.keras_import.read import import_keras


def nest(values: dict[str, Any], depth: int) -> None:
    """Puts all layers but the input into a network inside another, and so on."""
    first, *rest = values["config"]["layers"]
    for level in range(depth):
        inner = {"name": f"level{level}", "layers": [first, *rest]}
        rest = [{"class_name": "Sequential", "config": inner}]
    values["config"]["layers"] = [first, *rest]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            config(lambda c: c.update(class_name="Evil")),
            "it is a 'Evil'; only Sequential and Functional",
        ),
        (config(lambda c: c["config"].pop("layers")), "its config is broken: KeyError"),
        (
            config(lambda c: c["config"].update(layers=c["config"]["layers"] * 200)),
            "more than 1000 layers",
        ),
        (layer(1, class_name="Lambda"), "its layer 'conv2d' is a 'Lambda'; known: Conv2D, "),
        (layer(1, class_name="mine>Conv2D"), "is a 'mine>Conv2D'"),
        (layer(1, class_name="Sequential"), "its config is broken: KeyError: 'layers'"),
        (config(lambda c: nest(c, depth=9)), "more than 1000 layers, or 8 inside others"),
        (config(lambda c: nest(c, depth=1)), "its weights have no sequential number 0"),
        (
            option(1, activation={"class_name": "__lambda__"}),
            "'conv2d' has activation .*; known: linear, relu",
        ),
        (option(1, activation="gelu"), "'conv2d' has activation 'gelu'"),
        (option(1, padding={"class_name": "x"}), "'conv2d' has padding .*, expected a plain value"),
        (
            option(
                1, padding={"class_name": "__numpy__", "config": {"value": {"class_name": "x"}}}
            ),
            "'conv2d' has padding .*, expected a plain value",
        ),
        (
            option(1, padding={"class_name": "__numpy__"}),
            r"'conv2d' \(Conv2D\) cannot be rebuilt: ",
        ),
        (option(1, padding="odd"), r"'conv2d' \(Conv2D\) cannot be rebuilt: "),
        (option(1, filters=-4), "'conv2d' has filters -4, expected a plain value"),
        (option(2, axis=[1]), r"has axis \[1\], expected the last"),
        (option(1, name="../up"), "has the invalid name '../up'"),
        (option(2, name="conv2d"), "two of its layers have the same name, 'conv2d'"),
        (option(0, batch_input_shape=[None, 10**6, 10**6, 3]), "its input is .*sides of 8 to 1024"),
        (
            option(0, batch_input_shape=[None, 48, 48, 4]),
            "its input has 4 channels, expected 1 or 3",
        ),
        (config(lambda c: c["config"]["layers"].pop(0)), "'conv2d' takes 0 inputs, expected 1"),
    ],
)
def test_a_config_with_anything_unknown_is_refused_with_the_part(
    tmp_path: Path, change: Callable[[dict[str, bytes]], object], said: str
) -> None:
    (tmp_path / "model.pkl").write_bytes(repacked(change))
    with pytest.raises((PickleCorruptError, EngineError), match=said):
        import_keras(tmp_path / "model.pkl")
