"""Pickles from elsewhere: genuine ones give what they gave where they were made, hostile ones are refused and named.

Whatever a hostile one would do, it would leave a file behind (`MARK`); after each of these tests there is none.
"""

import gzip
import io
import json
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from models.errors import (
    EngineError,
    PickleCorruptError,
    PickleError,
    PickleHostileError,
    PickleMissingError,
)
from models.pictures.preprocessing import Preprocessing
from models.release.files import load_release, save_release
from tests.networks import randomise
from tests.trainer.keras_import.fixtures.make import pictures
from trainer.keras_import.read import _archive, import_keras
from worker.engines.keras import KerasEngine
from worker.engines.openvino import OpenVinoEngine

WILD = Path(__file__).parent / "fixtures"
GENUINE = ["keras211", "windows211", "keras212", "keras3", "functional211", "functional212"]
MARK = "executed"


@pytest.fixture(autouse=True)
def nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / MARK).exists()


# --- Genuine ---


@pytest.mark.parametrize("name", GENUINE)
@pytest.mark.parametrize("engine", [lambda release: OpenVinoEngine(release, "f32"), KerasEngine])
def test_a_genuine_pickle_gives_what_it_gave_where_it_was_made(
    name: str, engine: Callable[..., Any]
) -> None:
    scores = engine(import_keras(WILD / f"{name}.pkl")).predict(pictures()[0])
    expected = np.load(WILD / f"{name}.npy")
    assert np.abs(scores - expected).max() < 1e-5
    assert expected.std(axis=0).max() > 0.02  # Or any picture's scores would do.


def test_what_is_imported_says_where_it_came_from_and_is_shown_what_the_reference_was(
    tmp_path: Path,
) -> None:
    release = import_keras(WILD / "windows211.pkl")
    assert release.preprocessing == Preprocessing(channel_order="bgr", antialias=False)
    assert release.data["imported"]["keras"] == "2.11.0"
    assert release.metrics == {}
    assert release.trained_labels == ()
    sha256 = save_release(release, tmp_path / "imported.pkl")
    assert load_release(tmp_path / "imported.pkl").sha256 == sha256


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_what_joblib_compressed_is_unpacked(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "model.pkl").write_bytes(compress((WILD / "keras211.pkl").read_bytes()))
    assert (
        import_keras(tmp_path / "model.pkl").network == import_keras(WILD / "keras211.pkl").network
    )


@pytest.mark.parametrize("protocol", [3, 5])
def test_other_protocols_of_the_same_call_are_taken(tmp_path: Path, protocol: int) -> None:
    call = Call("keras.saving.pickle_utils", "deserialize_model_from_bytecode", archive())
    (tmp_path / "model.pkl").write_bytes(call.dump(protocol))
    assert len(import_keras(tmp_path / "model.pkl").network) == len(
        import_keras(WILD / "keras211.pkl").network
    )


# --- Hostile streams ---


class Call:
    """A pickle that calls a function which isn't there when it is dumped."""

    def __init__(self, module: str, name: str, *arguments: Any) -> None:
        self._module, self._name, self._arguments = module, name, arguments

    def dump(self, protocol: int = 4) -> bytes:
        body = pickle.dumps(self._arguments, protocol)
        head = b"\x80" + bytes([protocol]) + f"c{self._module}\n{self._name}\n".encode()
        return head + body[2:-1] + b"R."  # Without the arguments' own protocol and stop.


class Reduce:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self._made = function, arguments

    def __reduce__(self) -> Any:
        return self._made


def archive(name: str = "keras211") -> bytes:
    return _archive((WILD / f"{name}.pkl").read_bytes())


def genuine() -> bytes:
    return (WILD / "keras211.pkl").read_bytes()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (lambda: pickle.dumps(Reduce(os.system, f"touch {MARK}")), "posix.system"),
        (lambda: pickle.dumps(Reduce(eval, f"open('{MARK}', 'w')")), "builtins.eval"),
        (lambda: pickle.dumps(Reduce(os.system, f"touch {MARK}"), 0), "posix.system"),
        (lambda: Call("subprocess", "check_call", ["touch", MARK]).dump(), "subprocess.check_call"),
        (
            lambda: Call("keras.saving.pickle_utils", "other", archive()).dump(),
            "pickle_utils.other",
        ),
        (lambda: Call("builtins", "getattr", archive()).dump(), "does more, or other"),
        (lambda: pickle.dumps([Reduce(os.system, f"touch {MARK}"), archive()]), "posix.system"),
        (
            lambda: genuine()[:-1] + b"0" + pickle.dumps(Reduce(os.system, f"touch {MARK}"))[2:],
            "posix.system",
        ),
        (lambda: genuine()[:-1] + b"0N.", "does more, or other"),
        (
            lambda: Call(
                "keras.saving.pickle_utils", "deserialize_model_from_bytecode", b"1", b"2"
            ).dump(),
            "does more",
        ),
        (lambda: pickle.dumps(archive()), "does more, or other"),
        (lambda: pickle.dumps({"a": 1}), "does more, or other"),
        (lambda: b"\x80\x04\x82\x01.", "does more, or other"),  # An extension's code.
    ],
)
def test_a_stream_that_does_anything_else_is_refused_by_name(
    tmp_path: Path, raw: Callable[[], bytes], said: str
) -> None:
    (tmp_path / "model.pkl").write_bytes(raw())
    with pytest.raises(PickleHostileError, match=f"model.pkl is refused: .*{said}"):
        import_keras(tmp_path / "model.pkl")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (lambda: b"", "no pickle"),
        (lambda: np.random.default_rng(0).bytes(1000), ""),
        (
            lambda: b"\x80\x04S'\\\xaa'\n",
            "no pickle, or a broken one",
        ),  # An escape of which Python warns.
        (lambda: genuine()[:5000], "no pickle, or a broken one"),
        (lambda: b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f" + b"abc.", "no pickle, or a broken one"),
        (lambda: b"\x80\x04" + b"N0" * 1000 + b".", "more than 100 steps"),
        (lambda: gzip.compress(genuine())[:5000], "cut short"),
        (lambda: b"\x1f\x8b" + b"no gzip", "can't be unpacked"),
    ],
)
def test_what_is_no_such_pickle_is_refused(
    tmp_path: Path, raw: Callable[[], bytes], said: str
) -> None:
    (tmp_path / "model.pkl").write_bytes(raw())
    with pytest.raises(PickleError, match=f"model.pkl is refused: .*{said}"):
        import_keras(tmp_path / "model.pkl")


def test_what_unpacks_to_more_than_a_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.keras_import.read.MAX_BYTES", 1_000_000)
    (tmp_path / "bomb.pkl").write_bytes(gzip.compress(bytes(50_000_000)))
    with pytest.raises(PickleCorruptError, match="or more than 1,000,000 bytes when unpacked"):
        import_keras(tmp_path / "bomb.pkl")
    (tmp_path / "large.pkl").write_bytes(bytes(1_000_001))
    with pytest.raises(PickleCorruptError, match="larger than 1,000,000 bytes"):
        import_keras(tmp_path / "large.pkl")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PickleMissingError, match=r"No file at .*absent\.pkl"):
        import_keras(tmp_path / "absent.pkl")


# --- Hostile archives ---


def repacked(change: Callable[[dict[str, bytes]], object], name: str = "keras211") -> bytes:
    """The genuine pickle with other files in its archive."""
    with zipfile.ZipFile(io.BytesIO(archive(name))) as opened:
        files = {entry: opened.read(entry) for entry in opened.namelist()}
    change(files)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        for entry, content in files.items():
            written.writestr(entry, content)
    return Call(
        "keras.saving.pickle_utils", "deserialize_model_from_bytecode", buffer.getvalue()
    ).dump()


def config(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, bytes]], None]:
    def changed(files: dict[str, bytes]) -> None:
        values = json.loads(files["config.json"])
        change(values)
        files["config.json"] = json.dumps(values).encode()

    return changed


def layer(index: int, **values: Any) -> Callable[[dict[str, bytes]], None]:
    return config(lambda c: c["config"]["layers"][index].update(values))


def option(index: int, **values: Any) -> Callable[[dict[str, bytes]], None]:
    return config(lambda c: c["config"]["layers"][index]["config"].update(values))


def weights(change: Callable[[h5py.File], object]) -> Callable[[dict[str, bytes]], None]:
    def changed(files: dict[str, bytes]) -> None:
        buffer = io.BytesIO(files["variables.h5"])
        with h5py.File(buffer, "a") as file:
            change(file)
        files["variables.h5"] = buffer.getvalue()

    return changed


KERNEL = "layers/conv2d/vars/0"


def put(file: h5py.File, name: str, make: Callable[[h5py.File], object]) -> None:
    del file[name]
    make(file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.update({"../../evil.py": b"1"}), r"its archive holds '\.\./\.\./evil\.py'"),
        (lambda f: f.pop("metadata.json"), "its archive has 2 files"),
        (lambda f: f.update({"config.json": b"{"}), "its archive is broken: JSONDecodeError"),
        (
            lambda f: f.update({"config.json": b"[" * 100_000}),
            "its archive is broken: RecursionError",
        ),
        (lambda f: f.update({"config.json": b"[]"}), "its config is no JSON object"),
        (
            lambda f: f.update({"variables.h5": b"\x89HDF\r\n\x1a\n" + bytes(500)}),
            "its archive is broken: ",
        ),
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
        (layer(1, class_name="Sequential"), "is a 'Sequential'"),
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
        (option(1, padding={"class_name": "__numpy__"}), r"'conv2d' \(Conv2D\) can't be rebuilt: "),
        (option(1, padding="odd"), r"'conv2d' \(Conv2D\) can't be rebuilt: "),
        (option(1, filters=-4), "'conv2d' has filters -4, expected a plain value"),
        (option(1, filters=2**20), r"shape \(3, 3, 3, 4\), expected \(3, 3, 3, 1048576\)"),
        (option(1, filters=5), r"shape \(3, 3, 3, 4\), expected \(3, 3, 3, 5\)"),
        (option(2, axis=[1]), r"has axis \[1\], expected the last"),
        (option(1, name="../up"), "a layer's name is '../up'"),
        (option(2, name="conv2d"), "two of its layers have the same name"),
        (option(0, batch_input_shape=[None, 10**6, 10**6, 3]), "its input is .*, at most 1024"),
        (option(0, batch_input_shape=[None, 48, 48, 1]), "its input has 1 channels, expected 3"),
        (config(lambda c: c["config"]["layers"].pop(0)), "can't be rebuilt"),
        (
            config(lambda c: c["config"]["layers"].pop()),
            r"gives scores of shape \(None, 12\), not 28",
        ),
        (option(-1, activation="relu"), "ends without a softmax"),
        (weights(lambda h: h["layers"].pop("dense_1")), "its weights have no dense number 1"),
        (weights(lambda h: h["layers/dense/vars"].pop("1")), "layers/dense/vars/1 is missing"),
        (
            weights(lambda h: h[KERNEL].write_direct(np.full((3, 3, 3, 4), np.nan, np.float32))),
            "are no numbers",
        ),
        (
            weights(
                lambda h: put(h, KERNEL, lambda f: f.create_dataset(KERNEL, (3, 3, 3, 4), "f8"))
            ),
            "is missing, or no plain array of float32",
        ),
        (
            weights(
                lambda h: put(
                    h,
                    KERNEL,
                    lambda f: f.create_dataset(KERNEL, (3, 3, 3, 4), "f4", compression="gzip"),
                )
            ),
            "is missing, or no plain array of float32",
        ),
        (
            weights(
                lambda h: put(
                    h,
                    KERNEL,
                    lambda f: f.__setitem__(KERNEL, h5py.ExternalLink("/etc/passwd", "/")),
                )
            ),
            "its weights hold a link",
        ),
        (
            weights(
                lambda h: put(
                    h,
                    KERNEL,
                    lambda f: f.__setitem__(KERNEL, h5py.SoftLink("/layers/dense/vars/0")),
                )
            ),
            "its weights hold a link",
        ),
        (
            weights(
                lambda h: put(
                    h,
                    KERNEL,
                    lambda f: f.create_dataset(
                        KERNEL, (3, 3, 3, 4), "f4", external=[("/etc/passwd", 0, 432)]
                    ),
                )
            ),
            "is missing, or no plain array of float32",
        ),
    ],
)
def test_an_archive_that_is_not_of_such_a_network_is_refused_with_the_part(
    tmp_path: Path, change: Callable[[dict[str, bytes]], object], said: str
) -> None:
    (tmp_path / "model.pkl").write_bytes(repacked(change))
    with pytest.raises((PickleCorruptError, EngineError), match=said):
        import_keras(tmp_path / "model.pkl")


def test_an_archive_that_says_less_than_it_holds_is_read_no_further(tmp_path: Path) -> None:
    """The central directory's size is the one that counts, and then its checksum is wrong."""
    raw = bytearray(repacked(lambda files: files.update({"metadata.json": b" " * 1_000_000})))
    directory = raw.rindex(b"PK\x01\x02", 0, raw.rindex(b"metadata.json"))
    raw[directory + 24 : directory + 28] = (100).to_bytes(4, "little")
    (tmp_path / "model.pkl").write_bytes(raw)
    with pytest.raises(PickleCorruptError, match="its archive is broken"):
        import_keras(tmp_path / "model.pkl")


# --- Functional networks, in the words of Keras 2 and 3 ---


def test_a_functional_keras_3_pickle_is_rebuilt(tmp_path: Path) -> None:
    images = keras.Input((16, 16, 3))
    x = layers.ReLU(6.0)(
        layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(images))
    )
    y = layers.DepthwiseConv2D(3, strides=2)(layers.ZeroPadding2D(((0, 1), (0, 1)))(x))
    z = layers.BatchNormalization()(layers.Conv2D(8, 1)(y))
    x = layers.GlobalAveragePooling2D()(layers.Add()([y, z]))
    model = randomise(keras.Model(images, layers.Dense(28, activation="softmax")(x)))
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    inputs = np.random.default_rng(0).uniform(-1, 1, (6, 16, 16, 3)).astype(np.float32)
    expected = model.predict_on_batch(inputs)
    assert (
        np.abs(
            OpenVinoEngine(import_keras(tmp_path / "model.pkl"), "f32").predict(inputs) - expected
        ).max()
        < 1e-5
    )
