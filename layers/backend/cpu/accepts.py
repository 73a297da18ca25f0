"""What arrays the CPU's kernels take, and arrays that stay as they are."""

from __future__ import annotations

import functools

import numpy as np

FLOAT32 = np.dtype(np.float32)


def floats(*arrays: np.ndarray) -> bool:
    """Whether kernels take these: float32, C-contiguous, and writable (others are another type to Numba)."""
    for a in arrays:
        flags = a.flags
        if a.dtype != FLOAT32 or not flags.c_contiguous or not flags.writeable:
            return False
    return True


def of_type(dtype: type, a: np.ndarray) -> bool:
    """Whether kernels take this array of that type: C-contiguous and writable."""
    return a.dtype == dtype and a.flags.c_contiguous and a.flags.writeable


@functools.lru_cache(4096)
def constants(values: tuple[float, ...]) -> np.ndarray:
    """An array of shape (n,), float32, of n values to be read only: the same one each time."""
    x = np.array(values, np.float32)
    x.flags.writeable = False
    return x
