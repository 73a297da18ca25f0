"""The CPU backend: primitives with Numba kernels where they pay, the generic ones elsewhere."""

from __future__ import annotations

from layers.backend.base import Backend
from layers.backend.cpu_threads import shared_pool


class CpuBackend(Backend):
    """float32 on all cores.  exact: convolve directly, never by a tile transform.  threads: None: all."""

    name = "cpu"

    def __init__(self, exact: bool = False, threads: int | None = None):
        super().__init__("float32")
        self.exact = exact
        self.pool = shared_pool(threads)
        self.threads = self.pool.threads
