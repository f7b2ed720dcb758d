"""The protocol of an engine, which runs a network."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """A network ready to run. Create one per process; it is not thread-safe."""

    name: str
    precision: str

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores a batch of inputs.

        Args:
            batch: (n, height, width, 3), scaled by the release's preprocessing; any n >= 1.

        Returns:
            float32 (n, labels): softmax probabilities; each row sums to 1.
        """
        ...
