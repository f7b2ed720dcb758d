"""A training that is killed and resumed, beside one that is not; run with KERAS_BACKEND set.

python -m tests.trainer.other_backend FOLDER    prints the backend, and both runs' last losses
"""

import sys
from pathlib import Path

import keras

from models.release.files import load_release, save_release
from tests.trainer.small_runs import (
    SIZE,
    Killed,
    KilledInEpoch,
    dark_and_light,
    new_run,
    strike,
)
from trainer.export import export
from trainer.fit import fit
from trainer.progress import Silent


def main() -> None:
    folder = Path(sys.argv[1])
    train, validation = dark_and_light(0), dark_and_light(1)
    whole, killed = new_run(folder / "whole"), new_run(folder / "killed")

    model = fit(whole, train, validation, Silent())
    try:
        fit(killed, train, validation, KilledInEpoch(3, strike))
    except Killed:
        resumed = new_run(folder / "killed")
        fit(resumed, train, validation, Silent())

    release = export(model, "Tiny", SIZE, train.emotions(), {}, {}, {})
    save_release(release, folder / "tiny.pkl")
    load_release(folder / "tiny.pkl")
    print(keras.backend.backend(), *(run.history[-1]["val_loss"] for run in (whole, resumed)))


if __name__ == "__main__":
    main()
