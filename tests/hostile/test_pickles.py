"""1,000 broken pickles, known gadgets and bombs: refused, and none of their code runs."""

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


def load_all(loader: str) -> dict[str, Any]:
    """Runs the program that loads them. It fails on anything but a refusal or a valid release."""
    command = [sys.executable, "-m", "tests.hostile.load_all", loader]
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
    outcomes: dict[str, Any] = json.loads(done.stdout)
    return outcomes


def assert_refused(outcomes: dict[str, list[str] | None], *names: str) -> None:
    """By a rule, not for lack of memory or stack, and with a text that fits on a screen."""
    loaded = []
    for name in names:
        outcome = outcomes[name]
        if outcome is None or outcome[0] not in REFUSED:
            loaded.append(name)
    assert loaded == []

    texts = {name: outcome[1] for name, outcome in outcomes.items() if outcome}
    exhausted = [
        name for name, text in texts.items() if "MemoryError" in text or "RecursionError" in text
    ]
    assert exhausted == []
    assert max(map(len, texts.values())) < 1000


def test_a_seed_gives_the_same_pickles_every_time() -> None:
    assert list(hostile.mutated(50, seed=1)) == list(hostile.mutated(50, seed=1))
    assert list(hostile.mutated(50, seed=1)) != list(hostile.mutated(50, seed=2))


def test_every_gadget_works_where_pickle_loads_it() -> None:
    """Otherwise their refusal would prove nothing."""
    files = load_all("pickle")
    assert [name for name, left_behind in files.items() if not left_behind] == []


def test_no_hostile_pickle_is_loaded_as_a_model() -> None:
    outcomes = load_all("release")
    gadgets = [*hostile.gadgets(), *(f"{name} in a release" for name in hostile.gadgets())]
    assert_refused(outcomes, *gadgets, *hostile.bombs())
    assert {outcomes[name][0] for name in gadgets} == {"PickleHostileError"}
    assert outcomes["sound"] is None

    kinds = Counter(
        outcome and outcome[0] for name, outcome in outcomes.items() if name[:4].isdigit()
    )
    assert kinds.total() == MUTANTS
    # Those broken only in a weight's last bits are still releases.
    assert kinds[None] < 0.05 * MUTANTS
    # Both refusals are reached.
    assert min(kinds["PickleCorruptError"], kinds["PickleHostileError"]) > 100


@pytest.mark.timeout(600)
def test_no_hostile_pickle_is_imported_as_a_keras_model() -> None:
    outcomes = load_all("keras")
    assert_refused(outcomes, *hostile.gadgets(), *hostile.bombs(), *hostile.keras_bombs())
    mutants = [outcome for name, outcome in outcomes.items() if name[:4].isdigit()]
    assert 0 < sum(outcome is None for outcome in mutants) < 0.2 * len(mutants)
