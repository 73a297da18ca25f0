"""Arrays whose memory comes back: a block returns to the pool when the last array on it dies.

A fresh large array costs a page fault per 4 kB; the same net run again, or on an image of another size, asks for much
the same blocks.  Blocks in use and blocks kept together never exceed the most that was ever in use at once.
"""

from __future__ import annotations

import math
import threading
import weakref

import numpy as np

SMALL = 1 << 16                       # bytes: below this NumPy's own allocator does as well
ALIGN = 64                            # a cache line, and the widest vector


class MemoryPool:
    """`empty` like NumPy's."""

    def __init__(self):
        self._free: list[np.ndarray] = []            # oldest first
        self._lock = threading.RLock()
        self.used = self.kept = self.peak = 0        # bytes

    def empty(self, shape, dtype) -> np.ndarray:
        """A C-contiguous array with any contents."""
        dtype = np.dtype(dtype)
        shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        size = math.prod(shape) * dtype.itemsize
        if size < SMALL:
            return np.empty(shape, dtype)
        block = self._take(size + ALIGN)
        start = -block.ctypes.data % ALIGN
        lease = _Lease(block[start : start + size].view(dtype).reshape(shape))
        weakref.finalize(lease, self._give_back, block).atexit = False
        return np.asarray(lease)

    def _take(self, size):
        with self._lock:
            fitting = [block for block in self._free if size <= block.nbytes <= size + size // 4]
            if fitting:
                block = min(fitting, key=lambda b: b.nbytes)
                self._free = [b for b in self._free if b is not block]
                self.kept -= block.nbytes
            else:
                step = 1 << max(12, size.bit_length() - 5)      # so that near sizes share blocks
                size = -(-size // step) * step
                self._shrink(max(self.peak, self.used + size) - self.used - size)
                block = np.empty(size, np.uint8)
            self.used += block.nbytes
            self.peak = max(self.peak, self.used)
            return block

    def _give_back(self, block):
        with self._lock:
            self.used -= block.nbytes
            self.kept += block.nbytes
            self._free.append(block)
            self._shrink(self.peak - self.used)

    def _shrink(self, most):
        """Let the oldest free blocks go until at most `most` bytes are kept."""
        while self._free and self.kept > most:
            self.kept -= self._free.pop(0).nbytes

    def clear(self) -> None:
        """Give the free blocks back to the system."""
        with self._lock:
            self._free, self.kept, self.peak = [], 0, self.used


class _Lease:
    """Owns a block on behalf of the arrays made from it: NumPy keeps the object that lends a buffer alive."""

    def __init__(self, array):
        self.array = array

    @property
    def __array_interface__(self):
        return self.array.__array_interface__
