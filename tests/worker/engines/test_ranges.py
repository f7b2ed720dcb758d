"""int8: ranges, closeness to float32, integer arithmetic, and when it is chosen."""

from dataclasses import replace

import numpy as np
import pytest

from models.errors import EngineError
from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from models.release.release import Int8, Release
from models.settings import load_settings
from tests.builders import tiny_release
from tests.networks import pictures, randomise
from trainer.candidates import cuemill1, model3
from trainer.export import export
from worker.engines.core import openvino_core
from worker.engines.graph import build_graph
from worker.engines.load import load_engine
from worker.engines.openvino import OpenVinoEngine
from worker.engines.ranges import best_range, find_ranges, rounding_error


@pytest.fixture(scope="module", params=[model3, cuemill1], ids=["sequence", "branches"])
def release(request: pytest.FixtureRequest) -> Release:
    model = randomise(request.param((48, 48, 3), len(EMOTIONS)))
    exported = export(model, "random", Preprocessing(), EMOTIONS, {}, {}, {})
    return replace(exported, int8=find_ranges(exported, pictures(128, seed=1)))


def test_scores_stay_near_those_of_float32(release: Release) -> None:
    images = pictures(192, seed=5)
    exact = OpenVinoEngine(release, "f32").predict(images)
    rounded = OpenVinoEngine(release, "int8").predict(images)
    assert 0 < np.abs(exact - rounded).mean() < 0.02
    # Not more, because a random network's highest scores are close together.
    assert (exact.argmax(axis=1) == rounded.argmax(axis=1)).mean() > 0.6


def test_an_images_scores_are_the_same_whatever_it_is_batched_with(release: Release) -> None:
    engine, images = OpenVinoEngine(release, "int8"), pictures(33, seed=6)
    together = engine.predict(images).copy()
    alone = np.concatenate([engine.predict(images[i : i + 1]) for i in range(len(images))])
    assert np.abs(together - alone).max() < 1e-5


def test_every_convolution_is_run_in_integers(release: Release) -> None:
    compiled = openvino_core().compile_model(build_graph(release, int8=True), "CPU")
    kinds = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    convolutions = [
        kind["runtimePrecision"].astype(str)
        for kind in kinds
        if "Conv" in kind["layerType"].astype(str)
    ]
    assert len(convolutions) >= 8
    assert set(convolutions) <= {"u8", "i8"}


def test_each_node_that_is_multiplied_has_a_range_around_zero(release: Release) -> None:
    assert release.int8 is not None
    multiplied = [node for node in release.network if node["op"] in ("conv2d", "dense")]
    assert set(release.int8.ranges) == {name for node in multiplied for name in node["inputs"]}
    assert all(low <= 0 < high for low, high in release.int8.ranges.values())
    assert release.int8.ranges["input"] == pytest.approx((-1, 1), abs=0.05)


def test_a_rare_value_far_out_does_not_cost_all_others_their_steps() -> None:
    values = np.append(np.random.default_rng(0).exponential(1, 1_000_000), 30.0).astype(np.float32)
    low, high = best_range(values)
    assert low == 0
    assert high < 25
    assert rounding_error(values, low, high) < rounding_error(values, 0, 30)


def test_values_that_are_all_zero_have_a_range_too() -> None:
    low, high = best_range(np.zeros(10, np.float32))
    assert low == 0 < high


def test_a_release_without_ranges_is_refused_in_int8() -> None:
    with pytest.raises(
        EngineError,
        match=r"tiny has no int8 ranges\. Add them with `cuemill models quantize`",
    ):
        OpenVinoEngine(tiny_release(), "int8")


def test_a_range_that_is_missing_is_named() -> None:
    with pytest.raises(EngineError, match=r"node 'dense' \(dense\): its input has no int8 range"):
        OpenVinoEngine(replace(tiny_release(), int8=Int8({"input": (-1.0, 1.0)})), "int8")


@pytest.mark.parametrize(
    ("accuracy", "has_int8", "chosen"),
    [(0.698, True, "int8"), (0.696, True, "f32"), (0.71, True, "int8"), (0.698, False, "f32")],
)
def test_it_is_chosen_where_the_processor_gains_and_little_accuracy_is_lost(
    monkeypatch: pytest.MonkeyPatch, accuracy: float, has_int8: bool, chosen: str
) -> None:
    monkeypatch.setattr("worker.engines.openvino.has_int8", lambda: has_int8)
    monkeypatch.setattr("worker.engines.openvino.gains_by_bf16", lambda: False)
    ranges = find_ranges(tiny_release(), pictures(8)).ranges
    release = replace(tiny_release(), int8=Int8(ranges, accuracy, accuracy_f32=0.7, images=1000))
    assert OpenVinoEngine(release, "auto").precision == chosen


def test_int8_whose_accuracy_was_not_measured_is_not_chosen() -> None:
    assert not find_ranges(tiny_release(), pictures(8)).admitted


def test_the_setting_asks_for_it(release: Release) -> None:
    assert load_engine(release, load_settings(precision="int8")).precision == "int8"
    with pytest.raises(EngineError, match="does not support int8"):
        load_engine(release, load_settings(engine="keras", precision="int8"))
