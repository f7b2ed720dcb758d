"""Networks of other labels than the 28: the last layer gets a score for each of the 28."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.labels import EMOTIONS, FER2013, recognise
from trainer.keras_import.errors import RefusedError

NEVER: Final = -1e9
"""The bias of a label that the network does not know: its softmax is exactly 0."""

_EXAMPLES: Final = (
    f"{','.join(FER2013)} (FER-2013's numbers) or {','.join(sorted(FER2013))} (its folders in "
    "alphabetical order)"
)


def parse_labels(names: Sequence[str]) -> tuple[int, ...]:
    """The index into `EMOTIONS` of each of the network's labels, in its order.

    Raises:
        RefusedError: a name is unknown, or two name the same emotion.
    """
    indices: list[int] = []
    for name in names:
        emotion = recognise(name)
        if emotion is None:
            raise RefusedError(
                f"the label {name!r} is none of the 28 emotions ({', '.join(EMOTIONS)})"
            )
        index = EMOTIONS.index(emotion)
        if index in indices:
            raise RefusedError(f"two of its labels are {emotion}")
        indices.append(index)
    return tuple(indices)


def check_count(outputs: int, labels: int) -> None:
    """Refuses a network whose outputs are not as many as its labels, with the remedy.

    Args:
        labels: how many were named; 0 = none were.
    """
    if labels and outputs != labels:
        raise RefusedError(f"it gives {outputs} scores, but {labels} labels were named")
    if not labels and outputs != len(EMOTIONS):
        raise RefusedError(
            f"it gives {outputs} scores, not {len(EMOTIONS)}, and does not say of which labels. "
            f"Name them in its order, such as --labels {_EXAMPLES}"
        )


def widen(
    weights: Sequence[NDArray[np.float32]], labels: Sequence[int]
) -> list[NDArray[np.float32]]:
    """The last layer's kernel (in, n) and bias (n,), if it has one, for all 28 labels."""
    narrow, *bias = weights
    kernel = np.zeros((len(narrow), len(EMOTIONS)), np.float32)
    kernel[:, labels] = narrow
    biases = np.full(len(EMOTIONS), NEVER, np.float32)
    biases[list(labels)] = bias[0] if bias else 0
    return [kernel, biases]
