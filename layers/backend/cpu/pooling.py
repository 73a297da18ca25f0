"""Pooling: jobs are planes, or bands of their rows; along a row the taps are compared or added one after the other,
all windows at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.accepts import constants, floats, of_type
from demitasse.layers.backend.cpu.conv.im2col import add_line
from demitasse.layers.backend.cpu.conv.repeated_image import ONE_WINDOW, STEP, RepeatedImage
from demitasse.layers.backend.cpu.gemm_microkernel import TILE_LANES, fill, sum_of
from demitasse.layers.backend.cpu.jit import inner_kernel, kernel
from demitasse.layers.backend.cpu.operands import Matrix
from demitasse.layers.backend.cpu.simd_pooling import LOWEST, fold_lines, fold_windows, max_tile
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import band_count, partition, work
from demitasse.layers.backend.dispatch import takes

JOB_PIXELS = 1 << 10  # of outputs, where planes are small


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


@takes(lambda x, geom, repeats=False: isinstance(x, RepeatedImage) or (floats(x) and _vector_window(geom)[1] != ()))
def max_pool(be, x, geom, repeats=False):
    if not isinstance(x, RepeatedImage):
        return _pool_by_lines(be, x, geom, (0,))
    halves = set(geom.kernel) == set(geom.stride) == {STEP} and not any(geom.pad)
    if not halves or min(x.rows.least, x.columns.least) < ONE_WINDOW:
        return be.max_pool(x.whole(be), geom)
    rows, columns = x.rows.pooled(geom.out[0]), x.columns.pooled(geom.out[1])
    small = _pool_by_lines(be, x.small, geom._replace(out=(rows.small_size, columns.small_size)), (0,))
    y = RepeatedImage(small, rows, columns)
    return y if repeats else y.whole(be)


def _pool_by_lines(be, x, geom, largest):
    """y of windows for which there is vector code: their means, or the largest where `largest` is not ()."""
    y = be.empty((*x.shape[:2], *geom.out))
    windows, arrays = _windows(x.shape, geom), (x.reshape(-1), y.reshape(-1), *_sides(geom, x.shape[2:]))
    be.pool.run(_by_lines, 1, *arrays, windows, *_vector_window(geom), largest, scratch=_line_floats.py_func(windows))
    return y


@inner_kernel
def _line_floats(geom):
    """Of a line of pixels with all that vector code may read around it."""
    return (geom.out_w + 32) * geom.stride_x + geom.kernel_x + geom.pad_x + geom.width + 48


@kernel
def _by_lines(state, scratch, x, y, heights, widths, geom, side, step, largest):
    """The lines that a row of windows sees are made one, of the largest or the sums; then its pixels.

    heights, widths: the windows' sides in image + pad, for means; side and step are not ().
    """
    me = enter(state)
    line = scratch[me][: _line_floats(geom)]
    fill(line, 0, line.size, np.float32(LOWEST if len(largest) > 0 else 0))
    within = min(geom.out_w, (geom.width + geom.pad_x - 1) // geom.stride_x + 1)  # windows beyond hold no pixel
    bands = band_count(state, geom.out_h, geom.out_w)
    parts, at_once = geom.planes * bands, max(1, JOB_PIXELS // (geom.out_h * geom.out_w))
    for job in work(state, me, 0, (parts + at_once - 1) // at_once):
        for part in range(job * at_once, min((job + 1) * at_once, parts)):
            plane, (row0, row1) = part % geom.planes, partition(geom.out_h, part // geom.planes, bands)
            end = (plane * geom.out_h + row1) * geom.out_w
            for row in range(row0, row1):
                top, position = row * geom.stride_y - geom.pad_y, (plane * geom.out_h + row) * geom.out_w
                if top < geom.height:
                    first, last = max(0, top), min(geom.height, top + geom.kernel_y)
                    seen, to, height = (plane * geom.height + first) * geom.width, geom.pad_x, heights[row]
                    if geom.width >= TILE_LANES:
                        fold_lines(x, seen, geom.width, last - first, line, to, largest, ())
                    else:
                        fold_lines(x, seen, geom.width, last - first, line, to, largest, (0,))
                    out, exact = Matrix(y, position, within), position + TILE_LANES > end
                    if within >= TILE_LANES:
                        fold_windows(line, out, height, widths, side, step, largest, (), exact)
                    else:
                        fold_windows(line, out, height, widths, side, step, largest, (0,), exact)
                done = within if top < geom.height else 0
                fill(y, position + done, geom.out_w - done, np.float32(0))


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
    if _vector_window(geom)[1] != ():
        return _pool_by_lines(be, x, geom, ())
    y = be.empty((*x.shape[:2], *geom.out))
    windows, sides = _windows(x.shape, geom), _sides(geom, x.shape[2:])
    scratch = _line_floats.py_func(windows)
    be.pool.run(_ave_forward, 1, x.reshape(-1), y.reshape(-1), windows, *sides, scratch=scratch)
    return y


@kernel
def _ave_forward(state, scratch, x, y, geom, heights, widths):
    """The sum of each window over its area: lines are added up first, then taps.

    heights, widths: the windows' sides in image + pad; scratch: a line with its pad.
    """
    me = enter(state)
    line = scratch[me][: _line_floats(geom)]
    fill(line, 0, line.size, np.float32(0))
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
            _add_taps(line, geom, y, start)
            for i in range(geom.out_w):
                y[start + i] /= max(np.float32(1), heights[row] * widths[i])


@inner_kernel
def _add_taps(line, geom, y, start):
    """y[start :] = the sums of all windows over a line."""
    fill(y, start, geom.out_w, np.float32(0))
    for tap in range(geom.kernel_x):
        if geom.stride_x == 1:
            add_line(line, tap, y, start, geom.out_w)
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
