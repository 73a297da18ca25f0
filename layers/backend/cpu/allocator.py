"""Arrays whose memory comes back: a block returns to the pool when the last array on it dies.

A fresh large array costs a page fault per 4 kB.  Here blocks are cut from a few large arenas, at the lowest place that
is free, and neighbours that are free grow together again: so the next layer, iteration or image of another size finds
memory that is already there, and no more of an arena is ever touched than was once in use.

Where one arena is enough, a block rather waits for another array of its size: in a small net each array then has the
same place in every iteration, and each part of it the same thread.  Where cores share no cache (on different
CCXs or NUMA nodes), writing where another core has been takes longer than most of what a small net does.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import threading
import weakref

import numpy as np

SMALL = 1 << 14  # bytes: below this NumPy's own allocator does as well
ALIGN = 4096
ARENA = 1 << 26
MAX_RECORDED_BYTES = 1 << 26  # of arrays alive at once: larger layers take so long that nobody notices Python

_madvise = ctypes.CDLL(None).madvise if hasattr(mmap, "MADV_DONTNEED") and hasattr(os, "sched_setaffinity") else None


class _Current(threading.local):
    """recorder: what takes in whatever this thread launches and allocates (recording.py); None: nothing does."""

    recorder = None


current = _Current()


def unrecorded(function, *args):
    """function(*args); what it does is not recorded.

    Not a context manager made of a generator: one that an interrupt leaves half way records again when it is collected.
    """
    recorder, current.recorder = current.recorder, None
    try:
        return function(*args)
    finally:
        current.recorder = recorder


def address_of(x: np.ndarray) -> int:
    """Where the first element lies."""
    return x.__array_interface__["data"][0]


class Arena:
    """A stretch of memory of `size` bytes and what of it is free: disjoint, sorted (start, end)."""

    def __init__(self, size: int):
        memory = np.empty(size + ALIGN, np.uint8)
        skip = -memory.ctypes.data % ALIGN
        self.memory = memory[skip : skip + size].view(_Lease)
        self.address = self.memory.ctypes.data
        self.free = [(0, size)]

    @property
    def empty(self) -> bool:
        """Whether no block is in use."""
        return self.free == [(0, self.memory.nbytes)]

    def take(self, size: int) -> int | None:
        """The start of a block of `size` bytes, cut off the first free stretch that is large enough; or None."""
        for i, (start, end) in enumerate(self.free):
            if end - start >= size:
                self.free[i : i + 1] = [(start + size, end)] if end - start > size else []
                return start
        return None

    def give_back(self, start: int, end: int) -> None:
        """Free the block from `start` to `end`, and join it with what is free beside it."""
        i = 0
        while i < len(self.free) and self.free[i][0] < start:
            i += 1
        if i < len(self.free) and self.free[i][0] == end:
            end = self.free.pop(i)[1]
        if i and self.free[i - 1][1] == start:
            i -= 1
            start = self.free.pop(i)[0]
        self.free.insert(i, (start, end))


class MemoryPool:
    """`empty` like NumPy's.  used, peak: bytes of the blocks in use now and at most."""

    def __init__(self, waits: bool = True):
        """waits: whether blocks wait for arrays of their size."""
        self._waits, self._arenas = waits, []
        self._spare: dict[int, list[tuple[Arena, int, int]]] = {}  # size: blocks
        self._lock = threading.RLock()
        self.used = self.peak = 0
        _pools.add(self)

    def forked(self):
        """In a forked process: another thread may have been at these lists, which then are half changed and locked."""
        self._lock, self._arenas, self._spare = threading.RLock(), [], {}

    def empty(self, shape, dtype) -> np.ndarray:
        """A C-contiguous array of that shape and type, with any contents."""
        if current.recorder is not None:
            return current.recorder.empty(shape, dtype)
        return self.cut(shape, dtype, SMALL)

    def cut(self, shape, dtype, least: int) -> np.ndarray:
        """An array of that shape, from this pool if it has `least` bytes."""
        dtype = np.dtype(dtype)
        shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
        bytes_needed = int(math.prod(shape)) * dtype.itemsize
        if bytes_needed < least:
            return np.empty(shape, dtype)
        arena, start, end = self._take(-(-bytes_needed // ALIGN) * ALIGN)
        lease = arena.memory[start:end]
        lease.block = self, arena, start, end
        return np.ndarray(shape, dtype, lease)

    def _take(self, size):
        with self._lock:
            self.used += size
            self.peak = max(self.peak, self.used)
            if self._spare.get(size):
                return self._spare[size].pop()
            block = self._cut(size)
            if block is None:
                self._merge_spare()
                block = self._cut(size)
            if block is None:
                self.clear()
                total = sum(arena.memory.nbytes for arena in self._arenas)
                self._arenas.append(Arena(max(size, ARENA, total // 2)))
                block = self._cut(size)
            return block

    def _cut(self, size):
        """(arena, start, end) of a block; None where no stretch is large enough."""
        for arena in self._arenas:
            start = arena.take(size)
            if start is not None:
                return arena, start, start + size
        return None

    def _give_back(self, arena, start, end):
        with self._lock:
            self.used -= end - start
            if self._waits and len(self._arenas) == 1:
                self._spare.setdefault(end - start, []).append((arena, start, end))
            else:
                arena.give_back(start, end)

    def _merge_spare(self):
        while self._spare:
            _, blocks = self._spare.popitem()
            while blocks:
                arena, start, end = blocks.pop()  # an interrupt here loses it, and nobody gets it twice
                arena.give_back(start, end)

    def owns(self, x: np.ndarray) -> bool:
        """Whether the array lies in this pool."""
        address = address_of(x)
        return any(0 <= address - arena.address < arena.memory.nbytes for arena in self._arenas)

    def clear(self) -> None:
        """Give arenas that nothing uses back to the system."""
        with self._lock:
            self._merge_spare()
            self._arenas = [arena for arena in self._arenas if not arena.empty]

    def trim(self) -> None:
        """Give all that nothing uses back to the system, where it takes parts of arenas."""
        with self._lock:
            self.clear()
            for arena in self._arenas if _madvise else ():
                for start, end in arena.free:
                    _madvise(ctypes.c_void_p(arena.address + start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


_pools: weakref.WeakSet[MemoryPool] = weakref.WeakSet()


def _forked():
    for pool in list(_pools):
        pool.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class _Lease(np.ndarray):
    """The memory of a block, owned on behalf of the arrays made from it: it is the `base` that they keep alive, since
    NumPy looks through bases of an array's own type only."""

    block = None  # (pool, arena, start, end); None: not lent
    maker = 0  # which recording it was lent to

    def give_back(self):
        """Let the block be cut again, also where arrays are still on it."""
        block, self.block = self.block, None
        if block is not None:
            pool, arena, start, end = block
            pool._give_back(arena, start, end)

    def __del__(self):
        self.give_back()


def lease_of(x: np.ndarray) -> _Lease | None:
    """The memory of the block that an array lies in, if one is lent for it."""
    while x is not None and type(x) is not _Lease:
        x = getattr(x, "base", None)
    return x if x is not None and x.block is not None else None
