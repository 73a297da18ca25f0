"""Gaussian filters of many dimensions on the permutohedral lattice, no layer itself.

After "Fast high-dimensional filtering using the permutohedral lattice" (Adams, Baek and Davis, 2010): a point gives its
values to the d + 1 corners of its cell of a lattice of simplices, the lattice is blurred along its d + 1 axes, and the
point takes its corners' values back.  That comes near to weights exp(-|f_i - f_j|^2 / 2) between points i and j of
features f, at a cost in proportion to the number of points.
"""

from __future__ import annotations

import math


class Lattice:
    """The lattice of points with features (n, d)."""

    def __init__(self, xp, features):
        self.xp, (self.points, d) = xp, features.shape
        self.axes = d + 1
        elevated = self._elevated(features.astype(xp.float64))
        nearest, rank = self._nearest(elevated)
        self.weights = self._barycentric(elevated, nearest, rank)
        corners = [xp.where(rank + r > d, nearest + r - self.axes, nearest + r)[:, :d] for r in range(self.axes)]
        keys = xp.stack(corners, 1).reshape(-1, d).astype(xp.int64)
        least, most = keys.min(0) - self.axes, keys.max(0) + self.axes  # with room for neighbours
        strides = [1]
        for size in (most - least + 1).tolist()[:-1]:
            strides.append(strides[-1] * size)
        codes, corner_of = xp.unique(((keys - least) * xp.asarray(strides)).sum(1), return_inverse=True)
        self.corner_of, self.vertices = corner_of.reshape(self.points, self.axes), len(codes)
        self.neighbours = []
        for axis in range(self.axes):
            step = (strides[axis] * self.axes if axis < d else 0) - sum(strides)
            self.neighbours.append((self._find(codes, codes + step), self._find(codes, codes - step)))

    def filtered(self, values, transposed: bool = False):
        """values (C, n) filtered; transposed: by the adjoint, for gradients."""
        lattice = self._splat(values)
        for below, above in self.neighbours[:: -1 if transposed else 1]:
            lattice[:, :-1] += 0.5 * (lattice[:, below] + lattice[:, above])
        scale = 1 / (1 + 2.0 ** -(self.axes - 1))
        taken = (lattice[:, self.corner_of] * self.weights).sum(2) * scale
        return taken.astype(values.dtype)

    def _splat(self, values):
        """(C, vertices + 1): what each vertex is given; 0 in the last, which stands for vertices that are not there."""
        corners, size = self.corner_of.reshape(-1), self.vertices + 1
        rows = [
            self.xp.bincount(corners, (row[:, None] * self.weights).reshape(-1), minlength=size)[:size]
            for row in values
        ]
        return self.xp.stack(rows)

    def _elevated(self, features):
        """The features in the plane of d + 1 coordinates whose sum is 0, so that a blur has variance 1."""
        xp, d = self.xp, self.axes - 1
        scale = [math.sqrt(2 / 3) * self.axes / math.sqrt((i + 1) * (i + 2)) for i in range(d)]
        scaled = features * xp.asarray(scale)
        above = xp.cumsum(scaled[:, ::-1], 1)[:, ::-1]  # the sum from each coordinate on
        columns = [above[:, 0]] + [(above[:, j] if j < d else 0) - j * scaled[:, j - 1] for j in range(1, self.axes)]
        return xp.stack(columns, 1)

    def _nearest(self, elevated):
        """The nearest lattice point of remainder 0, and each coordinate's rank by its distance from it."""
        xp = self.xp
        nearest = xp.rint(elevated / self.axes) * self.axes
        apart = elevated - nearest
        earlier = xp.tri(self.axes, k=-1).astype(bool)[None]  # of equals the first ranks first
        larger = apart[:, None, :] > apart[:, :, None]
        rank = (larger | (earlier & (apart[:, None, :] == apart[:, :, None]))).sum(2)
        rank = rank + (nearest.sum(1) / self.axes).astype(rank.dtype)[:, None]
        turn = xp.where(rank < 0, self.axes, 0) - xp.where(rank >= self.axes, self.axes, 0)
        return nearest + turn, rank + turn

    def _barycentric(self, elevated, nearest, rank):
        """(n, d + 1): the share of each corner in its point."""
        xp, shares = self.xp, (elevated - nearest) / self.axes
        rows = xp.arange(self.points)
        weights = xp.zeros((self.points, self.axes + 1))
        for i in range(self.axes):
            weights[rows, self.axes - 1 - rank[:, i]] += shares[:, i]
            weights[rows, self.axes - rank[:, i]] -= shares[:, i]
        weights[:, 0] += 1 + weights[:, -1]
        return weights[:, :-1]

    def _find(self, codes, wanted):
        """Where the wanted codes stand among the codes; past the last, where they do not."""
        places = self.xp.clip(self.xp.searchsorted(codes, wanted), 0, self.vertices - 1)
        return self.xp.where(codes[places] == wanted, places, self.vertices)
