"""Gradients of a convolution of each channel on its own.

dx = such a convolution, without a stride, of dy with the kernels rotated by 180 degrees; dy is first spread: it has
     stride - 1 zeros between its pixels
dw[tap] = the sum over all outputs of dy times the pixel that the tap sees
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.conv.direct_backward import direct_backward_data, direct_backward_data_diagonal
from demitasse.layers.backend.cpu.conv.direct_forward import direct_forward, run_direct_forward
from demitasse.layers.backend.cpu.conv.im2col import frame_plane
from demitasse.layers.backend.cpu.conv.plan import ConvShape, Launch, band_size
from demitasse.layers.backend.cpu.gemm_microkernel import dot_of, fill
from demitasse.layers.backend.cpu.jit import Packed, kernel
from demitasse.layers.backend.cpu.operands import Outputs
from demitasse.layers.backend.cpu.simd_ops import copy
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work

BAND_FLOATS = 1 << 11  # of dy: with what it sees, it stays in the innermost cache
MOST_ZEROS = 4  # pixels of a spread dy for one that is not 0: more are not worth convolving


def is_depthwise(shape: ConvShape) -> bool:
    """Whether each channel is convolved on its own, to one output."""
    return shape.group == shape.c_in == shape.k_out


# -- of the input ------------------------------------------------------------------------------------------------------


def depthwise_backward_data(be, shape: ConvShape, dy, w, outputs: Outputs, dx) -> None:
    """dx (N, C, H, W) = relu(scale * the transposed convolution of dy (N, C, OH, OW) + bias)."""
    transposed = _transposed(shape)
    if shape.stride_y * shape.stride_x <= MOST_ZEROS and min(transposed.pad_y, transposed.pad_x) >= 0:
        if (shape.stride_y, shape.stride_x) != (1, 1):
            height, width = transposed.height, transposed.width
            spread = be.memory.empty(len(dy) * shape.c_in * height * width, np.float32)
            be.pool.run(_spread, 1, dy.reshape(-1), Packed(shape), height, width, spread)
            dy = spread
        rotated, taps = be.memory.empty(w.size, np.float32), w.size // shape.c_in
        be.pool.run(_rotate, 1, w.reshape(-1), taps, rotated, alone=True)
        run_direct_forward(be, direct_forward(transposed, taps, 1, be.pool.threads), dy, rotated, outputs, dx)
    elif shape.dilation_y == shape.dilation_x == 1:
        direct_backward_data_diagonal(be, shape, dy, w, outputs, dx)
    else:
        direct_backward_data(be, shape, dy, w, outputs, dx)


def _transposed(shape):
    """The ConvShape of the convolution of a spread dy that gives dx."""
    reach_y, reach_x = (shape.kernel_y - 1) * shape.dilation_y, (shape.kernel_x - 1) * shape.dilation_x
    return shape._replace(
        height=(shape.out_h - 1) * shape.stride_y + 1,
        width=(shape.out_w - 1) * shape.stride_x + 1,
        out_h=shape.height,
        out_w=shape.width,
        stride_y=1,
        stride_x=1,
        pad_y=reach_y - shape.pad_y,
        pad_x=reach_x - shape.pad_x,
    )


@kernel
def _spread(state, dy, shape, height, width, spread):
    """spread (planes, height, width) = dy with stride - 1 zeros between its pixels."""
    me = enter(state)
    for plane in work(state, me, 0, shape.images * shape.c_in):
        fill(spread, plane * height * width, height * width, np.float32(0))
        for i in range(shape.out_h):
            line, here = (plane * height + i * shape.stride_y) * width, (plane * shape.out_h + i) * shape.out_w
            for j in range(shape.out_w):
                spread[line + j * shape.stride_x] = dy[here + j]


@kernel
def _rotate(state, w, taps, rotated):
    """rotated (C, taps) = w with the taps of each channel the other way round."""
    me = enter(state)
    for c in work(state, me, 0, w.size // taps):
        for tap in range(taps):
            rotated[c * taps + tap] = w[c * taps + taps - 1 - tap]


# -- of the weights ----------------------------------------------------------------------------------------------------


class WeightsPlan(NamedTuple):
    """A job is a channel of all images."""

    shape: ConvShape
    band_rows: int  # of outputs that are worked through at a time
    reach: int  # rows of the frame (see direct_forward) beyond those
    ld: int  # pixels of a framed line
    component: int  # pixels of a framed polyphase component
    frame_floats: int


@kernel
def _backward_weights(state, scratch, x, dy, dw, offsets, plan):
    """Adds to dw (C, taps) its gradient.

    offsets: where in the frame each tap begins; scratch: a frame, then dy of a band, its lines as long as the frame's.
    """
    shape = plan.shape
    me = enter(state)
    frame, lines = scratch[me][: plan.frame_floats], scratch[me][plan.frame_floats :]
    fill(lines, 0, plan.band_rows * plan.ld, np.float32(0))
    for c in work(state, me, 0, shape.c_in):
        for image in range(shape.images):
            plane = image * shape.c_in + c
            for row0 in range(0, shape.out_h, plan.band_rows):
                rows = min(plan.band_rows, shape.out_h - row0)
                gap, seen = plan.component - (rows + plan.reach) * plan.ld, plane * shape.height * shape.width
                frame_plane(x, seen, shape, row0, rows + plan.reach, plan.ld, frame, 0, gap)
                for i in range(rows):
                    copy(dy, (plane * shape.out_h + row0 + i) * shape.out_w, lines, i * plan.ld, shape.out_w)
                pixels = (rows - 1) * plan.ld + shape.out_w
                for tap in range(len(offsets)):
                    dw[c * len(offsets) + tap] += dot_of(frame, offsets[tap], lines, 0, pixels)


@functools.lru_cache(4096)
def _weights_launch(shape: ConvShape) -> tuple[Launch, np.ndarray]:
    """The launch, and the offsets."""
    rows, columns = np.arange(shape.kernel_y) * shape.dilation_y, np.arange(shape.kernel_x) * shape.dilation_x
    ld, reach = int(shape.out_w + columns[-1] // shape.stride_x), int(rows[-1] // shape.stride_y)
    across, down = (int(min(s, t[-1] + 1)) for s, t in ((shape.stride_x, columns), (shape.stride_y, rows)))
    band_rows = band_size(shape.out_h, ld, BAND_FLOATS)
    component = (band_rows + reach) * ld
    offsets = (rows % shape.stride_y * across * component + rows // shape.stride_y * ld)[:, None] + (
        columns % shape.stride_x * component + columns // shape.stride_x
    )
    frame_floats = down * across * component
    plan = WeightsPlan(shape, band_rows, reach, ld, component, frame_floats)
    return Launch(Packed(plan), 1, (), frame_floats + band_rows * ld), offsets.reshape(-1)


def depthwise_backward_weights(be, shape: ConvShape, x, dy, dw) -> None:
    """Adds to dw (C, 1, taps) its gradient."""
    launch, offsets = _weights_launch(shape)
    launch.run(be, _backward_weights, x.reshape(-1), dy.reshape(-1), dw.reshape(-1), offsets)
