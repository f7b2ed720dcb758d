"""1,000 broken pickles, known gadgets and bombs: refused, with nothing run, in bounded memory and time."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.hostile import pickles as hostile
from tests.hostile.load_all import MUTANTS

ROOT = Path(__file__).parents[2]
REFUSED = {"PickleCorruptError", "PickleHostileError", "PickleVersionError"}


def load_all(which: str) -> dict[str, Any]:
    """Runs the program that loads them; anything but a refusal or a sound release makes it fail."""
    command = [sys.executable, "-m", "tests.hostile.load_all", which]
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def assert_refused(found: dict[str, list[str] | None], *names: str) -> None:
    """By a rule of ours, that is, not by running out of memory or stack; and in a text that fits on a screen."""
    taken = [name for name in names if (one := found[name]) is None or one[0] not in REFUSED]
    assert taken == []
    said = {name: one[1] for name, one in found.items() if one}
    assert [
        name for name, text in said.items() if "MemoryError" in text or "RecursionError" in text
    ] == []
    assert max(map(len, said.values())) < 1000


def test_a_seed_gives_the_same_pickles_every_time() -> None:
    assert list(hostile.mutated(50, seed=1)) == list(hostile.mutated(50, seed=1))
    assert list(hostile.mutated(50, seed=1)) != list(hostile.mutated(50, seed=2))


def test_every_gadget_works_where_pickle_loads_it() -> None:
    """Or it would prove nothing that they don't work here."""
    found = load_all("run")
    assert [name for name, left_behind in found.items() if not left_behind] == []


def test_no_hostile_pickle_is_loaded_as_a_model() -> None:
    found = load_all("ours")
    gadgets = [*hostile.gadgets(), *(f"{name} in a release" for name in hostile.gadgets())]
    assert_refused(found, *gadgets, *hostile.bombs())
    assert {found[name][0] for name in gadgets} == {"PickleHostileError"}
    assert found["sound"] is None
    mutants = Counter(one and one[0] for name, one in found.items() if name[:4].isdigit())
    assert mutants.total() == MUTANTS
    assert (
        mutants[None] < 0.05 * MUTANTS
    )  # Those broken in a weight's last bits are releases still.
    assert (
        min(mutants[kind] for kind in ("PickleCorruptError", "PickleHostileError")) > 100
    )  # Both are reached.


@pytest.mark.timeout(600)
def test_no_hostile_pickle_is_imported_as_a_keras_model() -> None:
    found = load_all("wild")
    assert_refused(found, *hostile.gadgets(), *hostile.bombs(), *hostile.wild_bombs())
    mutants = [one for name, one in found.items() if name[:4].isdigit()]
    assert 0 < sum(one is None for one in mutants) < 0.2 * len(mutants)
