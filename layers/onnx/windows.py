"""Pooling whose windows are clipped to the image as Caffe clips them, in operators that clip otherwise.

Along an axis of n pixels, with kernel k, stride s and pad p, windows begin at -p, s - p, 2 s - p, ... as far as
ceil((n + 2 p - k) / s) + 1 goes, those that would begin beyond n + p left out.  ONNX counts the same way where
p + s <= k, since no window then begins so late, or where nothing is rounded up; else the image is padded on purpose,
by as much as its size in this run asks for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from demitasse.layers.onnx.graph import FLOAT, INT, Graph, Tensor

LOWEST = float(np.finfo(np.float32).min)  # what a pixel that isn't there weighs in MAX


class Windows:
    """The windows over the image axes (2 and on) of x; tuples have an entry for each of them."""

    def __init__(self, graph: Graph, x: Tensor, kernel, stride, pad, floor: bool = False):
        self.graph, self.x, self.kernel, self.stride, self.pad = graph, x, kernel, stride, pad
        self.sizes = graph.sizes(x)[2:]
        self.axes = list(zip(self.sizes, kernel, stride, pad, strict=True))
        self.fixed = fixed = all(isinstance(n, int) for n in self.sizes)
        # whether the last windows end with the image and its pad, so that rounding makes no difference
        self.even = floor or (fixed and not any((n + 2 * p - k) % s for n, k, s, p in self.axes))
        self.plain = self.even or all(p + s <= k for _, k, s, p in self.axes)

    def max(self, mask: bool = False) -> list[Tensor]:
        """The largest pixel of each window, and with `mask` the first index where it is, row by row in its plane."""
        if self.plain:
            attrs = self._attrs() | self._rounded()
            if not mask:
                return [self.graph.node("MaxPool", self.x, **attrs)]
            y, index = self.graph.node("MaxPool", self.x, outputs=2, **attrs)
            index.dtype = INT
            return [y, self._in_plane(index, self.sizes, (0,) * len(self.pad))]
        outs = [self._begun(*axis) for axis in self.axes]
        wide, sizes = self._padded(self.x, outs, LOWEST)
        y, index = self.graph.node("MaxPool", wide, outputs=2, **self._attrs())
        index.dtype = INT
        tops = [y, self._in_plane(index, sizes, self.pad)] if mask else [y]
        empty = [count - out for count, out in zip(self._counts(), outs, strict=True)]
        if any(isinstance(size, Tensor) or size for size in empty):
            tops = [self.graph.pad(top, [0] * (2 + len(empty)), [0, 0, *empty]) for top in tops]
        return tops

    def mean(self) -> Tensor:
        """The sum of each window's pixels over its area in image and pad."""
        if self.even:
            attrs = self._attrs() | {"pads": [*self.pad] * 2, "count_include_pad": int(any(self.pad))}
            return self.graph.node("AveragePool", self.x, **attrs)
        if self.plain and not any(self.pad):
            return self.graph.node("AveragePool", self.x, **self._attrs(), **self._rounded())
        y = self._whole_means(self.x)
        for axis, (count, (n, k, s, p)) in enumerate(zip(self._counts(), self.axes, strict=True)):
            reach = n + 2 * p - self.graph.arange(count) * s  # from each window's first pixel to the end of the pad
            area = self.graph.clip(self.graph.cast(reach, FLOAT), 1.0, float(k))
            column = self.graph.reshape(float(k) / area, [-1, *(1 for _ in self.axes[axis + 1 :])])
            y = y * column
        return y

    def expected(self) -> Tensor:
        """What drawing a pixel by its share in its window's sum gives on average: sum(x^2) / sum(x)."""
        area = float(math.prod(self.kernel))
        total, squares = (self._whole_means(x) * area for x in (self.x, self.x * self.x))
        return squares / self.graph.where(total > 0.0, total, 1.0)

    def _whole_means(self, x: Tensor) -> Tensor:
        """The sum of each window's pixels over the kernel's whole area."""
        wide, _ = self._padded(x, self._counts(), 0.0)
        return self.graph.node("AveragePool", wide, **self._attrs())

    def _rounded(self) -> dict:
        """How far the last windows reach: as much pad as they need, since not every runtime heeds ceil_mode; that
        attribute where the image's size is not known yet."""
        if self.even or not self.fixed:
            return {"pads": [*self.pad] * 2, "ceil_mode": int(not self.even)}
        reach = [
            max((count - 1) * s + k - n - p, 0) for count, (n, k, s, p) in zip(self._counts(), self.axes, strict=True)
        ]
        return {"pads": [*self.pad, *reach]}

    def _attrs(self) -> dict:
        return {"kernel_shape": list(self.kernel), "strides": list(self.stride)}

    def _counts(self):
        """How many windows there are."""
        counts = []
        for n, k, s, p in self.axes:
            count = (n + (2 * p - k + (0 if self.even else s - 1))) // s + 1
            counts.append(self.graph.smaller(count, (n + p - 1) // s + 1) if any(self.pad) else count)
        return counts

    def _begun(self, n, k, s, p):
        """How many windows begin in the image: without pad, a stride above the kernel can leave one behind it."""
        return self.graph.smaller((n + (2 * p - k + s - 1)) // s + 1, (n + p - 1) // s + 1)

    def _padded(self, x: Tensor, counts, value: float):
        """x with pixels of `value` where these windows reach beyond it, and its image's sizes."""
        graph = self.graph
        after = [
            graph.larger((count - 1) * s + (k - p) - n, 0)
            for count, (n, k, s, p) in zip(counts, self.axes, strict=True)
        ]
        sizes = [n + p + a for n, p, a in zip(self.sizes, self.pad, after, strict=True)]
        return graph.pad(x, [0, 0, *self.pad], [0, 0, *after], value), sizes

    def _in_plane(self, index: Tensor, sizes, pad) -> Tensor:
        """Indices into a whole array of these image sizes as indices into the plane of x, which lies behind the pad."""
        total, stride, inner = None, 1, 1
        for axis in reversed(range(len(sizes))):
            along = (index // _int(self.graph, inner)) % _int(self.graph, sizes[axis])
            along = along - pad[axis] if pad[axis] else along
            part = along * _int(self.graph, stride)
            total = part if total is None else total + part
            stride, inner = stride * self.sizes[axis], inner * sizes[axis]
        return self.graph.cast(total, FLOAT)


def _int(graph: Graph, size) -> Tensor:
    return size if isinstance(size, Tensor) else graph.constant(size, INT)


def on_images(graph: Graph, x: Tensor, axis: int, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """`compute` of x with all axes before its channels, `axis`, taken as one batch."""
    if axis == 1:
        return compute(x)
    sizes = graph.sizes(x)
    y = compute(graph.reshape(x, [-1, *sizes[axis:]]))
    return graph.reshape(y, [*sizes[:axis], *(graph.size(y, i) for i in range(1, len(sizes) - axis + 1))])


def im2col(graph: Graph, x: Tensor, axis: int, geometry) -> Tensor:
    """What each window of a convolution sees, as channels: each plane under a kernel for each cell of the window."""
    cells = math.prod(geometry.kernel)
    sizes = graph.sizes(x)
    kernels = graph.constant(np.eye(cells, dtype=FLOAT).reshape(cells, 1, *geometry.kernel))
    planes = graph.reshape(x, [-1, 1, *sizes[axis + 1 :]])
    y = graph.node("Conv", planes, kernels, **conv_attrs(geometry) | {"group": 1})
    out = (graph.size(y, i) for i in range(2, 2 + len(geometry.kernel)))
    return graph.reshape(y, [*sizes[:axis], sizes[axis] * cells, *out])


def conv_attrs(geometry) -> dict:
    """A ConvGeometry in ONNX's words."""
    return {
        "kernel_shape": list(geometry.kernel),
        "strides": list(geometry.stride),
        "pads": [*geometry.pad] * 2,
        "dilations": list(geometry.dilation),
        "group": geometry.group,
    }


def bins(graph: Graph, x: Tensor, count: int, largest: bool) -> Tensor:
    """SPP's level of count x count bins, (N, C, count, count): the largest pixel of each, or the mean.

    Bins are ceil(n / count) long; what they cover too much is half before the image, half behind, and counts in means.
    """
    columns, areas = [], []
    for axis in (2, 3):
        n = graph.size(x, axis)
        k = (n + (count - 1)) // count
        p = (k * count - n + 1) // 2
        ends = []
        for i in range(count):
            start = k * i - p
            ends.append((graph.larger(start, 0), graph.smaller(start + k, n), graph.smaller(start + k, n + p) - start))
        columns.append([(start, end) for start, end, _ in ends])
        areas.append([graph.as_float(area) for _, _, area in ends])
    parts = []
    for (y, row), (x_, column) in itertools.product(enumerate(columns[0]), enumerate(columns[1])):
        window = graph.slice(x, [row[0], column[0]], [row[1], column[1]], [2, 3])
        if largest:
            parts.append(graph.maximum(window, (2, 3)))
        else:
            parts.append(graph.sum(window, (2, 3)) / (areas[0][y] * areas[1][x_]))
    return graph.reshape(graph.concat(parts, 2), [*graph.sizes(x)[:2], count, count])
