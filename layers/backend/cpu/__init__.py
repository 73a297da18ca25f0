"""The CPU backend: primitives with Numba kernels where they pay, the generic ones elsewhere."""

from __future__ import annotations

import itertools
import math

import numpy as np

from demitasse.layers.backend.contract import Capabilities
from demitasse.layers.backend.cpu import elementwise as cpu_elementwise
from demitasse.layers.backend.cpu import gemm as cpu_gemm
from demitasse.layers.backend.cpu import norm as cpu_norm
from demitasse.layers.backend.cpu import pooling as cpu_pool
from demitasse.layers.backend.cpu.allocator import MemoryPool
from demitasse.layers.backend.cpu.convolution import Convolution
from demitasse.layers.backend.cpu.threads.pool import shared_pool
from demitasse.layers.backend.reference import ReferenceBackend

FLOAT32 = np.dtype(np.float32)
UPDATE_BYTES = 1 << 20  # of all arrays of an update and a temporary one, which are to stay in a core's cache

_memory = MemoryPool()


class CpuBackend(ReferenceBackend):
    """float32 on all cores.  exact: convolve directly, never by a tile transform.  threads: None: all."""

    name = "cpu"
    capabilities = Capabilities(writes_into_out=True)

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

    def concatenate(self, xs, axis):
        if not _plain(*xs):
            return super().concatenate(xs, axis)
        shape = (*xs[0].shape[:axis], sum(x.shape[axis] for x in xs), *xs[0].shape[axis + 1 :])
        if math.prod(shape[:axis]) == 1 and _in_line(xs):
            return xs[0].base.reshape(shape)
        y = self.empty(shape)
        outer, lengths = math.prod(y.shape[:axis]), [math.prod(x.shape[axis:]) for x in xs]
        for x, start, length in zip(xs, itertools.accumulate([0, *lengths]), lengths, strict=False):
            self.pool.run(
                cpu_elementwise.place, 1, x.reshape(-1), y.reshape(-1), outer, length, start, y.size // max(outer, 1)
            )
        return y

    def describe(self):
        return [f"Threads: {self.threads}"]

    # -- convolution ---------------------------------------------------------------------------

    def conv_forward(self, x, w, b, geom, relu=None, out=None):
        if x.ndim != 4 or not _plain(x, w) or not x.size:
            return super().conv_forward(x, w, b, geom, relu)
        return self._convolution.forward(x, w, _bias(b, len(w)), 1.0 if relu is None else relu, geom, out)

    def conv_backward_data(self, dy, w, geom, spatial, b=None, relu=None, diagonal=False, out=None):
        if dy.ndim != 4 or not _plain(dy, w) or not dy.size or (diagonal and geom.dilation != (1, 1)):
            return super().conv_backward_data(dy, w, geom, spatial, b, relu, diagonal)
        channels = w.shape[1] * geom.group
        slope = 1.0 if relu is None else relu
        if diagonal:
            return self._convolution.backward_data_diagonal(dy, w, geom, tuple(spatial), _bias(b, channels), slope, out)
        return self._convolution.backward_data(dy, w, geom, channels, tuple(spatial), _bias(b, channels), slope, out)

    def conv_backward_weights(self, x, dy, geom, dw):
        if x.ndim != 4 or not _plain(x, dy, dw) or not dy.size:
            super().conv_backward_weights(x, dy, geom, dw)
        else:
            self._convolution.backward_weights(x, dy, geom, dw)

    def bias_backward(self, dy, db):
        if not _plain(dy, db):
            super().bias_backward(dy, db)
            return
        area = dy.size // max(1, dy.shape[0] * dy.shape[1])
        self.pool.run(cpu_elementwise.bias_backward, 1, dy.reshape(-1), len(dy), area, db.reshape(-1))

    def matmul(self, a, b, out=None, add=False, ta=False, tb=False):
        if not _plain(a, b) or not (out is None or _plain(out)) or not a.size or not b.size:
            return super().matmul(a, b, out, add, ta, tb)
        if out is None:
            out, add = self.empty((a.shape[1] if ta else a.shape[0], b.shape[0] if tb else b.shape[1])), False
        cpu_gemm.matmul(self.pool, self.memory, a, b, out, add, ta, tb)
        return out

    # -- elementwise ---------------------------------------------------------------------------

    def relu_forward(self, x, slope):
        if not _plain(x):
            return super().relu_forward(x, slope)
        y = self.empty(x.shape)
        self.pool.run(cpu_elementwise.relu_forward, 1, x.reshape(-1), np.float32(slope), y.reshape(-1))
        return y

    def relu_backward(self, dy, y, slope):
        if not _plain(dy, y):
            return super().relu_backward(dy, y, slope)
        dx = self.empty(dy.shape)
        self.pool.run(
            cpu_elementwise.relu_backward, 1, dy.reshape(-1), y.reshape(-1), np.float32(slope), dx.reshape(-1)
        )
        return dx

    def prelu_forward(self, x, slope):
        if not _plain(x, slope) or not x.size:
            return super().prelu_forward(x, slope)
        y = self.empty(x.shape)
        self.pool.run(cpu_elementwise.prelu_forward, 1, x.reshape(-1), slope.reshape(-1), y.reshape(-1), _area(x))
        return y

    def prelu_backward(self, dy, x, slope):
        if not _plain(dy, x, slope) or not x.size:
            return super().prelu_backward(dy, x, slope)
        dx = self.empty(x.shape)
        self.pool.run(
            cpu_elementwise.prelu_backward,
            1,
            dy.reshape(-1),
            x.reshape(-1),
            slope.reshape(-1),
            dx.reshape(-1),
            _area(x),
        )
        return dx

    def affine(self, x, centre, scale, shift):
        if not _plain(x, centre, scale, shift) or not x.size:
            return super().affine(x, centre, scale, shift)
        y = self.empty(x.shape)
        self.pool.run(cpu_elementwise.affine, 1, x.reshape(-1), centre, scale, shift, y.reshape(-1), _area(x))
        return y

    def dropout_backward(self, dy, mask, ratio):
        if not _plain(dy) or mask.dtype != bool or not mask.flags.c_contiguous or not mask.flags.writeable:
            return super().dropout_backward(dy, mask, ratio)
        dx = self.empty(dy.shape)
        self.pool.run(
            cpu_elementwise.dropout, 1, dy.reshape(-1), mask.reshape(-1), np.float32(1 / (1 - ratio)), dx.reshape(-1)
        )
        return dx

    # -- pooling -------------------------------------------------------------------------------

    def max_pool_forward(self, x, geom):
        if not _plain(x):
            return super().max_pool_forward(x, geom)
        y, index = self.empty((*x.shape[:2], *geom.out)), self.empty((*x.shape[:2], *geom.out), np.int32)
        self.pool.run(
            cpu_pool.max_forward,
            1,
            x.reshape(-1),
            y.reshape(-1),
            index.reshape(-1),
            _pool_sizes(x.shape, geom),
            *cpu_pool.vector_window(geom),
        )
        return y, index

    def max_pool(self, x, geom):
        side, step = cpu_pool.vector_window(geom)
        if not _plain(x) or not step:
            return super().max_pool(x, geom)
        y = self.empty((*x.shape[:2], *geom.out))
        self.pool.run(cpu_pool.max_values, 1, x.reshape(-1), y.reshape(-1), _pool_sizes(x.shape, geom), side, step)
        return y

    def max_pool_backward(self, dy, index, geom, spatial):
        if not _plain(dy) or index.dtype != np.int32 or not index.flags.c_contiguous or not index.flags.writeable:
            return super().max_pool_backward(dy, index, geom, spatial)
        dx = self.empty((*dy.shape[:2], *spatial))
        self.pool.run(
            cpu_pool.max_backward,
            1,
            dy.reshape(-1),
            index.reshape(-1),
            dx.reshape(-1),
            dy.shape[0] * dy.shape[1],
            geom.out[0] * geom.out[1],
            spatial[0] * spatial[1],
        )
        return dx

    def ave_pool_forward(self, x, geom):
        if not _plain(x):
            return super().ave_pool_forward(x, geom)
        y = self.empty((*x.shape[:2], *geom.out))
        self.pool.run(
            cpu_pool.ave_forward,
            1,
            x.reshape(-1),
            y.reshape(-1),
            _pool_sizes(x.shape, geom),
            *_pool_sides(geom, x.shape[2:]),
        )
        return y

    def ave_pool_backward(self, dy, geom, spatial):
        if not _plain(dy):
            return super().ave_pool_backward(dy, geom, spatial)
        dx = self.empty((*dy.shape[:2], *spatial))
        self.pool.run(
            cpu_pool.ave_backward,
            1,
            dy.reshape(-1),
            dx.reshape(-1),
            _pool_sizes(dx.shape, geom),
            *_pool_sides(geom, spatial),
        )
        return dx

    # -- normalisation and losses --------------------------------------------------------------

    def lrn_forward(self, x, size, alpha, beta, k):
        if not _plain(x):
            return super().lrn_forward(x, size, alpha, beta, k)
        y, scale = self.empty(x.shape), self.empty(x.shape)
        self.pool.run(
            cpu_norm.lrn_forward,
            1,
            x.reshape(-1),
            y.reshape(-1),
            scale.reshape(-1),
            *_split(x.shape, 1),
            size,
            np.float32(alpha),
            np.float32(beta),
            np.float32(k),
        )
        return y, scale

    def lrn_backward(self, dy, x, y, scale, size, alpha, beta):
        if not _plain(dy, x, y, scale):
            return super().lrn_backward(dy, x, y, scale, size, alpha, beta)
        dx = self.empty(x.shape)
        arrays = [a.reshape(-1) for a in (dy, x, y, scale, dx)]
        self.pool.run(cpu_norm.lrn_backward, 1, *arrays, *_split(x.shape, 1), size, np.float32(alpha), np.float32(beta))
        return dx

    def softmax_forward(self, x, axis):
        if not _plain(x) or _split(x.shape, axis)[2] < 16:
            return super().softmax_forward(x, axis)
        y = self.empty(x.shape)
        self.pool.run(cpu_norm.softmax_forward, 1, x.reshape(-1), y.reshape(-1), *_split(x.shape, axis))
        return y

    def softmax_loss_backward(self, prob, labels, axis, ignore, scale, weights=None):
        if not _plain(prob):
            return super().softmax_loss_backward(prob, labels, axis, ignore, scale, weights)
        labels, valid = self.checked_labels(prob.shape, labels, axis, ignore)
        factor = (valid * scale).astype(np.float32)
        if weights is not None:
            factor *= weights[labels]
        dx = self.empty(prob.shape)
        self.pool.run(
            cpu_norm.softmax_loss_backward,
            1,
            prob.reshape(-1),
            labels.astype(np.int32).reshape(-1),
            factor.reshape(-1),
            dx.reshape(-1),
            *_split(prob.shape, axis),
        )
        return dx

    # -- update --------------------------------------------------------------------------------

    def update(self, program, tensors):
        """In pieces that stay in a core's cache, array expressions run at the memory's speed; one loop over all arrays
        is ten times slower, since addresses that are a multiple of 4096 bytes apart hinder each other."""
        for arrays, scalars in tensors:
            if not _plain(*arrays):
                super().update(program, [(arrays, scalars)])
                continue
            flat = [array.reshape(-1) for array in arrays]
            piece = max(1, UPDATE_BYTES // (4 * (len(flat) + 1)))
            for i in range(0, flat[0].size, piece):
                super().update(program, [([array[i : i + piece] for array in flat], scalars)])


def _plain(*arrays):
    """Whether kernels take these: float32, C-contiguous, and writable (others are another type to Numba)."""
    for a in arrays:
        flags = a.flags
        if a.dtype != FLOAT32 or not flags.c_contiguous or not flags.writeable:
            return False
    return True


def _in_line(xs):
    """Whether the arrays lie one right after the other in memory and make up all of the array that they are part of."""
    whole = xs[0].base
    if not isinstance(whole, np.ndarray) or not _plain(whole) or whole.size != sum(x.size for x in xs):
        return False
    place = whole.__array_interface__["data"][0]
    for x in xs:
        if x.base is not whole or x.__array_interface__["data"][0] != place:
            return False
        place += x.nbytes
    return True


def _bias(b, n):
    if b is None:
        return np.zeros(n, np.float32)
    return (b if _plain(b) else np.ascontiguousarray(b, np.float32)).reshape(-1)


def _area(x):
    return math.prod(x.shape[2:])


def _split(shape, axis):
    """(outer, channels, inner)"""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def _pool_sizes(shape, geom):
    return (shape[0] * shape[1], *shape[2:], *geom.out, *geom.kernel, *geom.stride, *geom.pad)


def _pool_sides(geom, spatial):
    return [np.asarray(sides, np.float32) for sides in geom.areas(spatial)]
