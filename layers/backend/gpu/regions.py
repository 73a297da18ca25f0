"""Pooling over windows that each region has for itself, by own kernels."""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.gpu.launch import launch


def region_max_forward(be, x, image, rows, columns):
    y = be.empty((len(image), x.shape[1], rows.shape[1], columns.shape[1]))
    index = be.empty(y.shape, np.int32)
    launch(be, "regions", "region_max", y.size, x, image, rows, columns, y, index, *_sizes(be, x, y))
    return y, index


def region_max_backward(be, dy, index, image, shape):
    dx = be.empty(shape)
    sizes = np.int32(len(image)), _geometry(be, shape, dy)
    launch(be, "regions", "region_max_back", dx.size, dy, index, image, dx, *sizes, blocks=shape[0] * shape[1])
    return dx


def region_mean_forward(be, x, image, rows, columns):
    cells = rows.shape[1], columns.shape[1]
    y = be.empty((len(image), x.shape[1] // (cells[0] * cells[1]), *cells))
    launch(be, "regions", "region_mean", y.size, x, image, rows, columns, y, *_sizes(be, x, y))
    return y


def region_mean_backward(be, dy, image, rows, columns, shape):
    dx = be.empty(shape)
    sizes = np.int64(dx.size), np.int32(len(image)), _geometry(be, shape, dy)
    launch(be, "regions", "region_mean_back", dx.size, dy, image, rows, columns, dx, *sizes)
    return dx


def region_weighted_forward(be, x, image, rows, columns):
    y = be.empty((len(image), x.shape[1], rows.shape[1], columns.shape[1]))
    weights = *_spanned(be, rows), *_spanned(be, columns)
    launch(be, "regions", "region_weighted", y.size, x, image, *weights, y, *_sizes(be, x, y))
    return y


def region_weighted_backward(be, dy, image, rows, columns, shape):
    dx, weights = be.empty(shape), (*_spanned(be, rows), *_spanned(be, columns))
    sizes = np.int64(dx.size), np.int32(len(image)), _geometry(be, shape, dy)
    launch(be, "regions", "region_weighted_back", dx.size, dy, image, *weights, dx, *sizes)
    return dx


def _sizes(be, x, y):
    """What a forward kernel of one thread for each element of y takes at its end."""
    return np.int64(y.size), _geometry(be, x.shape, y)


def _geometry(be, images, regions):
    """The sizes of images (N, C, H, W), and those of an array of regions (R, numbers, P, Q); how many there are
    differs from image to image."""
    return be.runtime.constants((*images, *regions.shape[1:]))


def _spanned(be, weights):
    """Weights (R, cells, size), and where those begin and end that are not 0 (R, cells + 1, 2): each cell's, and those
    of all cells of the region."""
    regions, cells, size = weights.shape
    spans = be.empty((regions, cells + 1, 2), np.int32)
    launch(be, "regions", "region_spans", regions, weights, spans, np.int64(regions), np.int32(cells), np.int32(size))
    return weights, spans
