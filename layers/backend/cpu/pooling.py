"""Pooling: jobs are planes, or bands of their rows; along a row the taps are compared or added one after the other,
all windows at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.accepts import constants, floats, of_type
from demitasse.layers.backend.cpu.conv.im2col import add_line
from demitasse.layers.backend.cpu.gemm_microkernel import fill, sum_of
from demitasse.layers.backend.cpu.jit import inner_kernel, kernel
from demitasse.layers.backend.cpu.simd_ops import copy, copy_pairs
from demitasse.layers.backend.cpu.simd_pooling import LOWEST, max_every, max_of_lines, max_tile
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import band_count, partition, work
from demitasse.layers.backend.dispatch import takes


class _Windows(NamedTuple):
    """How windows slide over planes (height, width)."""

    planes: int
    height: int
    width: int
    out_h: int
    out_w: int
    kernel_y: int
    kernel_x: int
    stride_y: int
    stride_x: int
    pad_y: int
    pad_x: int


def _windows(shape, geom):
    """The windows over an array (N, C, H, W)."""
    planes = shape[0] * shape[1]
    return _Windows(planes, *shape[2:], *geom.out, *geom.kernel, *geom.stride, *geom.pad)


def _vector_window(geom):
    """(side, step) of a square window of 2 to 4 pixels a side, as tuples of those lengths; () for step if there is no
    vector code for it."""
    (side, side_x), (step, step_x) = geom.kernel, geom.stride
    if side == side_x and step == step_x and 2 <= side <= 4 and step <= side:
        return (0,) * side, (0,) * step
    return (), ()


def _sides(geom, spatial):
    """The heights and widths that a window's sum is divided by."""
    return [constants(tuple(sides)) for sides in geom.areas(spatial)]


@takes(lambda x, geom: floats(x))
def max_pool_forward(be, x, geom):
    y, index = be.empty((*x.shape[:2], *geom.out)), be.empty((*x.shape[:2], *geom.out), np.int32)
    arrays = x.reshape(-1), y.reshape(-1), index.reshape(-1)
    be.pool.run(_max_forward, 1, *arrays, _windows(x.shape, geom), *_vector_window(geom), scratch=32)
    return y, index


@kernel
def _max_forward(state, scratch, x, y, index, geom, side, step):
    """The largest pixel of each window and its position in the plane; the first of equals wins.

    side, step: tuples as long as a square window's side and its stride, for vector code; step () for none.
    """
    me = enter(state)
    low = min(geom.out_w, (geom.pad_x + geom.stride_x - 1) // geom.stride_x)  # windows wholly inside: low ... high - 1
    high = max(low, min(geom.out_w, (geom.width + geom.pad_x - geom.kernel_x) // geom.stride_x + 1))
    reach = 16 * geom.stride_x + geom.kernel_x + (geom.kernel_y - 1) * geom.width
    best, position = scratch[me][:16], scratch[me][16:32].view(np.int32)
    bands = band_count(state, geom.out_h, geom.out_w)
    for job in work(state, me, 0, geom.planes * bands):
        plane, (row0, row1) = job % geom.planes, partition(geom.out_h, job // geom.planes, bands)
        start = plane * geom.height * geom.width
        for row in range(row0, row1):
            iy, top = (plane * geom.out_h + row) * geom.out_w, row * geom.stride_y - geom.pad_y
            done = 0
            if len(step) > 0:
                if top >= 0 and top + geom.kernel_y <= geom.height:
                    _max_row(x, start, y, index, iy, row, 0, low, geom)
                    done = low
                    while done < high:
                        first = top * geom.width + done * geom.stride_x - geom.pad_x
                        if start + first + reach > x.size:
                            break
                        if done + 16 <= high:
                            max_tile(x, start + first, geom.width, y, iy + done, index, iy + done, first, side, step)
                        else:  # fewer than 16 windows: what lies beyond is not used
                            max_tile(x, start + first, geom.width, best, 0, position, 0, first, side, step)
                            for i in range(high - done):
                                y[iy + done + i] = best[i]
                                index[iy + done + i] = position[i]
                        done = min(done + 16, high)
            _max_row(x, start, y, index, iy, row, done, geom.out_w, geom)


@inner_kernel
def _max_row(x, start, y, index, iy, row, low, high, geom):
    """Windows low ... high - 1 of a row of windows, one pixel after the other."""
    top = row * geom.stride_y - geom.pad_y
    for i in range(low, high):
        left = i * geom.stride_x - geom.pad_x
        best, position = np.float32(LOWEST), -1
        for line in range(max(0, top), min(geom.height, top + geom.kernel_y)):
            for column in range(max(0, left), min(geom.width, left + geom.kernel_x)):
                value = x[start + line * geom.width + column]
                if value > best:
                    best, position = value, line * geom.width + column
        y[iy + i] = best if top < geom.height and left < geom.width else np.float32(0)
        index[iy + i] = position


@takes(lambda x, geom: floats(x) and _vector_window(geom)[1] != ())
def max_pool(be, x, geom):
    y = be.empty((*x.shape[:2], *geom.out))
    windows, arrays = _windows(x.shape, geom), (x.reshape(-1), y.reshape(-1))
    be.pool.run(_max_values, 1, *arrays, windows, *_vector_window(geom), scratch=_line_floats.py_func(windows))
    return y


@inner_kernel
def _line_floats(geom):
    """Of a vector, and of a line of pixels with all that vector code may read around it."""
    return (geom.out_w + 32) * geom.stride_x + geom.kernel_x + geom.pad_x + geom.width + 48


@kernel
def _max_values(state, scratch, x, y, geom, side, step):
    """y of _max_forward alone: the largest of the lines first, then of the pixels; side and step are not ()."""
    me = enter(state)
    line, some = scratch[me][16 : _line_floats(geom)], scratch[me][:16]
    fill(line, 0, line.size, np.float32(LOWEST))
    within = min(geom.out_w, (geom.width + geom.pad_x - 1) // geom.stride_x + 1)  # windows beyond hold no pixel
    bands = band_count(state, geom.out_h, geom.out_w)
    for job in work(state, me, 0, geom.planes * bands):
        plane, (row0, row1) = job % geom.planes, partition(geom.out_h, job // geom.planes, bands)
        for row in range(row0, row1):
            top, position = row * geom.stride_y - geom.pad_y, (plane * geom.out_h + row) * geom.out_w
            if top >= geom.height:
                fill(y, position, geom.out_w, np.float32(0))
                continue
            first, last = max(0, top), min(geom.height, top + geom.kernel_y)
            _max_line(x, (plane * geom.height + first) * geom.width, last - first, geom, line)
            for i in range(0, within, 16):
                if within >= 16:  # the last vector may cover some windows twice
                    i = min(i, within - 16)
                    max_every(line, i * geom.stride_x, y, position + i, side, step)
                else:
                    max_every(line, 0, some, 0, side, step)
                    copy(some, 0, y, position, within)
            fill(y, position + within, geom.out_w - within, np.float32(0))


@inner_kernel
def _max_line(x, start, lines, geom, line):
    """line[pad_x :] = the largest of the lines of x from `start` on, LOWEST beyond them."""
    for i in range(0, geom.width, 16):
        if start + (lines - 1) * geom.width + i + 16 <= x.size:  # the next line's pixels are seen, too
            max_of_lines(x, start + i, geom.width, lines, line, geom.pad_x + i)
            continue
        for j in range(i, geom.width):
            best = np.float32(LOWEST)
            for k in range(start + j, start + j + lines * geom.width, geom.width):
                best = x[k] if x[k] > best else best
            line[geom.pad_x + j] = best
    fill(line, geom.pad_x + geom.width, 16, np.float32(LOWEST))


@takes(lambda dy, index, geom, spatial: floats(dy) and of_type(np.int32, index))
def max_pool_backward(be, dy, index, geom, spatial):
    dx = be.empty((*dy.shape[:2], *spatial))
    arrays, planes = (dy.reshape(-1), index.reshape(-1), dx.reshape(-1)), dy.shape[0] * dy.shape[1]
    be.pool.run(_max_backward, 1, *arrays, planes, geom.out[0] * geom.out[1], spatial[0] * spatial[1])
    return dx


@kernel
def _max_backward(state, dy, index, dx, planes, out_area, area):
    """dx: each dy added to the pixel of its plane that index names (-1: none)."""
    me = enter(state)
    for plane in work(state, me, 0, planes):
        fill(dx, plane * area, area, np.float32(0))
        values = dx[plane * area : (plane + 1) * area]
        for i in range(plane * out_area, (plane + 1) * out_area):
            if index[i] >= 0:
                values[np.uint64(index[i])] += dy[i]


@takes(lambda x, geom: floats(x))
def ave_pool_forward(be, x, geom):
    y = be.empty((*x.shape[:2], *geom.out))
    windows, sides = _windows(x.shape, geom), _sides(geom, x.shape[2:])
    scratch = 2 * _padded_floats.py_func(windows)
    be.pool.run(_ave_forward, 1, x.reshape(-1), y.reshape(-1), windows, *sides, scratch=scratch)
    return y


@inner_kernel
def _padded_floats(geom):
    """Of a line of pixels with the pad around it, as far as windows reach, in whole vectors of pairs."""
    return (geom.pad_x + geom.width + geom.out_w * geom.stride_x + geom.kernel_x + 31) // 16 * 16


@kernel
def _ave_forward(state, scratch, x, y, geom, heights, widths):
    """The sum of each window over its area: lines are added up first, then taps.

    heights, widths: the windows' sides in image + pad; scratch: a line with its pad, and its even and odd pixels.
    """
    me = enter(state)
    floats_of_line = _padded_floats(geom)
    line, halves = scratch[me][:floats_of_line], scratch[me][floats_of_line : 2 * floats_of_line]
    fill(line, 0, floats_of_line, np.float32(0))
    for plane in work(state, me, 0, geom.planes):
        if _whole(geom):
            pixels = geom.height * geom.width
            y[plane] = sum_of(x, plane * pixels, pixels) / max(np.float32(1), heights[0] * widths[0])
            continue
        for row in range(geom.out_h):
            start, top = (plane * geom.out_h + row) * geom.out_w, row * geom.stride_y - geom.pad_y
            fill(line, geom.pad_x, geom.width, np.float32(0))
            for i in range(max(0, top), min(geom.height, top + geom.kernel_y)):
                add_line(x, (plane * geom.height + i) * geom.width, line, geom.pad_x, geom.width)
            _add_taps(line, halves, geom, y, start)
            for i in range(geom.out_w):
                y[start + i] /= max(np.float32(1), heights[row] * widths[i])


@inner_kernel
def _add_taps(line, halves, geom, y, start):
    """y[start :] = the sums of all windows over a line."""
    fill(y, start, geom.out_w, np.float32(0))
    half = halves.size // 2
    if geom.stride_x == 2:
        for i in range(0, half, 8):
            copy_pairs(line, 2 * i, halves, i, half + i, (0,) * 8)
    for tap in range(geom.kernel_x):
        if geom.stride_x <= 2:
            seen, first = (line, tap) if geom.stride_x == 1 else (halves, tap % 2 * half + tap // 2)
            add_line(seen, first, y, start, geom.out_w)
        else:
            for i in range(geom.out_w):
                y[start + i] += line[i * geom.stride_x + tap]


@takes(lambda dy, geom, spatial: floats(dy))
def ave_pool_backward(be, dy, geom, spatial):
    dx = be.empty((*dy.shape[:2], *spatial))
    windows, arrays = _windows(dx.shape, geom), (dy.reshape(-1), dx.reshape(-1))
    be.pool.run(_ave_backward, 1, *arrays, windows, *_sides(geom, spatial), scratch=windows.out_w)
    return dx


@kernel
def _ave_backward(state, scratch, dy, dx, geom, heights, widths):
    """Each dy spread evenly over its window."""
    me = enter(state)
    for plane in work(state, me, 0, geom.planes):
        if _whole(geom):
            share = dy[plane] / max(np.float32(1), heights[0] * widths[0])
            fill(dx, plane * geom.height * geom.width, geom.height * geom.width, share)
            continue
        fill(dx, plane * geom.height * geom.width, geom.height * geom.width, np.float32(0))
        shares = scratch[me][: geom.out_w]
        for row in range(geom.out_h):
            start = (plane * geom.out_h + row) * geom.out_w
            for i in range(geom.out_w):
                shares[i] = dy[start + i] / max(np.float32(1), heights[row] * widths[i])
            top = row * geom.stride_y - geom.pad_y
            for line in range(max(0, top), min(geom.height, top + geom.kernel_y)):
                values = dx[(plane * geom.height + line) * geom.width : (plane * geom.height + line + 1) * geom.width]
                for tap in range(geom.kernel_x):
                    low, high = _windows_of_tap(tap, geom.stride_x, geom.pad_x, geom.width, geom.out_w)
                    for i in range(low, high):
                        values[np.uint64(geom.stride_x * i + tap - geom.pad_x)] += shares[i]


@inner_kernel
def _windows_of_tap(tap, stride, pad, size, out):
    """The first window and the one after the last in which tap number `tap` lies on the image of `size`."""
    low = min(out, max(0, (pad - tap + stride - 1) // stride))
    return low, max(low, min(out, (size - 1 + pad - tap) // stride + 1))


@inner_kernel
def _whole(geom):
    """Whether the one window is the whole image."""
    return (
        geom.out_h * geom.out_w == 1
        and geom.pad_y == 0
        and geom.pad_x == 0
        and geom.kernel_y >= geom.height
        and geom.kernel_x >= geom.width
    )
