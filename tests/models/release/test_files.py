"""Model files: what is saved is loaded again, and anything else is refused."""

import hashlib
import os
import pickle
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.atomic import write_atomically
from models.errors import (
    PickleCorruptError,
    PickleMissingError,
    PickleTamperedError,
    PickleVersionError,
)
from models.release import files
from models.release.files import digest_file, load_release, save_release
from models.release.release import Int8
from tests.builders import tiny_release


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "tiny.pkl"
    save_release(tiny_release(), path)
    return path


def write(path: Path, raw: bytes) -> None:
    """A file with a true digest beside it: only its content is at fault."""
    path.write_bytes(raw)
    digest_file(path).write_text(f"{hashlib.sha256(raw).hexdigest()}  {path.name}\n")


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = pickle.loads(path.read_bytes())
    change(content)
    write(path, pickle.dumps(content))


def test_what_is_saved_is_loaded_again(saved: Path) -> None:
    int8 = Int8({"input": (-1.0, 1.0)}, accuracy=0.5, accuracy_f32=0.6, images=10)
    original = replace(tiny_release(), int8=int8)
    save_release(original, saved)

    release = load_release(saved)
    assert release.sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()
    for name in (
        "name",
        "labels",
        "trained_labels",
        "preprocessing",
        "network",
        "keras_config",
        "metrics",
        "int8",
    ):
        assert getattr(release, name) == getattr(original, name)
    for name, array in original.weights.items():
        np.testing.assert_array_equal(release.weights[name], array)


def test_equal_releases_give_equal_bytes_whichever_of_their_strings_are_one_object(
    tmp_path: Path,
) -> None:
    word, its_copy = "float32", "".join(["float", "32"])
    releases = [
        replace(tiny_release(), training={"a": word, "b": other}) for other in (word, its_copy)
    ]
    first, second = (
        save_release(release, tmp_path / f"{i}.pkl") for i, release in enumerate(releases)
    )
    assert first == second


def test_the_file_holds_plain_values_only_and_asks_for_no_global(saved: Path) -> None:
    opcodes = {opcode.name for opcode, _, _ in pickletools.genops(saved.read_bytes())}
    assert not opcodes & {
        "GLOBAL",
        "STACK_GLOBAL",
        "REDUCE",
        "BUILD",
        "INST",
        "OBJ",
        "NEWOBJ",
        "EXT1",
        "PERSID",
    }


def test_the_digest_is_in_the_form_that_sha256sum_checks(saved: Path) -> None:
    assert os.system(f"cd {saved.parent} && sha256sum --status --check {saved.name}.sha256") == 0


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(PickleMissingError, match=r"No model at .*absent\.pkl.*cuemill train"):
        load_release(tmp_path / "absent.pkl")
    with pytest.raises(PickleMissingError, match="No model at"):
        load_release(tmp_path / "absent.pkl", "its digest")


def test_a_model_without_its_digest_is_not_loaded(saved: Path) -> None:
    digest_file(saved).unlink()
    with pytest.raises(PickleMissingError, match="cannot be verified"):
        load_release(saved)


@pytest.mark.parametrize("keep", [0, 1, 1000, -1])
def test_a_truncated_model_is_refused(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(PickleTamperedError, match="changed or truncated"):
        load_release(saved)


def test_a_truncated_model_whose_digest_matches_is_refused_too(saved: Path) -> None:
    write(saved, saved.read_bytes()[:-10])
    with pytest.raises(PickleCorruptError, match="not a valid pickle"):
        load_release(saved)


def test_one_changed_byte_is_found(saved: Path) -> None:
    raw = bytearray(saved.read_bytes())
    raw[len(raw) // 2] ^= 1
    saved.write_bytes(raw)
    with pytest.raises(PickleTamperedError, match="expected"):
        load_release(saved)


def test_another_format_version_is_named(saved: Path) -> None:
    rewrite(saved, lambda content: content.update(format_version=2))
    with pytest.raises(
        PickleVersionError, match="format version 2, but this program reads version 1"
    ):
        load_release(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("weights"),
        lambda c: c.update(weights=3),
        lambda c: c["weights"].update(bad={"shape": [7], "float32": b"1234"}),
        lambda c: c["weights"].update(bad={"shape": [1], "float32": b"\x00\x00\xc0\x7f"}),
        lambda c: c.update(labels=[]),
        lambda c: c.update(trained_labels=["joy"]),
        lambda c: c.update(name=7),
        lambda c: c.pop("preprocessing"),
        lambda c: c["preprocessing"].update(width=-1),
        lambda c: c["preprocessing"].update(channel_order="cmyk"),
        lambda c: c["preprocessing"].update(surprise=True),
        lambda c: c.update(
            int8={
                "ranges": {"input": [1.0, -1.0]},
                "accuracy": 1.0,
                "accuracy_f32": 1.0,
                "images": 1,
            }
        ),
        lambda c: c.update(int8={"ranges": {"input": [-1.0, float("inf")]}}),
        lambda c: c.update(int8="all"),
        lambda c: c.update(format="another"),
    ],
)
def test_a_pickle_that_is_no_complete_model_is_refused(
    saved: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    rewrite(saved, change)
    with pytest.raises(PickleCorruptError):
        load_release(saved)


def test_readers_see_the_old_or_the_new_model_at_each_step_of_a_rewrite(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = replace(tiny_release(), name="newer")
    seen = []

    def write_and_read(path: Path, data: bytes, mode: int) -> None:
        write_atomically(path, data, mode)
        seen.append(load_release(saved).name)

    monkeypatch.setattr(files, "write_atomically", write_and_read)
    save_release(newer, saved)
    assert sorted(set(seen)) == ["newer", "tiny"]
    assert len(digest_file(saved).read_text().splitlines()) == 1


def test_a_rewrite_that_was_interrupted_leaves_a_model_that_can_be_read(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = replace(tiny_release(), name="newer")
    for step in range(3):
        steps = iter(range(step))

        def write_until_killed(
            path: Path, data: bytes, mode: int, steps: Iterator[int] = steps
        ) -> None:
            if next(steps, None) is None:
                raise KeyboardInterrupt
            write_atomically(path, data, mode)

        monkeypatch.setattr(files, "write_atomically", write_until_killed)
        with pytest.raises(KeyboardInterrupt):
            save_release(newer, saved)
        assert load_release(saved).name == ("newer" if step == 2 else "tiny")


def test_a_model_that_is_rewritten_while_it_is_read_is_read_again(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = load_release(saved).sha256
    newer = replace(tiny_release(), name="newer")

    def read(path: Path, real: Callable[[Path], bytes] = files._read) -> bytes:
        save_release(newer, saved)
        return real(path)

    monkeypatch.setattr(files, "_read", read)
    assert load_release(saved).name == "newer"
    with pytest.raises(PickleMissingError, match="another model by now"):
        load_release(saved, digest)


def test_a_failed_write_leaves_the_old_model(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(p.name for p in saved.parent.iterdir()), saved.read_bytes()

    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        save_release(tiny_release(), saved)
    assert (sorted(p.name for p in saved.parent.iterdir()), saved.read_bytes()) == before
