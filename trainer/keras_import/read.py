"""Pickled Keras models from elsewhere, read as data: nothing in them is ever executed, nor even looked up.

Such a pickle calls one of two functions of Keras' on one bytes object: a zip of `config.json`, which says the layers,
and an HDF5 file with their weights. The stream is walked opcode by opcode and must be exactly such a call; the layers
must be ones we know, with options we know; each weight must have the shape that its layer wants. Then a network of ours
is built from them. The forms: Keras 2.11 (also as written on Windows, where names hold backslashes), 2.12 and 3; dumped
by pickle, or by joblib, compressed by zlib or gzip or not at all.
"""

import hashlib
import io
import json
import math
import pickletools
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import h5py
import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from models.errors import PickleCorruptError, PickleHostileError, PickleMissingError
from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from models.release.files import MAX_BYTES
from models.release.release import Release
from trainer.export import export

MAX_OPCODES: Final = 100
MAX_LAYERS: Final = 1000
MAX_SIDE: Final = 1024
MAX_JSON: Final = 10_000_000
"""Bytes of the config; as Python's objects it may take twenty times as many. 500 layers are described in 500 kB."""
ACTIVATIONS: Final = ("linear", "relu", "relu6", "softmax")

_KERAS_2: Final = (
    "global keras.saving.pickle_utils.deserialize_model_from_bytecode",
    "BYTES",
    "TUPLE1",
    "REDUCE",
)
_KERAS_3: Final = (
    *("global builtins.getattr", "MODEL", "text _unpickle_model", "TUPLE2", "REDUCE"),
    *(
        "global _io.BytesIO",
        "EMPTY_TUPLE",
        "NEWOBJ",
        "BYTES",
        "NUMBER",
        "NONE",
        "TUPLE3",
        "BUILD",
        "TUPLE1",
        "REDUCE",
    ),
)
_MODELS: Final = (
    "global keras.src.models.sequential.Sequential",
    "global keras.src.models.functional.Functional",
)
_SILENT: Final = ("PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP")
_NAMES: Final = ("metadata.json", "config.json", "variables.h5", "model.weights.h5")


@dataclass(frozen=True)
class _Layer:
    """A layer as the config tells it; `parents` are the names of those whose outputs it takes."""

    kind: str
    name: str
    options: Mapping[str, Any]
    parents: tuple[str, ...]


def import_keras(path: Path) -> Release:
    """Rebuilds a pickled Keras model as a release, without executing a byte of it.

    What its labels are, a stranger's pickle doesn't say: with 28 scores, they are taken for ours in their order. Which
    of them it has seen is unknown too, and so are its figures; `data` says where it came from.

    Raises:
        PickleMissingError: no such file.
        PickleHostileError: it asks for anything but the one call.
        PickleCorruptError: broken, or not a network that can be rebuilt; names the part.
        EngineError: a network that no engine of ours can run.
    """
    if not path.is_file():
        raise PickleMissingError(f"No file at {path}.")
    if path.stat().st_size > MAX_BYTES:
        raise PickleCorruptError(f"{path} is larger than {MAX_BYTES:,} bytes.")
    raw = path.read_bytes()
    try:
        config, weights, version = _unpack(_archive(_inflate(raw)))
        model = _build(config, weights)
    except (_RefusedError, PickleHostileError) as error:
        kind = PickleHostileError if isinstance(error, PickleHostileError) else PickleCorruptError
        raise kind(f"{path} is refused: {error!s:.500}.") from error
    if model.output_shape != (None, len(EMOTIONS)):
        raise PickleCorruptError(
            f"{path} gives scores of shape {model.output_shape}, not {len(EMOTIONS)} an image."
        )
    _, height, width, _ = model.input_shape
    return export(
        model,
        path.stem.split(".")[0].removesuffix("_trained"),
        Preprocessing(height=height, width=width, channel_order="bgr", antialias=False),
        trained_labels=(),
        metrics={},
        data={
            "imported": {
                "file": path.name,
                "sha256": hashlib.sha256(raw).hexdigest(),
                "keras": version,
            }
        },
        training={},
    )


class _RefusedError(Exception):
    """What is wrong with the file; `import_keras` adds which one it is."""


def _inflate(raw: bytes) -> bytes:
    """What joblib compressed; anything else as it is."""
    if raw[:2] != b"\x1f\x8b" and raw[:1] != b"\x78":
        return raw
    try:
        unpacked = zlib.decompressobj(wbits=47)
        plain = unpacked.decompress(raw, MAX_BYTES)
    except (zlib.error, MemoryError) as error:
        raise _RefusedError(f"it looks compressed, but can't be unpacked: {error}") from error
    if unpacked.unconsumed_tail or not unpacked.eof:
        raise _RefusedError(f"it is cut short, or more than {MAX_BYTES:,} bytes when unpacked")
    return plain


def _archive(raw: bytes) -> bytes:
    """The bytes object that the pickle hands to Keras, if that is all it does."""
    steps: list[str] = []
    held = b""
    texts: list[str] = []
    try:
        with warnings.catch_warnings(action="ignore"):  # Its strings may hold odd escapes.
            opcodes = list(islice(pickletools.genops(raw), MAX_OPCODES + 1))
        if len(opcodes) > MAX_OPCODES:
            raise _RefusedError(f"it has more than {MAX_OPCODES} steps, and one call needs few")
        for opcode, argument, _ in opcodes:
            if opcode.name in _SILENT:
                continue
            if opcode.name == "STACK_GLOBAL":
                module, name = texts[-2:]
                del steps[-2:], texts[-2:]
                steps.append(f"global {module}.{name}")
            elif opcode.name in ("GLOBAL", "INST"):
                steps.append(f"global {'.'.join(str(argument).split(' '))}")
            elif isinstance(argument, str):
                texts.append(argument)
                steps.append(f"text {argument}")
            elif isinstance(argument, bytes):
                held = argument
                steps.append("BYTES")
            else:
                steps.append("NUMBER" if isinstance(argument, int) else opcode.name)
    except (ValueError, IndexError, OverflowError, UnicodeError) as error:
        raise _RefusedError(f"it is no pickle, or a broken one: {error}") from error
    wanted = tuple("MODEL" if step in _MODELS else step for step in steps)
    if wanted in (_KERAS_2, _KERAS_3):
        return held
    foreign = [
        step
        for step in steps
        if step.startswith("global ") and step not in (*_KERAS_2, *_KERAS_3, *_MODELS)
    ]
    if foreign:
        raise PickleHostileError(
            f"it asks for {', '.join(step.split(' ')[1] for step in foreign[:5])}"
        )
    raise PickleHostileError("it does more, or other, than to hand one archive to Keras")


def _unpack(archive: bytes) -> tuple[dict[str, Any], h5py.File, str]:
    """The config, the weights and Keras' version, of an archive in memory."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = opened.infolist()
            if unknown := [entry.filename for entry in entries if entry.filename not in _NAMES]:
                raise _RefusedError(f"its archive holds {unknown[0]!r}; known: {', '.join(_NAMES)}")
            if len(entries) != 3 or sum(entry.file_size for entry in entries) > MAX_BYTES:
                raise _RefusedError(
                    f"its archive has {len(entries)} files, or is more than {MAX_BYTES:,} bytes unpacked"
                )
            if any(
                entry.file_size > MAX_JSON for entry in entries if entry.filename.endswith(".json")
            ):
                raise _RefusedError(f"its config or metadata is larger than {MAX_JSON:,} bytes")
            # No more than is said is read, whatever the compressed data holds.
            files = {entry.filename: opened.open(entry).read(entry.file_size) for entry in entries}
        config, metadata = (json.loads(files[name]) for name in ("config.json", "metadata.json"))
        weights = h5py.File(io.BytesIO(files.get("variables.h5") or files["model.weights.h5"]), "r")
    except _RefusedError:
        raise
    except Exception as error:  # Each of the three parsers raises nearly anything on broken bytes.
        raise _RefusedError(f"its archive is broken: {type(error).__name__}: {error}") from error
    if not isinstance(config, dict) or not isinstance(metadata, dict):
        raise _RefusedError("its config is no JSON object")
    return config, weights, str(metadata.get("keras_version", ""))[:20]


def _build(config: Mapping[str, Any], file: h5py.File) -> keras.Model:
    """A network of ours with the layers of the config and the weights of the file."""
    try:
        described = _describe(config)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise _RefusedError(f"its config is broken: {type(error).__name__}: {error}") from error
    keras.utils.clear_session()
    outputs: dict[str, Any] = {}
    counts: dict[str, int] = {}
    model_input: Any = None
    total = 0
    for one in described:
        try:
            if one.kind == "InputLayer":
                if model_input is not None:
                    raise _RefusedError("it has several inputs")
                outputs[one.name] = model_input = keras.Input(
                    _input_shape(one.options), name=one.name
                )
                continue
            made = _make(one)
            inputs = [outputs[name] for name in one.parents]
            index = counts[one.kind] = counts.get(one.kind, -1) + 1
            shapes = _shapes(made, inputs)
            total += 4 * sum(map(math.prod, shapes))
            if total > MAX_BYTES:  # Layers may share what lies in the file once.
                raise _RefusedError(f"its weights are more than {MAX_BYTES:,} bytes")
            found = _weights(file, one.kind, index, shapes)
            outputs[one.name] = made(inputs if one.kind == "Add" else inputs[0])
            made.set_weights(found)
        except _RefusedError:
            raise
        except Exception as error:  # On broken files, HDF5 and Keras raise nearly anything.
            raise _RefusedError(
                f"its layer {one.name!r} ({one.kind}) can't be rebuilt: {error}"
            ) from error
    if model_input is None or len(described) < 2:
        raise _RefusedError("it has no input layer, or nothing behind it")
    return keras.Model(model_input, outputs[described[-1].name])


def _describe(config: Mapping[str, Any]) -> list[_Layer]:
    """The layers of a sequential or functional network, in an order in which each has its parents before it."""
    kind = config["class_name"]
    if kind not in ("Sequential", "Functional"):
        raise _RefusedError(f"it is a {kind!r}; only Sequential and Functional can be rebuilt")
    entries = config["config"]["layers"]
    if len(entries) > MAX_LAYERS:
        raise _RefusedError(f"it has more than {MAX_LAYERS} layers")
    found: list[_Layer] = []
    for entry in entries:
        name, options = str(entry["config"]["name"]), entry["config"]
        if entry["class_name"] not in ("InputLayer", *_OPTIONS):
            known = ", ".join(_OPTIONS)
            raise _RefusedError(
                f"its layer {name!r} is a {str(entry['class_name'])[:80]!r}; known: {known}"
            )
        if not re.fullmatch(r"[\w.-]{1,80}", name):
            raise _RefusedError(f"a layer's name is {name[:80]!r}")
        before = tuple(one.name for one in found[-1:])
        parents = before if kind == "Sequential" else _parents(entry["inbound_nodes"])
        found.append(_Layer(entry["class_name"], name, options, parents))
    if len({one.name for one in found}) != len(found):
        raise _RefusedError("two of its layers have the same name")
    return found


def _parents(nodes: Sequence[Any]) -> tuple[str, ...]:
    """Whose outputs a layer takes: Keras 2 lists [name, node, tensor, {}], Keras 3 tells tensors by their history."""
    if len(nodes) > 1:
        raise _RefusedError("one of its layers is used several times")
    if not nodes:
        return ()
    if isinstance(nodes[0], list):
        return tuple(str(name) for name, _, _, _ in nodes[0])
    first = nodes[0]["args"][0]
    return tuple(
        str(t["config"]["keras_history"][0])
        for t in (first if isinstance(first, list) else [first])
    )


def _input_shape(options: Mapping[str, Any]) -> tuple[int, int, int]:
    batch, *shape = options.get("batch_shape") or options["batch_input_shape"]
    if (
        batch is not None
        or len(shape) != 3
        or not all(type(n) is int and 8 <= n <= MAX_SIDE for n in shape[:2])
    ):
        raise _RefusedError(
            f"its input is {[batch, *shape]}; expected [null, height, width, 3], at most {MAX_SIDE}"
        )
    if shape[2] != 3:
        raise _RefusedError(f"its input has {shape[2]} channels, expected 3")
    return shape[0], shape[1], 3


_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "Conv2D": (
        *(
            "filters",
            "kernel_size",
            "strides",
            "padding",
            "data_format",
            "dilation_rate",
            "groups",
            "activation",
        ),
        "use_bias",
    ),
    "DepthwiseConv2D": (
        *(
            "kernel_size",
            "strides",
            "padding",
            "depth_multiplier",
            "data_format",
            "dilation_rate",
            "activation",
        ),
        "use_bias",
    ),
    "ZeroPadding2D": ("padding", "data_format"),
    "BatchNormalization": ("epsilon", "center", "scale"),
    "MaxPooling2D": ("pool_size", "strides", "padding", "data_format"),
    "GlobalAveragePooling2D": ("data_format", "keepdims"),
    "GlobalMaxPooling2D": ("data_format", "keepdims"),
    "Flatten": ("data_format",),
    "Dense": ("units", "activation", "use_bias"),
    "Add": (),
    "Activation": ("activation",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "Dropout": ("rate",),
}
"""What is taken over of each kind of layer; the rest of its config matters to fitting alone."""


def _make(one: _Layer) -> keras.Layer:
    """A layer of Keras' from plain values that we know."""
    options = {
        name: _unwrap(one.options[name]) for name in _OPTIONS[one.kind] if name in one.options
    }
    for name, value in options.items():
        if name == "activation" and value not in ACTIVATIONS:
            raise _RefusedError(
                f"its layer {one.name!r} has activation {str(value)[:80]!r}; known: {', '.join(ACTIVATIONS)}"
            )
        if not _is_plain(value):
            raise _RefusedError(
                f"its layer {one.name!r} has {name} {str(value)[:80]}, expected a plain value"
            )
    if one.kind == "BatchNormalization" and one.options.get("axis") not in (-1, 3, [3], [-1]):
        raise _RefusedError(
            f"its layer {one.name!r} has axis {one.options.get('axis')!r}, expected the last"
        )
    return getattr(layers, one.kind)(name=one.name, **options)


def _unwrap(value: Any) -> Any:
    """Keras 2 says of some numbers that they were NumPy's."""
    return (
        value["config"]["value"]
        if isinstance(value, dict) and value.get("class_name") == "__numpy__"
        else value
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= 4 and all(_is_plain(inner) for inner in value)
    return (
        value is None
        or isinstance(value, str | bool | float)
        or (isinstance(value, int) and 0 <= value <= 2**20)
    )


def _shapes(layer: keras.Layer, inputs: Sequence[Any]) -> list[tuple[int, ...]]:
    """Of its weights, in Keras' order; reckoned before the layer makes any, which could be of any size."""
    channels = inputs[0].shape[-1]
    if isinstance(layer, layers.BatchNormalization):
        return [(channels,)] * (2 + int(layer.center) + int(layer.scale))
    if isinstance(layer, layers.Dense):
        kernel, out = (channels, layer.units), layer.units
    elif isinstance(layer, layers.DepthwiseConv2D):
        kernel, out = (
            (*layer.kernel_size, channels, layer.depth_multiplier),
            channels * layer.depth_multiplier,
        )
    elif isinstance(layer, layers.Conv2D):
        kernel, out = (*layer.kernel_size, channels // layer.groups, layer.filters), layer.filters
    else:
        return []
    return [kernel, (out,)] if layer.use_bias else [kernel]


def _weights(
    file: h5py.File, kind: str, index: int, shapes: Sequence[tuple[int, ...]]
) -> list[NDArray[np.float32]]:
    """The weights of the layer that is the index-th of its kind, from a group whose name Keras makes of the kind."""
    if not shapes:
        return []
    group = _group(
        file, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower().replace("conv2_d", "conv2d"), index
    )
    return [_dataset(group, str(number), shape) for number, shape in enumerate(shapes)]


def _group(file: h5py.File, word: str, index: int) -> h5py.Group:
    """Keras numbers layers of a kind in their order (2.12 skips numbers), below a container; on Windows in one name."""
    for prefix in ("layers", "_layer_checkpoint_dependencies"):
        for parent, start in ((_own(file, prefix), ""), (file, prefix + "\\")):
            if not isinstance(parent, h5py.Group):
                continue
            pattern = re.compile(re.escape(start + word) + r"(?:_(\d{1,6}))?")
            found = sorted(
                (int(match[1] or 0), name) for name in parent if (match := pattern.fullmatch(name))
            )
            if index < len(found):
                inner = _own(parent, found[index][1])
                return (
                    _own(inner, "vars")
                    if "vars" in inner
                    else _own(parent, found[index][1] + "\\vars")
                )
    raise _RefusedError(f"its weights have no {word} number {index}")


def _own(parent: h5py.Group, name: str) -> Any:
    """A member that lies in this very file; links out of it are refused."""
    link = parent.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise _RefusedError(f"its weights hold a link ({name!r}) where data should be")
    return parent[name]


def _dataset(group: h5py.Group, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    data = _own(group, name) if isinstance(group, h5py.Group) else None
    if (
        not isinstance(data, h5py.Dataset)
        or data.dtype != np.float32
        or data.external
        or data.is_virtual
        or data.chunks
        or data.id.get_storage_size()
        != 4 * math.prod(data.shape)  # Or it was never written, and may be of any size.
    ):
        raise _RefusedError(
            f"its weight {group.name if group else ''}/{name} is missing, or no plain array of float32"
        )
    if data.shape != shape:
        raise _RefusedError(f"its weight {data.name} has shape {data.shape}, expected {shape}")
    values: NDArray[np.float32] = data[()]
    if not np.isfinite(values).all():
        raise _RefusedError(f"its weight {data.name} holds values that are no numbers")
    return values
