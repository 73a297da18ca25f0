"""Which kernel computes a convolution: tile transform or direct, and in which pieces."""

from __future__ import annotations

import functools

import numpy as np

from layers.backend import cpu_direct, cpu_winograd, cpu_winograd_back
from layers.backend.base import ConvGeometry
from layers.backend.cpu_direct import Direct

LINES = 8192                                # floats of scratch per thread


def flat(shapes, threads):
    """Shapes of workspaces with None filled in: the number of threads."""
    return [tuple(threads if n is None else n for n in shape) for shape in shapes]


@functools.lru_cache(4096)
def tile_size(c_in: int, k_out: int, geom: ConvGeometry, out: tuple[int, int]) -> int:
    """m of the tile transform F(m x m, r x r) that is expected to be fastest; 0: convolve directly."""
    r = geom.kernel[0]
    if geom.kernel != (r, r) or r not in (3, 5, 7) or geom.stride != (1, 1) or geom.dilation != (1, 1):
        return 0
    if geom.group != 1 or min(c_in, k_out) < 16 or max(geom.pad) >= r:
        return 0

    def cost(m):                            # in products of one input, output and pixel
        freqs, tiles = (m + r - 1) ** 2, -(-out[0] // m) * -(-out[1] // m)
        return c_in * k_out * freqs * (tiles + 24) + 60 * (c_in + k_out) * freqs * tiles

    choices = {m: cost(m) for m in (2, 4, 6) if m + r - 1 <= 8}
    best = min(choices, key=choices.get)
    direct = c_in * k_out * r * r * out[0] * out[1] + 60 * c_in * r * r * out[0] * out[1] // 8
    return best if choices[best] < 0.9 * direct else 0


class Convolution:
    """Runs one geometry of convolution with a pool's threads and a memory pool's workspace."""

    def __init__(self, pool, memory, exact):
        self.pool, self.memory, self.exact = pool, memory, exact

    def _workspace(self, shapes):
        return [self.memory.empty(shape, np.float32) for shape in flat(shapes, self.pool.threads)]

    def _tile(self, c_in, k_out, geom, out):
        return 0 if self.exact else tile_size(c_in, k_out, geom, tuple(out))

    def forward(self, x, w, bias, slope, geom):
        n, c, height, width = x.shape
        k, out = len(w), geom.out_size(x.shape[2:])
        y = self.memory.empty((n, k, *out), np.float32)
        m = self._tile(c, k, geom, out)
        if m:
            taps = geom.kernel[0] ** 2
            self._winograd(x, w, bias, slope, y, geom.pad, (c * taps, taps, 0), m, geom.kernel[0])
            return y
        direct = Direct(x.shape, k, geom, out)
        phases, steps, shapes = direct.forward()
        self.pool.run(cpu_direct.forward, phases, x.reshape(-1), w.reshape(-1), bias, np.float32(slope), y.reshape(-1),
                      direct.sizes, steps, *self._workspace(shapes))
        return y

    def _winograd(self, x, w, bias, slope, y, pad, kernels, m, r):
        n, c, height, width = x.shape
        k, *out = y.shape[1:]
        steps = cpu_winograd.Steps(c, k, out, m, r)
        threads = self.pool.threads
        workspace = self._workspace([(steps.u[0] or threads, steps.u[1]), (steps.v,), (threads, steps.q),
                                     (threads, LINES)])
        self.pool.run(cpu_winograd.forward, 1 + 2 * n * steps.bands, x.reshape(-1), w.reshape(-1), bias,
                      np.float32(slope), y.reshape(-1), (n, c, height, width, k, *out, *pad, *kernels),
                      steps.tuple(), *workspace, (0,) * m, (0,) * r)

    def backward_data(self, dy, w, geom, channels, spatial, bias, slope):
        n, k = dy.shape[:2]
        dx = self.memory.empty((n, channels, *spatial), np.float32)
        r = geom.kernel[0]
        m = self._tile(k, channels, geom, spatial)
        if m and r == 3:
            self._winograd(dy, w, bias, slope, dx, tuple(r - 1 - p for p in geom.pad), (r * r, channels * r * r, 1), m, r)
            return dx
        if m and slope == 1 and not bias.any():
            m = 8 + 1 - r if r > 3 else m
            steps = cpu_winograd_back.DataSteps(n, channels, k, dy.shape[2:], m, r)
            self.pool.run(cpu_winograd_back.backward_data, steps.phases, dy.reshape(-1), w.reshape(-1), dx.reshape(-1),
                          (n, channels, *spatial, k, *dy.shape[2:], *geom.pad), steps.steps,
                          *self._workspace([*steps.shapes, (None, LINES)]), (0,) * m, (0,) * r)
            return dx
        direct = Direct(dx.shape, k, geom, dy.shape[2:])
        phases, steps, shapes = direct.backward_data()
        self.pool.run(cpu_direct.backward_data, phases, dy.reshape(-1), w.reshape(-1), bias, np.float32(slope),
                      dx.reshape(-1), direct.sizes, steps, *self._workspace(shapes))
        return dx

    def backward_weights(self, x, dy, geom, dw):
        n, c, height, width = x.shape
        k, *out = dy.shape[1:]
        m = self._tile(c, k, geom, out)
        if m:
            r = geom.kernel[0]
            steps = cpu_winograd_back.WeightSteps(n, c, k, out, m, r)
            self.pool.run(cpu_winograd_back.backward_weights, steps.phases, x.reshape(-1), dy.reshape(-1),
                          dw.reshape(-1), (n, c, height, width, k, *out, *geom.pad), steps.steps,
                          *self._workspace([*steps.shapes, (None, LINES)]), (0,) * m, (0,) * r)
            return
        direct = Direct(x.shape, k, geom, out)
        phases, steps, shapes = direct.backward_weights()
        self.pool.run(cpu_direct.backward_weights, phases, x.reshape(-1), dy.reshape(-1), dw.reshape(-1), direct.sizes,
                      steps, *self._workspace(shapes))
