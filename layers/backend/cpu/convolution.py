"""Convolutions in all directions: each by the kernel that cpu_way chooses, with a pool's threads and memory."""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.accepts import floats
from demitasse.layers.backend.cpu.conv import direct_backward as cpu_direct_back
from demitasse.layers.backend.cpu.conv import direct_forward as cpu_direct
from demitasse.layers.backend.cpu.conv import polyphase as cpu_strided
from demitasse.layers.backend.cpu.conv import repeated_rows as cpu_border
from demitasse.layers.backend.cpu.conv import winograd_backward as cpu_winograd_back
from demitasse.layers.backend.cpu.conv import winograd_forward as cpu_winograd
from demitasse.layers.backend.cpu.conv.algorithm import TILES, tile_size, way
from demitasse.layers.backend.cpu.conv.direct_forward import Direct
from demitasse.layers.backend.cpu.gemm_microkernel import sum_of
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work
from demitasse.layers.backend.dispatch import takes

NOTHING = np.empty(0, np.float32)


@takes(lambda x, w, b, geom, relu=None, out=None: x.ndim == 4 and floats(x, w) and x.size > 0)
def conv_forward(be, x, w, b, geom, relu=None, out=None):
    return _convolution(be).forward(x, w, _bias(b, len(w)), 1.0 if relu is None else relu, geom, out)


@takes(
    lambda dy, w, geom, spatial, b=None, relu=None, diagonal=False, out=None: (
        dy.ndim == 4 and floats(dy, w) and dy.size > 0 and not (diagonal and geom.dilation != (1, 1))
    )
)
def conv_backward_data(be, dy, w, geom, spatial, b=None, relu=None, diagonal=False, out=None):
    channels, slope, spatial = w.shape[1] * geom.group, 1.0 if relu is None else relu, tuple(spatial)
    if diagonal:
        return _convolution(be).backward_data_diagonal(dy, w, geom, spatial, _bias(b, channels), slope, out)
    return _convolution(be).backward_data(dy, w, geom, channels, spatial, _bias(b, channels), slope, out)


@takes(lambda x, dy, geom, dw: x.ndim == 4 and floats(x, dy, dw) and dy.size > 0)
def conv_backward_weights(be, x, dy, geom, dw):
    _convolution(be).backward_weights(x, dy, geom, dw)


@takes(lambda dy, db: floats(dy, db))
def bias_backward(be, dy, db):
    area = dy.size // max(1, dy.shape[0] * dy.shape[1])
    be.pool.run(_bias_backward, 1, dy.reshape(-1), len(dy), area, db.reshape(-1))


@kernel
def _bias_backward(state, dy, n_images, area, db):
    """db[c] += the sum of dy (N, C, area): runs of 4096 in float32, those in float64."""
    me = enter(state)
    channels = db.size
    for c in work(state, me, 0, channels):
        total = 0.0
        for image in range(n_images):
            plane = (image * channels + c) * area
            for i in range(0, area, 4096):
                total += sum_of(dy, plane + i, min(4096, area - i))
        db[c] += np.float32(total)


def _convolution(be):
    return Convolution(be.pool, be.memory, be.exact)


def _bias(b, n):
    if b is None:
        return np.zeros(n, np.float32)
    return (b if floats(b) else np.ascontiguousarray(b, np.float32)).reshape(-1)


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
        geom = geom._replace(pad=(rows.pad, columns.pad))
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
            cpu_direct.forward,
            phases,
            x,
            w.reshape(-1),
            w_row,
            w_step,
            bias,
            np.float32(slope),
            y.reshape(-1),
            sizes,
            steps,
            places,
            self._empty(frame) if frame else x,
            scratch=scratch,
        )

    def _winograd(self, how, x, w, bias, slope, y, pad, kernels, r):
        steps, m = how.steps, how.tile
        self.pool.run(
            cpu_winograd.forward,
            1 + 2 * len(x) * steps.bands,
            x.reshape(-1),
            w.reshape(-1),
            bias,
            np.float32(slope),
            y.reshape(-1),
            (*x.shape, *y.shape[1:], *pad, *kernels),
            steps.steps,
            self._empty(steps.u),
            self._empty(steps.v),
            (0,) * m,
            (0,) * r,
            scratch=steps.scratch,
        )

    def backward_data(self, dy, w, geom, channels, spatial, bias, slope, out=None):
        n, k = dy.shape[:2]
        dx = self._output((n, channels, *spatial), out)
        if geom.is_pointwise:  # a convolution with the transposed weights
            self._direct(self._way(dy.shape, channels, geom).steps, dy, w, 1, w.shape[1], bias, slope, dx)
            return dx
        r = geom.kernel[0]
        m = self._tile(k, channels, geom, spatial)
        if m and r == 3:  # a convolution with the kernels turned round
            turned = geom._replace(pad=tuple(r - 1 - p for p in geom.pad))
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
        k, how = dy.shape[1], self._way(x.shape, dy.shape[1], geom)
        if how.over_phases:
            x = cpu_strided.phases_of(self.pool, self.memory, x, geom, how.out)
            gradient = np.zeros((k, x.shape[1] // geom.group, *how.over_phases.kernel), np.float32)
            self.backward_weights(x, dy, how.over_phases, gradient)
            cpu_strided.add_phases_to_kernels(gradient, dw, geom.stride[0])
            return
        if how.tile:
            for part_x, part_dw, _, part_dy in self._groups(geom, x, dw, None, dy):
                self._weights(part_x, part_dy, part_dw, geom.pad, how.tile, geom.kernel[0])
            return
        direct = Direct(x.shape, k, geom, how.out)
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
