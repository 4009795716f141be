"""Matrix products whose sums are exact: a row then has the same bits alone, in any batch, on any processor.

A matrix library chooses the order of its sums by the shapes at hand, and floating point rounds each partial sum. Here
inputs and weights are whole multiples of small powers of two, few enough bits wide that every partial sum is a whole
multiple too and below 2^53 of them: nothing is rounded, so no order matters.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
INPUT_BITS, INPUT_BOUND = 12, 128.0  # multiples of 2^-12 within +-2^7
WEIGHT_BITS, WEIGHT_BOUND = 16, 16.0  # multiples of 2^-16 within +-2^4: exact as float32, too
MAX_TERMS = 2**12  # 2^(7 + 12) * 2^(4 + 16) * 2^12 = 2^51, and as much again is left for a bias and a second product


def input_grid(x: FloatArray) -> FloatArray:
    """Clip and round activations to the grid, in place.

    >>> input_grid(np.array([0.1, -500.0])).tolist()
    [0.10009765625, -128.0]
    """
    np.clip(x, -INPUT_BOUND, INPUT_BOUND, out=x)
    return rounded(x)


def rounded(x: FloatArray) -> FloatArray:
    """Round to the grid, in place, what is known to be within its bounds."""
    # float64 has 53 bits: beside this number the last one is worth 2^-INPUT_BITS, and adding rounds, half to even
    x += 1.5 * 2.0 ** (52 - INPUT_BITS)
    x -= 1.5 * 2.0 ** (52 - INPUT_BITS)
    return x


def weight_grid(w: NDArray[np.floating]) -> NDArray[np.float32]:
    """Clip and round weights (or biases) to their grid; float32 holds them exactly.

    Raises:  ValueError: more rows than may be summed.
    """
    if w.ndim > 1 and len(w) > MAX_TERMS:
        raise ValueError(f"at most {MAX_TERMS} terms can be summed exactly, got {len(w)}")
    clipped = np.clip(np.asarray(w, dtype=np.float64), -WEIGHT_BOUND, WEIGHT_BOUND)
    return (np.rint(clipped * 2.0**WEIGHT_BITS) * 2.0**-WEIGHT_BITS).astype(np.float32)
