"""Rows of im2col, gathered from an image, and their adjoint, added back to it; outputs with bias and ReLU (epilogue).

Row (c, tap) of im2col holds, for every output pixel, the pixel of channel c that this tap of the kernel sees.  Images
are flat arrays, `plane` is where one of an image's planes begins, `shape` a ConvShape.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.gemm_microkernel import STRIP, TILE_LANES, fill
from demitasse.layers.backend.cpu.jit import inner_kernel
from demitasse.layers.backend.cpu.simd_ops import (
    add_scaled,
    copy,
    copy_block,
    copy_every,
    copy_pairs,
    scale_and_add,
    scale_and_add_some,
)

PAIRS, LINE, BLOCK = (0,) * 8, (0,) * STRIP, (0,) * TILE_LANES


@inner_kernel
def gather_line(x, ix, width, offset, stride, n, v, iv):
    """v[iv + i] = pixel i * stride + offset of the image line at x[ix], for i < n; 0 outside its `width`."""
    if stride == 1:  # without a division, which takes longer than a short line
        low = min(n, max(0, -offset))
        high = max(low, min(n, width - offset))
    else:
        low = min(n, max(0, (stride - 1 - offset) // stride))
        high = max(low, min(n, (width - 1 - offset) // stride + 1))
    fill(v, iv, low, np.float32(0))
    start, done = ix + offset, low
    if stride == 1:
        copy(x, start + low, v, iv + low, high - low)
        done = high
    elif high - low >= 16 and (stride == 2 or stride == 4) and start + high * stride <= x.size:
        while done < high:
            done = min(done, high - 16)  # the last vector may cover some pixels twice
            if stride == 2:
                copy_every(x, start + done * 2, v, iv + done, (0, 0))
            else:
                copy_every(x, start + done * 4, v, iv + done, (0, 0, 0, 0))
            done += 16
    for i in range(done, high):
        v[iv + i] = x[start + i * stride]
    fill(v, iv + high, n - high, np.float32(0))


@inner_kernel
def split_line(x, ix, width, pad, n, even, odd, v):
    """v[even + i], v[odd + i] = the pixels 2 i - pad and 2 i + 1 - pad of the image line at x[ix], for i < n; 0
    outside its `width`."""
    low = min(n, (pad + 1) // 2)
    high, done = max(low, min(n, (width + pad) // 2)), low  # both are inside: low ... high - 1
    if high - low >= 8:
        while done < high:
            done = min(done, high - 8)  # the last vector may cover some pixels twice
            copy_pairs(x, ix + 2 * done - pad, v, even + done, odd + done, PAIRS)
            done += 8
    for i in range(n - done + low):
        i = i if i < low else i - low + done
        pixel = 2 * i - pad
        v[even + i] = x[ix + pixel] if 0 <= pixel < width else np.float32(0)
        v[odd + i] = x[ix + pixel + 1] if 0 <= pixel + 1 < width else np.float32(0)


@inner_kernel
def tap_offset(shape, tap):
    """(rows, columns) from the first pixel of an output's window without pad to the one that the tap sees."""
    y, x = tap // shape.kernel_x, tap % shape.kernel_x
    return y * shape.dilation_y - shape.pad_y, x * shape.dilation_x - shape.pad_x


@inner_kernel
def im2col_row(x, plane, shape, tap, row0, row1, v, iv):
    """v[iv :] = the pixels of the plane that one tap sees under output rows row0 ... row1 - 1."""
    height, width, out_w = shape.height, shape.width, shape.out_w
    offset_y, offset_x = tap_offset(shape, tap)
    in_line = shape.stride_y == 1 and shape.stride_x == 1 and offset_x == 0 and out_w == width
    if in_line and row0 + offset_y >= 0 and row1 + offset_y <= height:
        copy(x, plane + (row0 + offset_y) * width, v, iv, (row1 - row0) * width)
        return
    for row in range(row0, row1):
        y, line = row * shape.stride_y + offset_y, iv + (row - row0) * out_w
        if 0 <= y < height:
            gather_line(x, plane + y * width, width, offset_x, shape.stride_x, out_w, v, line)
        else:
            fill(v, line, out_w, np.float32(0))


@inner_kernel
def add_im2col_row(q, iq, shape, tap, row0, row1, x, plane):
    """The adjoint of im2col_row: adds q[iq :] to the plane at x[plane]."""
    height, width, out_w, stride_x = shape.height, shape.width, shape.out_w, shape.stride_x
    offset_y, offset_x = tap_offset(shape, tap)
    low = min(out_w, max(0, (stride_x - 1 - offset_x) // stride_x))
    high = max(low, min(out_w, (width - 1 - offset_x) // stride_x + 1))
    for row in range(row0, row1):
        y, line = row * shape.stride_y + offset_y, iq + (row - row0) * out_w
        if 0 <= y < height:
            start = plane + y * width + offset_x
            if stride_x == 1:
                add_line(q, line + low, x, start + low, high - low)
            else:
                for i in range(low, high):
                    x[start + i * stride_x] += q[line + i]


@inner_kernel
def pack_panel(pixels, start, offsets, plan, column, n, panel):
    """panel = rows of im2col, of each the n pixels from `column` on; writes up to a strip more.

    plan: a ForwardPlan.
    """
    if not plan.framed:
        whole = n // STRIP * STRIP
        for p in range(len(offsets)):
            at, row = start + offsets[p] + column, p * panel.ld
            for j in range(0, whole, STRIP):
                copy_block(pixels, at + j, panel.data, row + j, LINE)
            if whole < n:  # nothing beyond the image may be read
                copy(pixels, at + whole, panel.data, row + whole, n - whole)
        return
    out_w = plan.shape.out_w
    line, first = divmod(column, out_w)
    for p in range(len(offsets)):
        at, row, left = start + offsets[p] + line * plan.ld + first, p * panel.ld, n
        wide = min(out_w - first, left)
        while left > 0:
            for j in range(0, wide, TILE_LANES):
                copy_block(pixels, at + j, panel.data, row + j, BLOCK)
            at, row, left = at + wide + plan.ld - out_w, row + wide, left - wide
            wide = min(out_w, left)


@inner_kernel
def frame_plane(x, plane, shape, row0, rows, ld, frame, start, gap):
    """frame[start :] = the plane with its pad, rows and columns sorted by their remainders (polyphase).

    For each remainder of rows by the vertical stride, and each of columns by the horizontal one, that some tap needs:
    `rows` lines of `ld` pixels, the first of which is the first that output row row0 sees; then a gap.  A tap then
    sees neighbours as neighbours.
    """
    components_x = min(shape.stride_x, (shape.kernel_x - 1) * shape.dilation_x + 1)
    size = rows * ld + gap
    for a in range(min(shape.stride_y, (shape.kernel_y - 1) * shape.dilation_y + 1)):
        for row in range(rows):
            y, line = (row0 + row) * shape.stride_y + a - shape.pad_y, start + a * components_x * size + row * ld
            if y < 0 or y >= shape.height:
                for b in range(components_x):
                    fill(frame, line + b * size, ld, np.float32(0))
            elif shape.stride_x == 2 and components_x == 2:
                split_line(x, plane + y * shape.width, shape.width, shape.pad_x, ld, line, line + size, frame)
            else:
                for b in range(components_x):
                    offset = b - shape.pad_x
                    seen = plane + y * shape.width
                    gather_line(x, seen, shape.width, offset, shape.stride_x, ld, frame, line + b * size)


@inner_kernel
def add_line(q, iq, x, ix, n):
    """x[ix :] += q[iq :] for n pixels."""
    whole = n // 16 * 16
    for i in range(0, whole, 16):
        add_scaled(np.float32(1), q, iq + i, x, ix + i)
    for i in range(whole, n):
        x[ix + i] += q[iq + i]


@inner_kernel
def store_outputs(q, iq, n, y, iy, outputs, k):
    """y = relu(q * scale + bias) for n pixels of output k; outputs: Outputs."""
    scale, bias, slope = outputs.scale[k], outputs.bias[k], outputs.slope[k]
    for i in range(0, n // 16 * 16, 16):
        scale_and_add(q, iq + i, y, iy + i, scale, bias, slope)
    if n % 16:
        scale_and_add_some(q, iq + n // 16 * 16, y, iy + n // 16 * 16, n % 16, scale, bias, slope)
