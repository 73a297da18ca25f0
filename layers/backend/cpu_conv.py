"""Which kernel computes a convolution: tile transform or direct, and in which pieces."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

from layers.backend import cpu_border, cpu_direct, cpu_direct_back, cpu_strided, cpu_winograd, cpu_winograd_back
from layers.backend.base import ConvGeometry
from layers.backend.cpu_direct import Direct
from layers.backend.cpu_product import worked

TILES = {3: (2, 4, 6), 4: (2, 4), 5: (2, 4), 6: (2, 3), 7: (2,)}  # side of the kernel: sides of output tiles


def _tile_cost(c_in, k_out, out, m, r):
    """Of the products and the three transforms, as measured, in products of one input, output and pixel."""
    freqs, tiles_y, tiles_x = (m + r - 1) ** 2, -(-out[0] // m), -(-out[1] // m)
    groups = tiles_y * -(-tiles_x // 16)
    return freqs * (c_in * k_out * (worked(tiles_y * tiles_x) + 9) + (400 * c_in + 40 * m * k_out) * groups)


def _direct_cost(c_in, k_out, geom, out):
    return 1.1 * c_in * k_out * math.prod(geom.kernel) * out[0] * (out[1] + 2 * geom.pad[1] // geom.stride[1])


def _fastest_tile(c_in, k_out, r, out, limit):
    """m of the tile transform with the least cost; 0 where that is not below the limit."""
    if r not in TILES or c_in < 12 or k_out < 16:
        return 0
    choices = {m: _tile_cost(c_in, k_out, out, m, r) for m in TILES[r]}
    best = min(choices, key=choices.get)
    return best if choices[best] < 0.9 * limit else 0


@functools.lru_cache(4096)
def tile_size(c_in: int, k_out: int, geom: ConvGeometry, out: tuple[int, int]) -> int:
    """m of the tile transform F(m x m, r x r) that is expected to be fastest; 0: convolve directly.

    c_in, k_out: of one group.
    """
    r = geom.kernel[0]
    if geom.kernel != (r, r) or geom.stride != (1, 1) or geom.dilation != (1, 1) or max(geom.pad) >= r:
        return 0
    return _fastest_tile(c_in, k_out, r, out, _direct_cost(c_in, k_out, geom, out))


@functools.lru_cache(4096)
def unstrided(c_in: int, k_out: int, geom: ConvGeometry, out: tuple[int, int]) -> ConvGeometry | None:
    """The geometry without a stride (see cpu_strided) where a tile transform over it is expected to be fastest."""
    over_phases = cpu_strided.unstrided(geom)
    if over_phases is None:
        return None
    phases, limit = geom.stride[0] ** 2, 0.7 * _direct_cost(c_in, k_out, geom, out)  # sorting takes its time too
    return over_phases if _fastest_tile(c_in * phases, k_out, over_phases.kernel[0], out, limit) else None


@dataclass
class Way:
    """How a convolution is computed: over phases, with another geometry; else by a tile transform, or directly."""

    out: tuple[int, int]
    over_phases: ConvGeometry | None
    tile: int
    steps: cpu_winograd.Steps | tuple | None
    may_repeat: bool  # whether runs of equal lines in the image make runs of equal outputs


@functools.lru_cache(4096)
def way(x_shape: tuple[int, ...], k_out: int, geom: ConvGeometry, exact: bool, threads: int) -> Way:
    (c_in, *size), side, group = x_shape[1:], geom.kernel[0], geom.group
    out = geom.out_size(size)
    may_repeat = not exact and side > 1 and geom.kernel == (side, side) and geom.stride == geom.dilation == (1, 1)
    over_phases = None if exact else unstrided(c_in // group, k_out // group, geom, out)
    if over_phases:
        return Way(out, over_phases, 0, None, may_repeat)
    m = 0 if exact else tile_size(c_in // group, k_out // group, geom, out)
    if m:
        steps = cpu_winograd.Steps(c_in // group, k_out // group, out, m, side, threads)
    else:
        steps = cpu_direct.forward_steps(x_shape, k_out, geom, out)
    return Way(out, None, m, steps, may_repeat)


NOTHING = np.empty(0, np.float32)


class Convolution:
    """Runs one geometry of convolution with a pool's threads and a memory pool's workspace."""

    def __init__(self, pool, memory, exact):
        self.pool, self.memory, self.exact = pool, memory, exact

    def _empty(self, floats):
        return self.memory.empty(floats, np.float32) if floats else NOTHING

    def _output(self, shape, out):
        """An array for the result: `out` where that is given."""
        return self.memory.empty(shape, np.float32) if out is None else out.reshape(shape)

    def _tile(self, c_in, k_out, geom, out):
        return 0 if self.exact else tile_size(c_in // geom.group, k_out // geom.group, geom, tuple(out))

    def _unstrided(self, c_in, k_out, geom, out):
        return None if self.exact else unstrided(c_in // geom.group, k_out // geom.group, geom, tuple(out))

    @staticmethod
    def _groups(geom, x, w, bias, y):
        """Contiguous pieces (x, w, bias, y) of each image and group; x and y may be either side."""
        if geom.group == 1:
            return [(x, w, bias, y)]
        c, k, o = (n // geom.group for n in (x.shape[1], len(w), y.shape[1]))
        return [
            (
                x[i : i + 1, g * c : (g + 1) * c],
                w[g * k : (g + 1) * k],
                None if bias is None else bias[g * o : (g + 1) * o],
                y[i : i + 1, g * o : (g + 1) * o],
            )
            for i in range(len(x))
            for g in range(geom.group)
        ]

    def _way(self, x_shape, k_out, geom):
        return way(x_shape, k_out, geom, self.exact, self.pool.threads)

    def forward(self, x, w, bias, slope, geom, out=None):
        how = self._way(x.shape, len(w), geom)
        alike = cpu_border.find(self.pool, x, geom.pad, geom.kernel[0]) if how.may_repeat else None
        if not alike:
            return self._forward(how, x, w, bias, slope, geom, out)
        rows, columns = alike
        small = cpu_border.small_image(self.pool, self.memory, x, rows, columns)
        geom = replace(geom, pad=(rows.pad, columns.pad))
        small = self._forward(self._way(small.shape, len(w), geom), small, w, bias, slope, geom)
        return cpu_border.whole_outputs(self.pool, self.memory, small, rows, columns, out)

    def _forward(self, how, x, w, bias, slope, geom, out=None):
        if how.over_phases:
            x = cpu_strided.phases_of(self.pool, self.memory, x, geom, how.out)
            w, geom = cpu_strided.phases_of_kernels(w, geom.stride[0]), how.over_phases
            how = self._way(x.shape, len(w), geom)
        y = self._output((x.shape[0], len(w), *how.out), out)
        if how.tile:
            kernels = w[0].size, w[0, 0].size, 0
            for part in self._groups(geom, x, w, bias, y):
                self._winograd(how, *part[:3], slope, part[3], geom.pad, kernels, geom.kernel[0])
        else:
            self._direct(how.steps, x, w, w[0].size, 1, bias, slope, y)
        return y

    def _direct(self, how, x, w, w_row, w_step, bias, slope, y):
        phases, sizes, steps, places, frame, scratch = how
        x = x.reshape(-1)
        self.pool.run(
            cpu_direct.forward, phases, x, w.reshape(-1), w_row, w_step, bias, np.float32(slope), y.reshape(-1), sizes,
            steps, places, self._empty(frame) if frame else x, scratch=scratch,
        )  # fmt: skip

    def _winograd(self, how, x, w, bias, slope, y, pad, kernels, r):
        steps, m = how.steps, how.tile
        self.pool.run(
            cpu_winograd.forward, 1 + 2 * len(x) * steps.bands, x.reshape(-1), w.reshape(-1), bias, np.float32(slope),
            y.reshape(-1), (*x.shape, *y.shape[1:], *pad, *kernels), steps.steps, self._empty(steps.u),
            self._empty(steps.v), (0,) * m, (0,) * r, scratch=steps.scratch,
        )  # fmt: skip

    def backward_data(self, dy, w, geom, channels, spatial, bias, slope, out=None):
        n, k = dy.shape[:2]
        dx = self._output((n, channels, *spatial), out)
        if geom.is_pointwise:  # a convolution with the transposed weights
            self._direct(self._way(dy.shape, channels, geom).steps, dy, w, 1, w.shape[1], bias, slope, dx)
            return dx
        r = geom.kernel[0]
        m = self._tile(k, channels, geom, spatial)
        if m and r == 3:  # a convolution with the kernels turned round
            turned = replace(geom, pad=tuple(r - 1 - p for p in geom.pad))
            how, kernels = self._way(dy.shape, channels, turned), (r * r, w.shape[1] * r * r, 1)
            if how.tile:
                for part in self._groups(geom, dy, w, bias, dx):
                    self._winograd(how, *part[:3], slope, part[3], turned.pad, kernels, r)
                return dx
        if m and slope == 1 and not bias.any():
            for part in self._groups(geom, dy, w, None, dx):
                self._adjoint(*part, geom, TILES[r][-1], r)
            return dx
        direct = Direct(dx.shape, k, geom, dy.shape[2:])
        phases, steps, v, scratch = direct.backward_data()
        self.pool.run(
            cpu_direct_back.backward_data,
            phases,
            dy.reshape(-1),
            w.reshape(-1),
            bias,
            np.float32(slope),
            dx.reshape(-1),
            direct.sizes,
            steps,
            self._empty(v),
            scratch=scratch,
        )
        return dx

    def backward_data_diagonal(self, dy, w, geom, spatial, bias, slope, out=None):
        dx = self._output((*dy.shape[:2], *spatial), out)
        direct = Direct(dx.shape, len(w), geom, dy.shape[2:])
        self.pool.run(
            cpu_direct_back.backward_data_diagonal,
            1,
            dy.reshape(-1),
            w.reshape(-1),
            bias,
            np.float32(slope),
            dx.reshape(-1),
            direct.sizes,
        )
        return dx

    def _adjoint(self, dy, w, _, dx, geom, m, r):
        n, k, *out = dy.shape
        channels, *spatial = dx.shape[1:]
        steps = cpu_winograd_back.DataSteps(n, channels, k, out, m, r)
        self.pool.run(
            cpu_winograd_back.backward_data,
            steps.phases,
            dy.reshape(-1),
            w.reshape(-1),
            dx.reshape(-1),
            (n, channels, *spatial, k, *out, *geom.pad),
            steps.steps,
            *map(self._empty, steps.shapes),
            (0,) * m,
            (0,) * r,
            scratch=steps.scratch,
        )

    def backward_weights(self, x, dy, geom, dw):
        c, k, out = x.shape[1], dy.shape[1], dy.shape[2:]
        over_phases = self._unstrided(c, k, geom, out)
        if over_phases:
            x = cpu_strided.phases_of(self.pool, self.memory, x, geom, out)
            gradient = np.zeros((k, x.shape[1] // geom.group, *over_phases.kernel), np.float32)
            self.backward_weights(x, dy, over_phases, gradient)
            cpu_strided.add_phases_to_kernels(gradient, dw, geom.stride[0])
            return
        m = self._tile(c, k, geom, out)
        if m:
            for part_x, part_dw, _, part_dy in self._groups(geom, x, dw, None, dy):
                self._weights(part_x, part_dy, part_dw, geom.pad, m, geom.kernel[0])
            return
        direct = Direct(x.shape, k, geom, out)
        phases, steps, u, v, scratch = direct.backward_weights()
        self.pool.run(
            cpu_direct_back.backward_weights,
            phases,
            x.reshape(-1),
            dy.reshape(-1),
            dw.reshape(-1),
            direct.sizes,
            steps,
            self._empty(u),
            self._empty(v),
            scratch=scratch,
        )

    def _weights(self, x, dy, dw, pad, m, r):
        n, c, height, width = x.shape
        k, *out = dy.shape[1:]
        steps = cpu_winograd_back.WeightSteps(n, c, k, out, m, r)
        self.pool.run(
            cpu_winograd_back.backward_weights,
            steps.phases,
            x.reshape(-1),
            dy.reshape(-1),
            dw.reshape(-1),
            (n, c, height, width, k, *out, *pad),
            steps.steps,
            *map(self._empty, steps.shapes),
            (0,) * m,
            (0,) * r,
            scratch=steps.scratch,
        )
