"""What a convolution's kernels are launched with: its shape, its plan and its workspace.

A plan is a NamedTuple of a ConvShape and of how the work is cut into bands and jobs; kernels read `plan.shape.pad_y`.
Plans depend on shapes only, and are made and packed once for each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.jit import Packed
from demitasse.layers.backend.cpu.operands import EMPTY
from demitasse.layers.backend.geometry import ConvGeometry


class ConvShape(NamedTuple):
    """x (images, c_in, height, width), w (k_out, c_in / group, kernel_y, kernel_x), y (images, k_out, out_h, out_w)."""

    images: int
    c_in: int
    height: int
    width: int
    k_out: int
    out_h: int
    out_w: int
    group: int
    kernel_y: int
    kernel_x: int
    stride_y: int
    stride_x: int
    pad_y: int
    pad_x: int
    dilation_y: int
    dilation_x: int

    @classmethod
    def of(cls, x_shape: tuple[int, ...], k_out: int, geom: ConvGeometry, out: tuple[int, ...]) -> ConvShape:
        """Of x (N, C, H, W) convolved to k_out channels of size `out`."""
        return cls(*x_shape, k_out, *out, geom.group, *geom.kernel, *geom.stride, *geom.pad, *geom.dilation)


class Launch(NamedTuple):
    """plan: for the kernel; supersteps: of work (see work_stealing); workspaces: floats of the arrays that all
    threads share; scratch: floats of each thread's own."""

    plan: Packed
    supersteps: int
    workspaces: tuple[int, ...]
    scratch: int

    def run(self, be, kernel, *arrays):
        """kernel(state, scratch, *arrays, plan, *workspaces) on the backend's threads."""
        workspaces = [be.memory.empty(floats, np.float32) if floats else EMPTY for floats in self.workspaces]
        be.pool.run(kernel, self.supersteps, *arrays, self.plan, *workspaces, scratch=self.scratch)


def result(be, shape: tuple[int, ...], out: np.ndarray | None) -> np.ndarray:
    """A float32 array of that shape for a result: in `out`, a flat array, where that is given."""
    return be.memory.empty(shape, np.float32) if out is None else out.reshape(shape)


def band_size(rows: int, row_floats: int, budget: int) -> int:
    """Rows of each band, where `rows` are cut into equal bands of about `budget` floats."""
    bands = max(1, min(rows, round(rows * row_floats / budget)))
    return -(-rows // bands)
