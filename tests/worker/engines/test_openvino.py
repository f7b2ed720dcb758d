"""OpenVINO: equal to Keras, and indifferent to how images are batched.

Measured for Model 3 on 960 pictures with random weights: OpenVINO in f32 is within 5e-6 of
TensorFlow's scores and agrees on every label. In bf16 it is within 0.04 and agrees on 93 %, because
a random network's highest scores are close together. A trained network's are not: on 3,589 faces,
bf16 was within 0.013 and agreed on 99.5 %.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models import cpu
from models.errors import EngineError
from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from models.release.release import Release
from tests.builders import tiny_release
from tests.networks import branching, crooked, exported, pictures, randomise, varied
from trainer.candidates import CANDIDATES
from worker.engines.keras import KerasEngine
from worker.engines.openvino import OpenVinoEngine

# --- Equality ---


def test_openvino_in_f32_gives_tensorflows_scores(release: Release) -> None:
    images = pictures(192, seed=5)
    scores = OpenVinoEngine(release, "f32").predict(images)
    reference = KerasEngine(release).predict(images)
    assert scores.dtype == reference.dtype == np.float32
    assert np.abs(scores - reference).max() < 1e-5
    assert (scores.argmax(axis=1) == reference.argmax(axis=1)).all()
    # With few labels, agreeing would be easy.
    assert len(np.unique(scores.argmax(axis=1))) > 10


def test_openvino_at_the_cpus_best_precision_stays_close_to_tensorflow(release: Release) -> None:
    images = pictures(192, seed=5)
    scores = OpenVinoEngine(release, "auto").predict(images)
    reference = KerasEngine(release).predict(images)
    assert np.abs(scores - reference).max() < 0.05
    assert (scores.argmax(axis=1) == reference.argmax(axis=1)).mean() > 0.85
    assert np.abs(scores.sum(axis=1) - 1).max() < 1e-5


@pytest.mark.parametrize("make", [crooked, branching, varied])
def test_odd_sizes_strides_and_paddings_give_tensorflows_scores(
    make: Callable[..., keras.Model],
) -> None:
    release = exported(randomise(make((21, 30, 3))), Preprocessing(height=21, width=30))
    images = pictures(96, seed=5, height=21, width=30)
    scores = OpenVinoEngine(release, "f32").predict(images)
    reference = KerasEngine(release).predict(images)
    assert np.abs(scores - reference).max() < 1e-5
    assert len(np.unique(scores.argmax(axis=1))) > 10


@pytest.mark.parametrize("name", CANDIDATES)
def test_both_engines_run_every_candidate_alike(name: str) -> None:
    release = exported(
        randomise(CANDIDATES[name].build((48, 48, 3), len(EMOTIONS))), Preprocessing()
    )
    images = pictures(12, seed=5)
    scores = OpenVinoEngine(release, "f32").predict(images)
    reference = KerasEngine(release).predict(images)
    assert np.abs(scores - reference).max() < 1e-4


# --- Batches ---


@pytest.mark.parametrize("precision", ["f32", "auto"])
@pytest.mark.parametrize("size", [1, 3, 7, 64])
def test_scores_do_not_depend_on_the_size_of_the_batch(
    release: Release, precision: Any, size: int
) -> None:
    engine, images = OpenVinoEngine(release, precision), pictures(64)
    parts = np.concatenate(
        [engine.predict(images[start : start + size]) for start in range(0, 64, size)]
    )
    assert np.abs(parts - engine.predict(images)).max() < 1e-5


def test_scores_do_not_depend_on_the_other_images_of_the_batch(release: Release) -> None:
    engine, images = OpenVinoEngine(release, "f32"), pictures(16)
    others = images.copy()
    others[1:] = 1e3
    assert np.abs(engine.predict(images)[0] - engine.predict(others)[0]).max() < 1e-5


def test_scores_of_one_batch_outlive_the_next() -> None:
    engine = OpenVinoEngine(tiny_release(), "f32")
    first = engine.predict(pictures(4, seed=1))
    kept = first.copy()
    engine.predict(pictures(4, seed=2))
    assert (first == kept).all()


def test_openvino_meets_few_batch_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, images = OpenVinoEngine(tiny_release(), "f32"), pictures(150)
    sizes: set[int] = set()
    request = engine._request

    class Recorder:
        def infer(self, inputs: dict[int, Any], **options: Any) -> Any:
            sizes.add(len(inputs[0]))
            return request.infer(inputs, **options)

    monkeypatch.setattr(engine, "_request", Recorder())
    whole = engine.predict(images)
    for count in range(1, len(images)):
        np.testing.assert_array_equal(engine.predict(images[:count]), whole[:count])
    assert sizes == {1, 2, 4, 8, 16, 32, 64}


def test_images_need_not_be_contiguous() -> None:
    engine, images = OpenVinoEngine(tiny_release(), "f32"), pictures(8)
    strided = images[::2, :, ::-1]
    assert (engine.predict(strided) == engine.predict(strided.copy())).all()


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(
        EngineError, match=r"expects images of shape \(n, 48, 48, 3\), received \(2, 32, 32, 3\)"
    ):
        OpenVinoEngine(tiny_release()).predict(np.zeros((2, 32, 32, 3), np.float32))


def test_the_tiny_networks_label_depends_on_the_image() -> None:
    labels = OpenVinoEngine(tiny_release(), "f32").predict(pictures(60)).argmax(axis=1)
    assert len(np.unique(labels)) > 5


# --- Precision ---


def test_auto_is_bf16_where_the_cpu_gains_by_it() -> None:
    assert OpenVinoEngine(tiny_release(), "auto").precision == (
        "bf16" if cpu.gains_by_bf16() else "f32"
    )


def test_auto_is_f32_where_the_cpu_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "CPU_INFO", tmp_path / "nowhere")
    assert OpenVinoEngine(tiny_release(), "auto").precision == "f32"


def test_bf16_is_refused_where_the_cpu_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.engines.openvino.has_bf16", lambda: False)
    with pytest.raises(
        EngineError, match=r"no bfloat16 support\. Set CUEMILL_PRECISION to auto or f32"
    ):
        OpenVinoEngine(tiny_release(), "bf16")
