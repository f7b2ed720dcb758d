"""Reading picture files in threads."""

import warnings
from pathlib import Path

from models.pictures.preprocessing import Preprocessing
from tests.builders import save_grey
from trainer.datasets.load import load

SIZE = Preprocessing(height=8, width=8)


def test_reading_in_threads_leaves_the_warning_filters_alone(folder: Path) -> None:
    for number in range(200):
        save_grey(folder / "sad" / f"{number}.png", number)
    before = list(warnings.filters)
    load([str(folder)], SIZE)
    assert list(warnings.filters) == before
