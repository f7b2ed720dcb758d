"""One candidate's run: its folder, checkpoints and history, and how it resumes.

The folder holds:

* `epoch-NN.keras`: network and optimizer after the last epoch.
* `epoch-NN.weights.h5`: the weights that were validated, after the last and after the best epoch.
  For candidates that average their weights, this is the average.
* `history.json`: the completed epochs, and the conditions they were trained under. It is replaced
  last, in one step, so an epoch that it does not list is trained again.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.atomic import write_atomically
from models.cpu import gains_by_bf16
from models.errors import DataError
from models.labels import EMOTIONS
from models.pictures.preprocessing import Preprocessing
from models.release.release import Release
from trainer.candidates import Candidate
from trainer.datasets.dataset import Dataset


@dataclass
class Run:
    """The state of one candidate's training.

    Attributes:
        weights: initial weights of pretrained layers: `imagenet` (downloaded by Keras), `none`, or
            a weights file of Keras.
        start: a release of the same network whose weights the first epoch starts from.
        teachers: digests of the releases whose scores are in the soft targets.
        policy: Keras' precision policy during training; empty selects the fastest.
        history: the metrics of each completed epoch: `loss`, `accuracy`, `val_loss`,
            `val_accuracy`, and its `seconds`.
    """

    folder: Path
    candidate: Candidate
    preprocessing: Preprocessing
    seed: int = 0
    weights: str = "none"
    start: Release | None = None
    teachers: tuple[str, ...] = ()
    policy: str = ""
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.policy = self.policy or choose_policy(self.candidate)

    @property
    def best_epoch(self) -> int:
        """The epoch, counted from 1, with the highest validation accuracy; the first of equals."""
        return 1 + int(np.argmax([epoch["val_accuracy"] for epoch in self.history]))

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the candidate's patience has run out."""
        done = len(self.history)
        if done >= self.candidate.epochs:
            return True
        return done > 0 and done - self.best_epoch >= self.candidate.patience

    @property
    def history_file(self) -> Path:
        return self.folder / "history.json"

    def checkpoint(self, epoch: int) -> Path:
        """Network and optimizer after an epoch."""
        return self.folder / f"epoch-{epoch:02}.keras"

    def validated_weights(self, epoch: int) -> Path:
        """The weights that were validated after an epoch."""
        return self.folder / f"epoch-{epoch:02}.weights.h5"

    def build(self, *, any_size: bool = False) -> keras.Model:
        """Builds the candidate's network, for the preprocessing's image size or for any size."""
        height, width = self.preprocessing.height, self.preprocessing.width
        shape = (None, None, 3) if any_size else (height, width, 3)
        return self.candidate.build(shape, len(EMOTIONS))

    def load_best(self) -> keras.Model:
        """Builds the network in float32 with the weights of the best epoch so far."""
        # Keras numbers layers per process. Clearing the session gives a release the same weight
        # names every time.
        keras.utils.clear_session()
        model = self.build()
        model.load_weights(self.validated_weights(self.best_epoch))
        return model

    def describe(self, train: Dataset, validation: Dataset) -> dict[str, Any]:
        """The conditions that must not change between the epochs of a run."""
        return {
            "candidate": self.candidate.name,
            "seed": self.seed,
            "preprocessing": self.preprocessing.to_plain(),
            "train": train.balance(),
            "validation": validation.balance(),
            "weights": self.weights if self.candidate.pretrained else "none",
            "start": self.start.sha256 if self.start else "",
            "soft": train.soft is not None,
            "teachers": list(self.teachers),
        }

    def resume(self, description: dict[str, Any]) -> None:
        """Loads the history from the folder, if it has one.

        Raises:
            DataError: the folder holds a run under other conditions, or is incomplete.
        """
        if not self.history_file.exists():
            return

        try:
            record = json.loads(self.history_file.read_text())
            record.setdefault("teachers", [])  # Missing in histories of older versions.
            different = [key for key, value in description.items() if record[key] != value]
            self.history = record["epochs"]
            self.policy = record["policy"]
            files = self._needed_files()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{self.history_file} is not a training history ({error!r}). Use another folder."
            ) from error

        if different:
            raise DataError(
                f"{self.folder} holds a run with a different {', '.join(different)}. "
                "Use another folder."
            )

        missing = [path.name for path in sorted(files) if not path.exists()]
        if missing:
            raise DataError(
                f"{self.folder} lacks {', '.join(missing)}. Restore the files, or use another "
                "folder."
            )

    def commit(
        self,
        model: keras.Model,
        validated: keras.Model,
        metrics: dict[str, float],
        description: dict[str, Any],
    ) -> None:
        """Saves a completed epoch: first its files, then the history that lists it."""
        history = [*self.history, metrics]
        model.save(self.checkpoint(len(history)))
        validated.save_weights(self.validated_weights(len(history)))

        record = {**description, "policy": self.policy, "epochs": history}
        write_atomically(self.history_file, json.dumps(record, indent=1).encode())

        self.history = history
        for obsolete in set(self.folder.glob("epoch-*")) - self._needed_files():
            obsolete.unlink()

    def _needed_files(self) -> set[Path]:
        """The epoch files that the history refers to."""
        last = len(self.history)
        return {
            self.checkpoint(last),
            self.validated_weights(last),
            self.validated_weights(self.best_epoch),
        }


def choose_policy(candidate: Candidate) -> str:
    """Keras' fastest precision policy here: bfloat16 where hardware and network gain by it.

    Where they do, training is twice as fast (`benchmarks/fit.py`). MobileNetV2 does not: its
    depthwise convolutions are three times slower in bfloat16.
    """
    if candidate.pretrained:
        return "float32"
    return "mixed_bfloat16" if _gpu_has_bf16() or gains_by_bf16() else "float32"


def _gpu_has_bf16() -> bool:
    """NVIDIA GPUs have bfloat16 since compute capability 8.0 (Ampere)."""
    capabilities = {
        "tensorflow": _tensorflow_gpus,
        "jax": _jax_gpus,
        "torch": _torch_gpus,
    }[keras.backend.backend()]()
    return any(capability >= (8, 0) for capability in capabilities)


def _tensorflow_gpus() -> list[tuple[int, int]]:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return [detail.get("compute_capability", (0, 0)) for detail in details]


def _jax_gpus() -> list[tuple[int, int]]:
    import jax

    gpus = [device for device in jax.devices() if device.platform == "gpu"]
    versions = [gpu.compute_capability.split(".") for gpu in gpus]  # "9.0"
    return [(int(major), int(minor)) for major, minor in versions]


def _torch_gpus() -> list[tuple[int, int]]:
    import torch

    gpus = range(torch.cuda.device_count())
    return [torch.cuda.get_device_capability(gpu) for gpu in gpus]
