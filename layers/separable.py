"""Resizing by the same rule in all channels, along each axis by itself: a matrix from the left for rows, and one from
the right for columns."""

from __future__ import annotations

from demitasse.layers.layer import Layer


class SeparableResize(Layer):
    """The base of layers that resize images (N, C, H, W), to the size of a second bottom if there is one.

    `matrices(shapes)` gives those of rows (out, H) and of columns (out, W).
    """

    launches_only = True
    bottoms = (1, 2)
    never_differentiable = (1,)

    def forward(self, xs):
        rows, columns = (matrix.astype(xs[0].dtype) for matrix in self.matrices([x.shape for x in xs]))
        if self.keep:
            self.saved = rows, columns
        return [self.xp.matmul(rows, self.xp.matmul(xs[0], columns.T))]

    def backward(self, dys, need):
        if not need[0]:
            return [None] * len(need)
        rows, columns = self.saved
        return [self.xp.matmul(rows.T, self.xp.matmul(dys[0], columns)), *[None] * (len(need) - 1)]
