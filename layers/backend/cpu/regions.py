"""Pooling over windows that each region has for itself.  Forward a job is some channels of a region; backward it is a
plane, to which all regions add in their order, so that sums are the same for any number of threads.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.accepts import floats, of_type
from demitasse.layers.backend.cpu.gemm_microkernel import fill
from demitasse.layers.backend.cpu.jit import inner_kernel, kernel
from demitasse.layers.backend.cpu.simd_pooling import LOWEST
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work
from demitasse.layers.backend.dispatch import takes

CHANNELS = 64  # of a forward job


def _integers(*arrays):
    return all(of_type(np.int32, a) for a in arrays)


@takes(lambda x, image, rows, columns: floats(x) and _integers(image, rows, columns))
def region_max_forward(be, x, image, rows, columns):
    shape = (len(image), x.shape[1], rows.shape[1], columns.shape[1])
    y, index = be.empty(shape), be.empty(shape, np.int32)
    be.pool.run(_max_forward, 1, x, image, rows, columns, y, index)
    return y, index


@kernel
def _max_forward(state, x, image, rows, columns, y, index):
    me = enter(state)
    regions, channels, _, _ = y.shape
    pieces = (channels + CHANNELS - 1) // CHANNELS
    for job in work(state, me, 0, regions * pieces):
        r, first = job // pieces, job % pieces * CHANNELS
        for c in range(first, min(channels, first + CHANNELS)):
            _max_of_windows(x[image[r], c], rows[r], columns[r], y[r, c], index[r, c])


@inner_kernel
def _max_of_windows(plane, rows, columns, y, index):
    """y and index (P, Q) of one region in one plane (H, W)."""
    width = plane.shape[1]
    for p in range(len(rows)):
        top, bottom = rows[p, 0], rows[p, 1]
        for q in range(len(columns)):
            left, right = columns[q, 0], columns[q, 1]
            best, position = np.float32(LOWEST), -1
            for i in range(top, bottom):
                for j in range(left, right):
                    if plane[i, j] > best:
                        best, position = plane[i, j], i * width + j
            y[p, q] = best if bottom > top and right > left else np.float32(0)
            index[p, q] = position


@takes(lambda dy, index, image, shape: floats(dy) and _integers(index, image))
def region_max_backward(be, dy, index, image, shape):
    dx = be.empty(shape)
    sizes = (*dy.shape[:2], dy.shape[2] * dy.shape[3])
    be.pool.run(_max_backward, 1, dy.reshape(sizes), index.reshape(sizes), image, dx.reshape(*shape[:2], -1))
    return dx


@kernel
def _max_backward(state, dy, index, image, dx):
    me = enter(state)
    images, channels, area = dx.shape
    for job in work(state, me, 0, images * channels):
        n, c = job // channels, job % channels
        fill(dx[n, c], 0, area, np.float32(0))
        for r in range(len(image)):
            if image[r] == n:
                for i in range(dy.shape[2]):
                    if index[r, c, i] >= 0:
                        dx[n, c, index[r, c, i]] += dy[r, c, i]


@takes(lambda x, image, rows, columns: floats(x) and _integers(image, rows, columns))
def region_mean_forward(be, x, image, rows, columns):
    cells = rows.shape[1], columns.shape[1]
    y = be.empty((len(image), x.shape[1] // (cells[0] * cells[1]), *cells))
    be.pool.run(_mean_forward, 1, x, image, rows, columns, y)
    return y


@kernel
def _mean_forward(state, x, image, rows, columns, y):
    me = enter(state)
    regions, numbers, height, width = y.shape
    for job in work(state, me, 0, regions):
        for d in range(numbers):
            for p in range(height):
                for q in range(width):
                    plane = x[image[job], (d * height + p) * width + q]
                    total = np.float32(0)
                    for i in range(rows[job, p, 0], rows[job, p, 1]):
                        for j in range(columns[job, q, 0], columns[job, q, 1]):
                            total += plane[i, j]
                    y[job, d, p, q] = total / _area(rows[job, p], columns[job, q])


@takes(lambda dy, image, rows, columns, shape: floats(dy) and _integers(image, rows, columns))
def region_mean_backward(be, dy, image, rows, columns, shape):
    dx = be.empty(shape)
    be.pool.run(_mean_backward, 1, dy, image, rows, columns, dx)
    return dx


@kernel
def _mean_backward(state, dy, image, rows, columns, dx):
    me = enter(state)
    images, channels, height, width = dx.shape
    for job in work(state, me, 0, images * channels):
        n, c = job // channels, job % channels
        d, p, q = c // (dy.shape[2] * dy.shape[3]), c // dy.shape[3] % dy.shape[2], c % dy.shape[3]
        dx[n, c] = 0
        for r in range(len(image)):
            if image[r] == n:
                share = dy[r, d, p, q] / _area(rows[r, p], columns[r, q])
                for i in range(rows[r, p, 0], rows[r, p, 1]):
                    for j in range(columns[r, q, 0], columns[r, q, 1]):
                        dx[n, c, i, j] += share


@inner_kernel
def _area(row, column):
    """The pixels of a window from row[0] to row[1] and from column[0] to column[1], at least 1."""
    return np.float32(max(1, (row[1] - row[0]) * (column[1] - column[0])))


@takes(lambda x, image, rows, columns: floats(x, rows, columns) and _integers(image))
def region_weighted_forward(be, x, image, rows, columns):
    y = be.empty((len(image), x.shape[1], rows.shape[1], columns.shape[1]))
    be.pool.run(_weighted_forward, 1, x, image, rows, _spans(rows), columns, _spans(columns), y, scratch=x.shape[3])
    return y


@takes(lambda dy, image, rows, columns, shape: floats(dy, rows, columns) and _integers(image))
def region_weighted_backward(be, dy, image, rows, columns, shape):
    dx = be.empty(shape)
    be.pool.run(_weighted_backward, 1, dy, image, rows, _spans(rows), columns, _spans(columns), dx, scratch=shape[3])
    return dx


def _spans(weights):
    """(R, cells, 2) int32: where the weights (R, cells, size) that are not 0 begin and end."""
    counts = weights != 0
    first = counts.argmax(axis=2)
    end = weights.shape[2] - counts[:, :, ::-1].argmax(axis=2)
    return np.stack([first, np.where(counts.any(axis=2), end, first)], axis=-1).astype(np.int32)


@kernel
def _weighted_forward(state, scratch, x, image, rows, row_spans, columns, column_spans, y):
    """The rows of a cell are added up to one line first, which all its neighbours to the right share."""
    me = enter(state)
    regions, channels, height, width = y.shape
    pieces, line = (channels + CHANNELS - 1) // CHANNELS, scratch[me]
    for job in work(state, me, 0, regions * pieces):
        r, first = job // pieces, job % pieces * CHANNELS
        left, right = _reach(column_spans[r])
        for c in range(first, min(channels, first + CHANNELS)):
            plane = x[image[r], c]
            for p in range(height):
                line[left:right] = 0
                for i in range(row_spans[r, p, 0], row_spans[r, p, 1]):
                    weight = rows[r, p, i]
                    for j in range(left, right):
                        line[j] += weight * plane[i, j]
                for q in range(width):
                    total = np.float32(0)
                    for j in range(column_spans[r, q, 0], column_spans[r, q, 1]):
                        total += line[j] * columns[r, q, j]
                    y[r, c, p, q] = total


@kernel
def _weighted_backward(state, scratch, dy, image, rows, row_spans, columns, column_spans, dx):
    me = enter(state)
    images, channels, _, _ = dx.shape
    line = scratch[me]
    for job in work(state, me, 0, images * channels):
        n, c = job // channels, job % channels
        plane = dx[n, c]
        plane[:] = 0
        for r in range(len(image)):
            if image[r] == n:
                left, right = _reach(column_spans[r])
                for p in range(dy.shape[2]):
                    line[left:right] = 0
                    for q in range(dy.shape[3]):
                        for j in range(column_spans[r, q, 0], column_spans[r, q, 1]):
                            line[j] += dy[r, c, p, q] * columns[r, q, j]
                    for i in range(row_spans[r, p, 0], row_spans[r, p, 1]):
                        weight = rows[r, p, i]
                        for j in range(left, right):
                            plane[i, j] += weight * line[j]


@inner_kernel
def _reach(spans):
    """The first column that any of a region's cells counts, and the one after the last."""
    left, right = spans[0, 0], spans[0, 1]
    for q in range(1, len(spans)):
        left, right = min(left, spans[q, 0]), max(right, spans[q, 1])
    return left, right
