"""Convolution of each channel on its own (MobileNet's depthwise convolutions), forward.

Some rows of a channel are framed (see direct_forward) in memory of the thread's own, where they stay in the innermost
cache while the taps are added up, many pixels at a time, line after line of the frame.  Pixels beyond the end of an
output line are computed too and left out.
"""

from __future__ import annotations

from typing import NamedTuple

from demitasse.layers.backend.cpu.conv.im2col import frame_plane
from demitasse.layers.backend.cpu.conv.plan import ConvShape
from demitasse.layers.backend.cpu.gemm_microkernel import TILE_LANES, convolve_tile
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.operands import Epilogue, Matrix, OffsetRows, Rows
from demitasse.layers.backend.cpu.simd_ops import copy
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import band_count, partition, work

WIDE = 64  # pixels at a time
ONE_ROW, ALL_VECTORS = (0,), (0,) * (WIDE // TILE_LANES)
BAND_FLOATS = 1 << 12


class DepthwisePlan(NamedTuple):
    """A job is a channel of an image, or a part of its rows, of which band_rows are worked through at a time."""

    shape: ConvShape
    band_rows: int  # of outputs
    reach: int  # rows of the frame beyond those
    ld: int  # pixels of a framed line
    component: int  # pixels of a framed polyphase component
    frame_floats: int


@kernel
def depthwise(state, scratch, x, w, bias, slope, y, offsets, plan):
    """y = relu(convolution of x + bias).

    offsets: where in the frame each tap begins; scratch: a frame, then the outputs of its lines.
    """
    shape = plan.shape
    me = enter(state)
    frame, sums = scratch[me][: plan.frame_floats], scratch[me][plan.frame_floats :]
    planes, bands = shape.images * shape.c_in, band_count(state, shape.out_h, shape.out_w)
    for job in work(state, me, 0, planes * bands):
        plane, (first, end) = job % planes, partition(shape.out_h, job // planes, bands)
        c = plane % shape.c_in
        taps, epilogue = Rows(w, c * len(offsets), 0, 1, 1), Epilogue(bias, c, slope, True)
        for row0 in range(first, end, plan.band_rows):
            rows = min(plan.band_rows, end - row0)
            gap = plan.component - (rows + plan.reach) * plan.ld
            start = plane * shape.height * shape.width
            frame_plane(x, start, shape, row0, rows + plan.reach, plan.ld, frame, 0, gap)
            for j in range(0, rows * plan.ld, WIDE):
                seen, out = OffsetRows(frame, j, offsets, 0), Matrix(sums, j, 0)
                convolve_tile(taps, seen, out, len(offsets), False, epilogue, ONE_ROW, ALL_VECTORS)
            for i in range(rows):
                copy(sums, i * plan.ld, y, ((plane * shape.out_h) + row0 + i) * shape.out_w, shape.out_w)
