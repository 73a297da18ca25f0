"""A blob's memory on the host, and whether a script still has it."""

from __future__ import annotations

import math
import weakref

import numpy as np

from demitasse.netdef.lazy_executor import LazyExecutor


class Loan:
    """Hands out an array: the same object for as long as somebody has it or a view of it."""

    def __init__(self):
        self._array: np.ndarray | None = None
        self._lent = lambda: None

    def of(self, array: np.ndarray) -> np.ndarray:
        """The array as a script gets it, in its own shape."""
        lent = self._lent()
        if lent is None or self._array is not array:
            lent = np.asarray(_Memory(array))
            self._array, self._lent = array, weakref.ref(lent)
        return lent

    @property
    def out(self) -> bool:
        """Whether somebody has the array that was lent last."""
        return self._lent() is not None


class _Memory:
    """The `base` of a lent array.  NumPy looks through bases that are arrays, so views of the lent one have it as base,
    and it lives as long as they do."""

    def __init__(self, array: np.ndarray):
        self.array, self.__array_interface__ = array, array.__array_interface__


class HostCopy:
    """One array of a blob on the host.  `ours` says that it is newer than the device's, or as new and perhaps
    written to; on the CPU that is always so."""

    def __init__(self):
        self.array: np.ndarray | None = None
        self.ours = False
        self.loan = Loan()

    def take(self, array: np.ndarray) -> np.ndarray:
        """Hold these values, of any shape, in the same memory if it fits."""
        if self.array is None or self.array.shape != array.shape:
            self.array = np.array(array, np.float32, order="C")
        elif self.array is not array:
            np.copyto(self.array, array)
        self.ours = True
        return self.array

    def lend(self) -> np.ndarray:
        """The array as a script gets it, in its own shape."""
        return self.loan.of(self.array)

    def holds(self, shape) -> bool:
        """Whether it can stand for an array of this shape."""
        return self.ours and self.array is not None and self.array.shape == shape

    def reshape(self, shape) -> None:
        """Keep the values where there are as many, else let go of them."""
        keeps = self.array is not None and self.array.size == math.prod(shape)
        self.array = self.array.reshape(shape) if keeps else None


def settle(engine) -> None:
    """Let the engine's net compute what it has put off, before weights change that this would be computed from."""
    if isinstance(engine.executor, LazyExecutor):
        engine.executor.settle()
