"""Pooling: one job per plane; along a row the taps are compared or added one after the other, all windows at once.

sizes: planes, H, W, OH, OW, kernel y x, stride y x, pad y x.
"""

from __future__ import annotations

import numpy as np

from layers.backend.cpu_product import fill
from layers.backend.cpu_threads import finish, kernel, take, wait

LOWEST = np.finfo(np.float32).min


@kernel
def _windows(tap, stride, pad, size, out):
    """The first window and the one after the last in which tap number `tap` lies on the image of `size`."""
    low = min(out, max(0, (pad - tap + stride - 1) // stride))
    return low, max(low, min(out, (size - 1 + pad - tap) // stride + 1))


@kernel
def max_forward(state, x, y, index, sizes):
    """The largest pixel of each window and its place in the plane; the first of equals wins."""
    planes, height, width, out_h, out_w, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x = sizes
    while True:
        plane = take(state, 0)
        if plane >= planes:
            break
        for row in range(out_h):
            start = (plane * out_h + row) * out_w
            best, place = y[start : start + out_w], index[start : start + out_w]
            for i in range(out_w):
                best[i] = LOWEST
                place[i] = -1
            top = row * stride_y - pad_y
            for line in range(max(0, top), min(height, top + kernel_y)):
                values = x[(plane * height + line) * width : (plane * height + line + 1) * width]
                for tap in range(kernel_x):
                    low, high = _windows(tap, stride_x, pad_x, width, out_w)
                    offset, here = tap - pad_x, line * width + tap - pad_x
                    if stride_x == 1:
                        for i in range(low, high):
                            value = values[np.uint64(i + offset)]
                            wins = value > best[i]
                            best[i] = value if wins else best[i]
                            place[i] = np.int32(here + i) if wins else place[i]
                    elif stride_x == 2:
                        for i in range(low, high):
                            value = values[np.uint64(2 * i + offset)]
                            wins = value > best[i]
                            best[i] = value if wins else best[i]
                            place[i] = np.int32(here + 2 * i) if wins else place[i]
                    else:
                        for i in range(low, high):
                            value = values[np.uint64(stride_x * i + offset)]
                            if value > best[i]:
                                best[i] = value
                                place[i] = np.int32(here + stride_x * i)
            if top >= height or (out_w - 1) * stride_x - pad_x >= width:
                for i in range(out_w):
                    if top >= height or i * stride_x - pad_x >= width:
                        best[i] = 0
        finish(state, 0)
    wait(state, 0, planes)


@kernel
def max_backward(state, dy, index, dx, planes, out_area, area):
    """dx: each dy added to the pixel of its plane that index names (-1: none)."""
    while True:
        plane = take(state, 0)
        if plane >= planes:
            break
        fill(dx, plane * area, area, np.float32(0))
        values = dx[plane * area : (plane + 1) * area]
        for i in range(plane * out_area, (plane + 1) * out_area):
            if index[i] >= 0:
                values[np.uint64(index[i])] += dy[i]
        finish(state, 0)
    wait(state, 0, planes)


@kernel
def ave_forward(state, x, y, sizes, heights, widths):
    """The sum of each window over its area; heights, widths: the windows' sides in image + pad."""
    planes, height, width, out_h, out_w, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x = sizes
    while True:
        plane = take(state, 0)
        if plane >= planes:
            break
        for row in range(out_h):
            start = (plane * out_h + row) * out_w
            total = y[start : start + out_w]
            for i in range(out_w):
                total[i] = 0
            top = row * stride_y - pad_y
            for line in range(max(0, top), min(height, top + kernel_y)):
                values = x[(plane * height + line) * width : (plane * height + line + 1) * width]
                for tap in range(kernel_x):
                    low, high = _windows(tap, stride_x, pad_x, width, out_w)
                    for i in range(low, high):
                        total[i] += values[np.uint64(stride_x * i + tap - pad_x)]
            for i in range(out_w):
                total[i] /= max(np.float32(1), heights[row] * widths[i])
        finish(state, 0)
    wait(state, 0, planes)


@kernel
def ave_backward(state, dy, dx, sizes, heights, widths):
    """Each dy spread evenly over its window."""
    planes, height, width, out_h, out_w, kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x = sizes
    while True:
        plane = take(state, 0)
        if plane >= planes:
            break
        fill(dx, plane * height * width, height * width, np.float32(0))
        share = np.empty(out_w, np.float32)
        for row in range(out_h):
            start = (plane * out_h + row) * out_w
            for i in range(out_w):
                share[i] = dy[start + i] / max(np.float32(1), heights[row] * widths[i])
            top = row * stride_y - pad_y
            for line in range(max(0, top), min(height, top + kernel_y)):
                values = dx[(plane * height + line) * width : (plane * height + line + 1) * width]
                for tap in range(kernel_x):
                    low, high = _windows(tap, stride_x, pad_x, width, out_w)
                    for i in range(low, high):
                        values[np.uint64(stride_x * i + tap - pad_x)] += share[i]
        finish(state, 0)
    wait(state, 0, planes)
