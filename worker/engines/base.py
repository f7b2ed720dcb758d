"""What runs a network, behind one small protocol."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """A network ready to run. Made once a process; not safe for several threads at once."""

    name: str
    precision: str

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores for inputs.

        Args:
            batch: (n, height, width, 3), scaled as the release's preprocessing says; any n >= 1.

        Returns:
            float32 (n, labels): the softmax's probabilities, each row summing to 1.
        """
        ...
