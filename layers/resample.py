"""Resample (FlowNet 2): resizing to width x height, or to the size of a second bottom.

With fx columns and fy rows of the bottom to one of the top, column x of the top sees the place x fx + fy / 2 - 0.5 of
the bottom, and rows alike (each has the other's shift, as in the fork; of equal factors pixels' centres coincide).
LINEAR is a triangle that ends one pixel off, CUBIC Keys' curve of two pixels; with antialias, where either factor is
above 1, they are stretched by their factors.  Weights are divided by their sum.  NEAREST is the nearest pixel.
Resizing is linear, so it is a matrix from the left (rows) and one from the right (columns).

Source: the prototxts of FlowNet and FlowNet 2.
"""

from demitasse.layers.separable import SeparableResize
from demitasse.proto.errors import SchemaFault, ShapeFault


class Resample(SeparableResize):
    type = "Resample"

    def setup(self, shapes):
        param = self.spec.resample_param
        if param.type == param.AREA:
            raise SchemaFault("resample_param: type AREA is not known: choose NEAREST, LINEAR or CUBIC")
        if len(shapes) == 1 and not (param.width and param.height):
            raise SchemaFault("resample_param: give width and height, or a second bottom of the size that is wanted")
        return []

    def infer(self, shapes):
        if any(len(shape) != 4 for shape in shapes):
            raise ShapeFault(f"the bottoms have shapes {shapes}: Resample takes images, (N, C, H, W)")
        param = self.spec.resample_param
        out = shapes[1][2:] if len(shapes) > 1 else (param.height, param.width)
        if min(*shapes[0][2:], *out) < 1:
            raise ShapeFault(f"an image of {shapes[0][2:]} cannot be resized to {out}")
        return [(*shapes[0][:2], *out)]

    def matrices(self, shapes):
        """Of rows (out, H) and of columns (out, W)."""
        size, out = shapes[0][2:], self.infer(shapes)[0][2:]
        fy, fx = (before / after for before, after in zip(size, out, strict=True))
        smaller = max(fx, fy) > 1
        return self.matrix(size[0], out[0], fy, fx, smaller), self.matrix(size[1], out[1], fx, fy, smaller)

    def matrix(self, size: int, out: int, factor: float, other: float, smaller: bool):
        """(out, size): the part of each pixel of the bottom in each of the top, along an axis."""
        xp, param = self.xp, self.spec.resample_param
        place = (xp.arange(out) * factor + other / 2 - 0.5)[:, None]
        if param.type == param.NEAREST:
            return xp.clip(xp.floor(place + 0.5), 0, size - 1) == xp.arange(size)
        apart = xp.abs(place - xp.arange(size)) / (factor if smaller and param.antialias else 1)
        if param.type == param.LINEAR:
            parts = xp.maximum(1 - apart, 0)
        else:
            near, far = (1.5 * apart - 2.5) * apart**2 + 1, ((2.5 - 0.5 * apart) * apart - 4) * apart + 2
            parts = xp.where(apart <= 1, near, xp.where(apart < 2, far, 0))
        total = parts.sum(1, keepdims=True)
        return xp.where(total != 0, parts / xp.where(total != 0, total, 1), 0)
