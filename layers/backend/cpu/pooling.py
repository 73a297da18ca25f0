"""Pooling: jobs are planes, or parts of their rows; along a row the taps are compared or added one after the other,
all windows at once.

sizes: planes, H, W, OH, OW, kernel y x, stride y x, pad y x.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.gemm_microkernel import fill, sum_of
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.simd_pooling import LOWEST, max_every, max_of_lines, max_tile
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import bands_of, part_of, work


def vector_window(geom):
    """(side, step) of max_forward: for square windows of 2 to 4 pixels a side."""
    (side, side_x), (step, step_x) = geom.kernel, geom.stride
    if side == side_x and step == step_x and 2 <= side <= 4 and step <= side:
        return (0,) * side, (0,) * step
    return (), ()


@kernel
def _windows(tap, stride, pad, size, out):
    """The first window and the one after the last in which tap number `tap` lies on the image of `size`."""
    low = min(out, max(0, (pad - tap + stride - 1) // stride))
    return low, max(low, min(out, (size - 1 + pad - tap) // stride + 1))


@kernel
def _max_row(x, start, y, index, iy, row, low, high, sizes):
    """Windows low ... high - 1 of a row of windows, one pixel after the other."""
    height, width, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x = sizes[1], sizes[2], *sizes[5:]
    top = row * stride_y - pad_y
    for i in range(low, high):
        left = i * stride_x - pad_x
        best, place = np.float32(LOWEST), -1
        for line in range(max(0, top), min(height, top + kernel_y)):
            for column in range(max(0, left), min(width, left + kernel_x)):
                value = x[start + line * width + column]
                if value > best:
                    best, place = value, line * width + column
        y[iy + i] = best if top < height and left < width else np.float32(0)
        index[iy + i] = place


@kernel
def max_forward(state, x, y, index, sizes, side, step):
    """The largest pixel of each window and its place in the plane; the first of equals wins.

    side, step: tuples as long as a square window's side and its stride, for vector code; step () for none.
    """
    me = enter(state)
    planes, height, width, out_h, out_w, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x = sizes
    low = min(out_w, (pad_x + stride_x - 1) // stride_x)  # windows wholly inside: low ... high - 1
    high = max(low, min(out_w, (width + pad_x - kernel_x) // stride_x + 1))
    reach = 16 * stride_x + kernel_x + (kernel_y - 1) * width
    best, place = np.empty(16, np.float32), np.empty(16, np.int32)
    bands = bands_of(state, out_h, out_w)
    for job in work(state, me, 0, planes * bands):
        plane, (row0, row1) = job % planes, part_of(out_h, job // planes, bands)
        start = plane * height * width
        for row in range(row0, row1):
            iy, top = (plane * out_h + row) * out_w, row * stride_y - pad_y
            done = 0
            if len(step) > 0:
                if top >= 0 and top + kernel_y <= height:
                    _max_row(x, start, y, index, iy, row, 0, low, sizes)
                    done = low
                    while done < high:
                        first = top * width + done * stride_x - pad_x
                        if start + first + reach > x.size:
                            break
                        if done + 16 <= high:
                            max_tile(x, start + first, width, y, iy + done, index, iy + done, first, side, step)
                        else:  # fewer than 16 windows: what lies beyond is not used
                            max_tile(x, start + first, width, best, 0, place, 0, first, side, step)
                            for i in range(high - done):
                                y[iy + done + i] = best[i]
                                index[iy + done + i] = place[i]
                        done = min(done + 16, high)
            _max_row(x, start, y, index, iy, row, done, out_w, sizes)


@kernel
def max_values(state, x, y, sizes, side, step):
    """y of max_forward alone: the largest of the lines first, then of the pixels; side and step are not ()."""
    planes, height, width, out_h, out_w, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x = sizes
    me = enter(state)
    line = np.empty((out_w + 32) * stride_x + kernel_x + pad_x + width + 16, np.float32)
    fill(line, 0, line.size, np.float32(LOWEST))
    within = min(out_w, (width + pad_x - 1) // stride_x + 1)  # windows beyond hold no pixel
    bands = bands_of(state, out_h, out_w)
    for job in work(state, me, 0, planes * bands):
        plane, (row0, row1) = job % planes, part_of(out_h, job // planes, bands)
        for row in range(row0, row1):
            top, place = row * stride_y - pad_y, (plane * out_h + row) * out_w
            if top >= height:
                fill(y, place, out_w, np.float32(0))
                continue
            first, last = max(0, top), min(height, top + kernel_y)
            for i in range(0, width, 16):
                start = (plane * height + first) * width + i
                max_of_lines(x, start, width, last - first, width - i, line, pad_x + i)
            for i in range(0, within, 16):
                max_every(line, i * stride_x, y, place + i, within - i, side, step)
            fill(y, place + within, out_w - within, np.float32(0))


@kernel
def max_backward(state, dy, index, dx, planes, out_area, area):
    """dx: each dy added to the pixel of its plane that index names (-1: none)."""
    me = enter(state)
    for plane in work(state, me, 0, planes):
        fill(dx, plane * area, area, np.float32(0))
        values = dx[plane * area : (plane + 1) * area]
        for i in range(plane * out_area, (plane + 1) * out_area):
            if index[i] >= 0:
                values[np.uint64(index[i])] += dy[i]


@kernel
def _whole(sizes):
    """Whether the one window is the whole image."""
    height, width, out_h, out_w, kernel_y, kernel_x = sizes[1:7]
    return out_h * out_w == 1 and sizes[9] == 0 and sizes[10] == 0 and kernel_y >= height and kernel_x >= width


@kernel
def ave_forward(state, x, y, sizes, heights, widths):
    """The sum of each window over its area; heights, widths: the windows' sides in image + pad."""
    me = enter(state)
    planes, height, width, out_h, out_w, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x = sizes
    for plane in work(state, me, 0, planes):
        if _whole(sizes):
            y[plane] = sum_of(x, plane * height * width, height * width) / max(np.float32(1), heights[0] * widths[0])
            continue
        for row in range(out_h):
            start = (plane * out_h + row) * out_w
            total = y[start : start + out_w]
            for i in range(out_w):
                total[i] = 0
            top = row * stride_y - pad_y
            for line in range(max(0, top), min(height, top + kernel_y)):
                values = x[(plane * height + line) * width : (plane * height + line + 1) * width]
                if out_w == 1:
                    total[0] += sum_of(values, max(0, -pad_x), min(width, kernel_x - pad_x) - max(0, -pad_x))
                    continue
                for tap in range(kernel_x):
                    low, high = _windows(tap, stride_x, pad_x, width, out_w)
                    for i in range(low, high):
                        total[i] += values[np.uint64(stride_x * i + tap - pad_x)]
            for i in range(out_w):
                total[i] /= max(np.float32(1), heights[row] * widths[i])


@kernel
def ave_backward(state, dy, dx, sizes, heights, widths):
    """Each dy spread evenly over its window."""
    me = enter(state)
    planes, height, width, out_h, out_w, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x = sizes
    for plane in work(state, me, 0, planes):
        if _whole(sizes):
            share = dy[plane] / max(np.float32(1), heights[0] * widths[0])
            fill(dx, plane * height * width, height * width, share)
            continue
        fill(dx, plane * height * width, height * width, np.float32(0))
        shares = np.empty(out_w, np.float32)
        for row in range(out_h):
            start = (plane * out_h + row) * out_w
            for i in range(out_w):
                shares[i] = dy[start + i] / max(np.float32(1), heights[row] * widths[i])
            top = row * stride_y - pad_y
            for line in range(max(0, top), min(height, top + kernel_y)):
                values = dx[(plane * height + line) * width : (plane * height + line + 1) * width]
                for tap in range(kernel_x):
                    low, high = _windows(tap, stride_x, pad_x, width, out_w)
                    for i in range(low, high):
                        values[np.uint64(stride_x * i + tap - pad_x)] += shares[i]
