"""The CPU backend: primitives with Numba kernels where they pay, the generic ones elsewhere."""

from __future__ import annotations

import numpy as np

from layers.backend.base import Backend
from layers.backend.cpu_conv import Convolution
from layers.backend.cpu_memory import MemoryPool
from layers.backend.cpu_threads import shared_pool

_memory = MemoryPool()


class CpuBackend(Backend):
    """float32 on all cores.  exact: convolve directly, never by a tile transform.  threads: None: all."""

    name = "cpu"

    def __init__(self, exact: bool = False, threads: int | None = None):
        super().__init__("float32")
        self.exact = exact
        self.pool = shared_pool(threads)
        self.threads = self.pool.threads
        self.memory = _memory
        self._convolution = Convolution(self.pool, self.memory, exact)

    # -- arrays --------------------------------------------------------------------------------

    def empty(self, shape, dtype=None):
        return self.memory.empty(shape, dtype or self.dtype)

    def zeros(self, shape, dtype=None):
        x = self.memory.empty(shape, dtype or self.dtype)
        x[...] = 0
        return x

    # -- convolution ---------------------------------------------------------------------------

    def conv_forward(self, x, w, b, geom, relu=None):
        if not _plain(x, w) or not x.size:
            return super().conv_forward(x, w, b, geom, relu)
        y = self._convolution.forward(x, w, _bias(b, len(w)), 1.0 if relu is None else relu, geom)
        return y

    def conv_backward_data(self, dy, w, geom, spatial, b=None, relu=None, diagonal=False):
        if not _plain(dy, w) or diagonal or not dy.size:
            return super().conv_backward_data(dy, w, geom, spatial, b, relu, diagonal)
        channels = w.shape[1] * geom.group
        return self._convolution.backward_data(dy, w, geom, channels, tuple(spatial), _bias(b, channels),
                                               1.0 if relu is None else relu)

    def conv_backward_weights(self, x, dy, geom, dw):
        if not _plain(x, dy, dw) or not dy.size:
            super().conv_backward_weights(x, dy, geom, dw)
        else:
            self._convolution.backward_weights(x, dy, geom, dw)


def _plain(*arrays):
    """Whether kernels can take these: float32 images in two dimensions, C-contiguous and writable as Numba types them."""
    return all(a.ndim == 4 and a.dtype == np.float32 and a.flags.c_contiguous and a.flags.writeable for a in arrays)


def _bias(b, n):
    return np.zeros(n, np.float32) if b is None else np.ascontiguousarray(b, np.float32).reshape(-1)
