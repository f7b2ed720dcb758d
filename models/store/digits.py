"""Single precision as people write it: 0.49, which the nearest double shows as 0.49000000953674316.

PostgreSQL returns REAL like this, SQLite does not.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_EXACT_FROM: Final = 1e-12
"""From here on, the powers of ten in use are exact in double precision."""


def shortest(values: Any) -> list[Any]:
    """The shortest decimals that are the same in single precision, for many values at once.

    One at a time, with `float(str(np.float32(value)))`, they would cost more than their query.

    Args:
        values: numbers, nested to any shape.
    """
    singles: NDArray[np.float32] = np.asarray(values, np.float32)
    doubles = singles.astype(np.float64)
    shortened = doubles.copy()

    magnitudes = np.abs(doubles)
    is_usual = (magnitudes >= _EXACT_FROM) & (magnitudes < 1e6)
    exponents = np.floor(np.log10(magnitudes, where=is_usual, out=np.zeros_like(doubles)))

    # Six digits survive single precision, and nine always suffice.
    for digits in (9, 8, 7, 6):
        scales = 10.0 ** (digits - 1 - exponents)
        rounded = np.rint(doubles * scales) / scales
        is_same = is_usual & (rounded.astype(np.float32) == singles)
        shortened = np.where(is_same, rounded, shortened)

    is_extreme = ~is_usual & (magnitudes > 0)
    shortened[is_extreme] = singles[is_extreme].astype("U").astype(np.float64)
    result: list[Any] = shortened.tolist()
    return result
