"""The CPU backend: float32 arrays in pooled memory, and Numba kernels on a pool of threads.

Here is what a backend holds.  Primitives: the modules named as in reference/; a kernel (_name) stands below the
function that launches it.  accepts.py: what arrays kernels take; jit.py, compiler.py, code_cache.py: how they are
called, compiled and kept; processor.py: for what; threads/: how they run on several cores; allocator.py: the memory
pool; conv/: the algorithms of convolution.py; gemm*.py, simd*.py: the inner loops, written as LLVM vector code.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.contract import Capabilities
from demitasse.layers.backend.cpu.allocator import MAX_RECORDED_BYTES, MemoryPool, current
from demitasse.layers.backend.cpu.threads.pool import shared_pool
from demitasse.layers.backend.dispatch import provides

_memory = MemoryPool()


@provides("demitasse.layers.backend.cpu")
class CpuBackend:
    """float32 on all cores.  exact: convolve directly, never by a tile transform.  threads: None for all cores.

    record: let nets record passes.
    """

    name = "cpu"

    @property
    def xp(self):
        """NumPy; while this thread records, what refuses all that is asked of it."""
        return np if current.recorder is None else current.recorder.no_numpy

    def __init__(self, exact: bool = False, threads: int | None = None, record: bool = True):
        self.dtype = np.dtype(np.float32)
        self.exact = exact
        self.capabilities = Capabilities(
            writes_into_out=True,
            composes=not exact,
            repeats=not exact,
            records=record,
            recorded_bytes=MAX_RECORDED_BYTES,
            records_training=record,
        )
        self.pool = shared_pool(threads)
        self.threads = self.pool.threads
        self.memory = _memory
        self.seed(None)
