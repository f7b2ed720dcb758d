"""Hostile pickles: broken releases, and pickles that run code or exhaust memory when loaded.

Each one that runs code leaves a file in the working folder. The same seed gives the same bytes.
"""

import bdb
import codecs
import cProfile
import ctypes
import functools
import gzip
import importlib
import io
import json
import logging
import marshal
import operator
import os
import pickle
import pickletools
import pty
import pydoc
import random
import runpy
import shutil
import socket
import sqlite3
import struct
import subprocess
import tempfile
import timeit
import webbrowser
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from models.release.files import save_release
from tests.builders import tiny_release
from tests.hostile import images

MARK: Final = "executed"
TOUCH: Final = f"touch {MARK}"
PYTHON: Final = f"open({MARK!r}, 'w').close()"
KERAS_FIXTURES: Final = Path(__file__).parents[1] / "trainer" / "keras_import" / "fixtures"
OPCODES: Final = tuple(opcode.code.encode("latin-1") for opcode in pickletools.opcodes)


def sound() -> bytes:
    """The pickle of a small release."""
    with tempfile.TemporaryDirectory() as folder:
        save_release(tiny_release(), Path(folder) / "tiny.pkl")
        return (Path(folder) / "tiny.pkl").read_bytes()


# --- Gadgets ---


class Call:
    """Unpickles to the result of a function; the function may be a `Call` too."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call

    def __call__(self) -> None:
        raise NotImplementedError


def method(name: str, target: Any, *arguments: Any) -> Call:
    """The result of a method, by `operator.methodcaller`."""
    return Call(Call(operator.methodcaller, name, *arguments), target)


def member(path: str, target: Any) -> Call:
    """An attribute, by `operator.attrgetter`."""
    return Call(Call(operator.attrgetter, path), target)


def gadgets() -> dict[str, bytes]:
    """Pickles that run code when they are loaded, by name, in three protocols."""
    code, array = io.BytesIO(), io.BytesIO()
    np.save(array, np.array([Call(os.mkdir, MARK)], object), allow_pickle=True)
    code.write(marshal.dumps(compile(PYTHON, "gadget", "exec")))
    calls = {
        "os.system": Call(os.system, TOUCH),
        "os.popen": method("read", Call(os.popen, TOUCH)),
        "os.mkdir": Call(os.mkdir, MARK),
        "os.spawn": Call(os.spawnlp, os.P_WAIT, "touch", "touch", MARK),
        "subprocess.Popen": method("wait", Call(subprocess.Popen, ["touch", MARK])),
        "subprocess.check_output": Call(subprocess.check_output, ["touch", MARK]),
        "eval": Call(eval, PYTHON),
        "exec": Call(exec, PYTHON),
        "open": Call(open, MARK, "w"),
        "getattr": Call(Call(getattr, Call(__import__, "os"), "mkdir"), MARK),
        "map": Call(list, Call(map, os.mkdir, [MARK])),
        "importlib": Call(member("system", Call(importlib.import_module, "os")), TOUCH),
        "runpy": Call(runpy._run_code, Call(compile, PYTHON, "gadget", "exec"), {}),  # type: ignore[attr-defined]
        "pickle.loads": Call(pickle.loads, pickle.dumps(Call(os.mkdir, MARK))),
        "functools.partial": Call(Call(functools.partial, os.mkdir, MARK)),
        "operator.methodcaller": method("system", Call(__import__, "os"), TOUCH),
        "operator.attrgetter": Call(member("os.system", Call(__import__, "shutil")), TOUCH),
        "numpy.save": Call(np.save, MARK, 1),
        "numpy.load": Call(np.load, Call(io.BytesIO, array.getvalue()), None, True),
        "numpy.memmap": Call(np.memmap, MARK, "u1", "w+", 0, 8),
        "ctypes": Call(member("mkdir", Call(ctypes.CDLL, None)), MARK.encode(), 0o755),
        "pty": Call(pty.spawn, ["touch", MARK]),
        "codecs": Call(codecs.open, MARK, "wb"),
        "webbrowser": method("open", Call(webbrowser.GenericBrowser, "touch"), MARK),
        "socket": method("bind", Call(socket.socket, socket.AF_UNIX.value), MARK),
        "timeit": Call(timeit.timeit, PYTHON, "", timeit.default_timer, 1),
        "bdb": method("run", Call(bdb.Bdb), PYTHON),
        "cProfile": Call(cProfile.runctx, PYTHON, {}, {}, MARK),
        "pydoc": Call(pydoc.pipepager, "text", f"cat > {MARK}"),
        "logging": Call(logging.FileHandler, MARK),
        "sqlite3": method("execute", Call(sqlite3.connect, MARK), "CREATE TABLE t (a)"),
        "shutil": Call(shutil.copyfile, "/dev/null", MARK),
        "FunctionType": Call(
            Call(Call(type, os.path.join), Call(marshal.loads, code.getvalue()), {"open": open})
        ),
        "pathlib": method("touch", Call(Path, MARK)),
        "tempfile": Call(tempfile.mkdtemp, "", "", "."),
    }
    raws = {
        f"{name} {protocol}": pickle.dumps(value, protocol)
        for name, value in calls.items()
        for protocol in (0, 2, 4)
    }
    mark = MARK.encode()
    return raws | {
        "INST": b"(V" + mark + b"\niposix\nmkdir\n.",
        "OBJ": b"(cbuiltins\nopen\nV" + mark + b"\nVw\no.",
        "INST of an object": b"(V" + mark + b"\nilogging\nFileHandler\n.",
        "EXT1": b"ccopyreg\nadd_extension\n(Vposix\nVmkdir\nK\x4dtR0\x82\x4d(V" + mark + b"\ntR.",
    }


def in_a_release(gadget: bytes) -> bytes:
    """A release's pickle that first does what a gadget does."""
    body = gadget[2:-1] if gadget[:1] == b"\x80" else gadget[:-1]
    if body[:1] == b"\x95":
        body = body[9:]
    raw = sound()
    content = 2 + 9  # After the protocol and the first frame's length, which is not enforced.
    return raw[:2] + body + b"0" + raw[content:]


# --- Mutations: random, positions of opcodes and bytes -> bytes ---


def _positions(raw: bytes) -> list[int]:
    return [position for _, _, position in pickletools.genops(raw) if position is not None]


def mutated(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of `count` broken releases, most of them broken at an opcode."""
    rng, raw = random.Random(seed), sound()
    positions, gadget_list = _positions(raw), list(gadgets().values())
    for number in range(count):
        kind = rng.choice(list(_MUTATIONS))
        data = _MUTATIONS[kind](rng, raw, positions, gadget_list)
        if rng.random() < 0.2:
            position = rng.choice(positions) % len(data)
            flipped = bytes([data[position] ^ 1 << rng.randrange(8)])
            data = data[:position] + flipped + data[position + 1 :]
        yield f"{number:04} {kind}", data


def _flip(rng: random.Random, raw: bytes, positions: list[int], _: list[bytes]) -> bytes:
    changed = bytearray(raw)
    for _bit in range(rng.randint(1, 8)):
        changed[min(rng.choice(positions) + rng.randrange(6), len(raw) - 1)] ^= 1 << rng.randrange(
            8
        )
    return bytes(changed)


def _cut(rng: random.Random, raw: bytes, positions: list[int], _: list[bytes]) -> bytes:
    end = rng.choice([*positions, rng.randrange(len(raw))])
    return raw[:end] + rng.choice([b"", b"."])


def _splice(rng: random.Random, raw: bytes, positions: list[int], _: list[bytes]) -> bytes:
    return raw[: rng.choice(positions)] + raw[rng.choice(positions) :]


def _substitute(rng: random.Random, raw: bytes, positions: list[int], _: list[bytes]) -> bytes:
    changed = bytearray(raw)
    for _step in range(rng.randint(1, 4)):
        position = rng.choice(positions)
        changed[position : position + 1] = rng.choice(OPCODES)
    return bytes(changed)


def _insert(rng: random.Random, raw: bytes, positions: list[int], _: list[bytes]) -> bytes:
    position = rng.choice(positions)
    steps = b"".join(
        rng.choice(OPCODES) + rng.randbytes(rng.choice([0, 0, 1, 4]))
        for _step in range(rng.randint(1, 6))
    )
    return raw[:position] + steps + raw[position:]


def _insert_call(
    rng: random.Random, raw: bytes, positions: list[int], gadget_list: list[bytes]
) -> bytes:
    """Inserts a gadget; its result stays on the stack or is popped."""
    position, gadget = rng.choice(positions), rng.choice(gadget_list)
    return (
        raw[:position]
        + (gadget[2:-1] if gadget[:1] == b"\x80" else gadget[:-1])
        + rng.choice([b"0", b""])
        + raw[position:]
    )


def _swell(rng: random.Random, raw: bytes, positions: list[int], _: list[bytes]) -> bytes:
    """Inserts an opcode that declares more bytes, or a higher memo slot, than there are."""
    position = rng.choice(positions)
    step = rng.choice([b"X", b"B", b"T", b"r", b"j", b"\x8b"]) + struct.pack(
        "<I", rng.choice([2**31 - 1, 2**32 - 1, 2**24])
    )
    step8 = rng.choice([b"\x8d", b"\x8e", b"\x96", b"\x95"]) + struct.pack(
        "<Q", rng.choice([2**60, 2**63, 2**34])
    )
    return raw[:position] + rng.choice([step, step8]) + raw[position:]


_MUTATIONS: Final[dict[str, Callable[[random.Random, bytes, list[int], list[bytes]], bytes]]] = {
    function.__name__[1:]: function
    for function in (_flip, _cut, _splice, _substitute, _insert, _insert_call, _swell)
}


# --- Bombs ---


def _laughs(hold: Callable[[list[Any]], Any]) -> Any:
    """A hundred objects that amount to 10 ** 100 when written out."""
    value: Any = "ha"
    for _ in range(100):
        value = hold([value] * 10)
    return value


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def bombs() -> dict[str, bytes]:
    """Pickles that take far more memory, time or stack than their length suggests, by name."""
    plain: dict[str, Any] = pickle.loads(sound())
    laughs, tuples = _laughs(list), _laughs(tuple)
    dicts = _laughs(lambda values: {str(i): value for i, value in enumerate(values)})
    endless_list: list[Any] = []
    endless_list.append(endless_list)
    endless_dict: dict[str, Any] = {}
    endless_dict["again"] = endless_dict
    huge = 10**100_000

    def weight(shape: Any, raw: Any = b"\0" * 4) -> dict[str, Any]:
        return {"weights": {**plain["weights"], "dense/bias": {"shape": shape, "float32": raw}}}

    changes: dict[str, dict[str, Any]] = {
        **{f"laughs in {key}": {key: laughs} for key in plain},
        **{f"dicts in {key}": {key: dicts} for key in plain},
        **{f"endless list in {key}": {key: endless_list} for key in plain},
        **{f"endless dict in {key}": {key: endless_dict} for key in plain},
        **{f"huge number in {key}": {key: huge} for key in plain},
        **{f"deep list in {key}": {key: _nested(200)} for key in plain},
        "tuples": {"data": tuples},
        "laughs for labels": {"labels": [*plain["labels"][:-1], laughs]},
        "laughs for a constant": {"preprocessing": {**plain["preprocessing"], "scale": laughs}},
        "laughs for an unknown constant": {"preprocessing": {"laughs": laughs}},
        "laughs for a shape": weight(laughs),
        "numbers of text": {"format_version": "9" * 5_000_000},
        "a huge figure": {"metrics": {"val_accuracy": huge}},
        "an infinite figure": {"metrics": {"val_accuracy": float("inf")}},
        "infinitely many images": {
            "int8": {"ranges": {}, "accuracy": 1.0, "accuracy_f32": 1.0, "images": float("inf")}
        },
        "an accuracy that is none": {
            "int8": {"ranges": {}, "accuracy": float("nan"), "accuracy_f32": 1.0, "images": 1}
        },
        "a range of huge numbers": {"int8": {"ranges": {"input": [-huge, huge]}, "accuracy": 1.0}},
        "2**40 numbers": weight([2**40]),
        "2**40 numbers in two axes": weight([2**20, 2**20]),
        "as many numbers as there are": weight([-1]),
        "no numbers in a huge shape": weight([0, 2**62], b""),
        "an overflowing shape": weight([2**62, 4]),
        "a shape beyond 64 bits": weight([2**70]),
        "a shape of fractions": weight([1.0]),
        "no shape": weight(None),
        "a hundred axes": weight([1] * 100),
        "text for numbers": weight([1], "abcd"),
        "a number for numbers": weight([1], 2**40),
        "a key that is a number": {"data": {7: 7}},
    }
    raws = {name: pickle.dumps({**plain, **change}, 4) for name, change in changes.items()}
    nesting = 45_000  # Fewer steps than MAX_STEPS, so that something else must refuse them.
    return raws | {
        "lists in lists": b"\x80\x04" + b"]" * nesting + b"a" * (nesting - 1) + b".",
        "lists in lists in lists": b"\x80\x04" + b"]" * 1_000_000 + b"a" * 999_999 + b".",
        "marked lists": b"(" * nesting + b"l" * nesting + b".",
        "dicts in dicts": b"\x80\x04" + b"}" + b"\x8c\x01a}" * nesting + b"s" * nesting + b".",
        "tuples in tuples": b"\x80\x04)" + b"\x85" * nesting + b".",
        "a deep tuple for a key": b"\x80\x04})" + b"\x85" * nesting + b"Ns.",
        "a deeper tuple for a key": b"\x80\x04})" + b"\x85" * 1_000_000 + b"Ns.",
        "a deep frozenset for a key": b"\x80\x04}("
        + b"(" * nesting
        + b"\x91" * nesting
        + b"\x91Ns.",
        "marks": b"\x80\x04" + b"(" * 5_000_000 + b".",
        "sets": b"\x80\x04" + b"\x8f" * 5_000_000 + b".",
        "dicts": b"\x80\x04(" + b"}" * 5_000_000 + b"l.",
        "doubled": b"\x80\x04]" + b"2" * 5_000_000 + b".",
        "memo": b"\x80\x04N" + b"\x94" * 5_000_000 + b".",
        "a memo slot of 2**31": b"\x80\x04Nr\xff\xff\xff\x7f.",
        "a memo slot of 2**60 in digits": b"Np%d\n." % 2**60,
        "text of 2**60 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"abc.",
        "bytes of 2**60 bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"abc.",
        "a bytearray of 2**60 bytes": b"\x80\x05\x96" + struct.pack("<Q", 2**60) + b"abc.",
        "a bytearray of 2**33 bytes": b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b"abc.",
        "a frame of 2**60 bytes": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N.",
        "text of 4 GB": b"\x80\x04X\xff\xff\xff\xffabc.",
        "bytes of 4 GB": b"\x80\x04B\xff\xff\xff\xffabc.",
        "a string of -1 bytes": b"T\xff\xff\xff\xffabc.",
        "a number of 2 GB": b"\x80\x04\x8b\xff\xff\xff\x7fabc.",
        "a number of 8 million bytes": b"\x80\x04\x8b"
        + struct.pack("<I", 8_000_000)
        + b"\x7f" * 8_000_000
        + b".",
        "a number of 8 million digits": b"L" + b"9" * 8_000_000 + b"L\n.",
        "an int of 8 million digits": b"I" + b"9" * 8_000_000 + b"\n.",
        "a float of 8 million digits": b"F" + b"9" * 8_000_000 + b"\n.",
        "an array of 2**40 numbers": pickle.dumps(np.zeros(3), 2).replace(
            b"K\x03\x85", b"\x8a\x06\0\0\0\0\0\x01\x85"
        ),
        "a persistent id": b"P" + MARK.encode() + b"\n.",
        "a persistent object": b"\x80\x02Vstorage\nQ.",
        "a tensor": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n"
        b"((Vstorage\nctorch\nFloatStorage\ntQtR.",
        "a buffer outside": b"\x80\x05\x97\x98.",
        "an extension": b"\x80\x02\x84\xff\xff\xff\x7f.",
        "a call of nothing": b"\x80\x04N)R.",
        "a state for a dict": b"\x80\x04}}\x8c\x01aNsb.",
        "an object of a dict": b"\x80\x04})\x81.",
        "another protocol": b"\x80\xff" + sound()[2:],
        "nothing": b"",
        "an end": b".",
    }


# --- Pickled Keras models ---


def _files(raw: bytes) -> dict[str, bytes]:
    """The files in the archive of a pickled Keras model."""
    arguments = [argument for _, argument, _ in pickletools.genops(raw)]
    archive = max((value for value in arguments if isinstance(value, bytes)), key=len)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def keras_pickle(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as written:
        for name, content in files.items():
            written.writestr(name, content)
    call = b"\x80\x04ckeras.saving.pickle_utils\ndeserialize_model_from_bytecode\n"
    return call + pickle.dumps((buffer.getvalue(),), 4)[2:-1] + b"R."


def keras_mutated(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of `count` Keras models, broken in the stream or in a file of the archive."""
    rng = random.Random(seed)
    originals = [path.read_bytes() for path in sorted(KERAS_FIXTURES.glob("*.pkl"))]
    for number in range(count):
        raw, other = rng.sample(originals, 2)
        mutation = rng.choice(images.MUTATIONS)
        place = rng.choice(["stream", "config.json", ".h5", ".h5"])
        if place == "stream":
            yield f"{number:04} {place} {mutation.__name__}", mutation(rng, raw, other)
            continue
        files, others = _files(raw), _files(other)
        name, borrowed = (
            next(name for name in held if name.endswith(place)) for held in (files, others)
        )
        files[name] = mutation(rng, files[name], others[borrowed])
        yield f"{number:04} {place} {mutation.__name__}", keras_pickle(files)


def keras_bombs() -> dict[str, bytes]:
    """Files that are small until they are unpacked, parsed or built, by name."""
    files = _files((KERAS_FIXTURES / "keras211.pkl").read_bytes())
    return {
        "gzip": gzip.compress(bytes(600_000_000), 1),
        "gzip in gzip": gzip.compress(gzip.compress(bytes(100_000_000), 1)),
        "zeros": keras_pickle({**files, "config.json": bytes(100_000_000)}),
        "lists": keras_pickle({**files, "config.json": b"[" + b"[]," * 30_000_000 + b"0]"}),
        "digits": keras_pickle({**files, "config.json": b"9" * 1_000_000}),
        "weights that were never written": keras_pickle(
            _wide_layers(files, 1, 10_000, written=False)
        ),
        "weights that layers share": keras_pickle(_wide_layers(files, 100, 2048, written=True)),
    }


def _wide_layers(
    files: Mapping[str, bytes], count: int, units: int, written: bool
) -> dict[str, bytes]:
    """A network of `count` wide dense layers, whose weights are in the file once, or not at all."""
    config = json.loads(files["config.json"])
    layers = config["config"]["layers"]
    first = next(i for i, layer in enumerate(layers) if layer["class_name"] == "Dense")
    more = [
        {**layers[first], "config": {**layers[first]["config"], "name": f"d{i}", "units": units}}
        for i in range(count)
    ]
    layers[first + 1 :] = more
    layers[first]["config"]["units"] = units
    buffer = io.BytesIO(files["variables.h5"])
    with h5py.File(buffer, "a") as file:
        inputs = file["layers/dense/vars/0"].shape[0]
        del file["layers/dense"], file["layers/dense_1"]
        for i, rows in enumerate([inputs, *[units] * count]):
            name = f"layers/dense{f'_{i}' if i else ''}/vars"
            for number, shape in (("0", (rows, units)), ("1", (units,))):
                if i > 1:
                    file[f"{name}/{number}"] = file[f"layers/dense_1/vars/{number}"]  # A hard link.
                elif written or i == 0:
                    file.create_dataset(f"{name}/{number}", data=np.zeros(shape, np.float32))
                else:
                    file.create_dataset(f"{name}/{number}", shape, "f4")
    return {**files, "config.json": json.dumps(config).encode(), "variables.h5": buffer.getvalue()}
