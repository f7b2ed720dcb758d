"""Choosing an engine by the settings."""

import sys

import pytest

from models.errors import EngineError
from models.release.release import Release
from models.settings import load_settings
from tests.builders import tiny_release
from worker.engines.load import load_engine


def test_settings_choose_engine_and_precision(release: Release) -> None:
    chosen = [
        load_engine(release, load_settings(engine="keras")),
        load_engine(release, load_settings(engine="openvino", precision="f32")),
    ]
    assert [(engine.name, engine.precision) for engine in chosen] == [
        ("keras", "f32"),
        ("openvino", "f32"),
    ]


def test_keras_in_bf16_is_refused() -> None:
    with pytest.raises(EngineError, match="does not support bf16"):
        load_engine(tiny_release(), load_settings(engine="keras", precision="bf16"))


def test_a_missing_tensorflow_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, release: Release
) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(EngineError, match=r"pip install 'cuemill\[trainer\]'"):
        load_engine(release, load_settings(engine="keras"))
