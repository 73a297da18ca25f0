"""Downsample (FlowNet): a smaller image, in which the corners of both coincide and every pixel is a mean of those near.

With s = (pixels of the bottom - 1) / (pixels of the top - 1) along an axis, a pixel's weight falls from 1 at its place
to 0 s pixels off.  Pixels that are not known, NaN, do not count; where they have more than half of the others' weight,
the top is NaN.  The top is top_width x top_height, or as large as a second bottom.

Source: "FlowNet: Learning Optical Flow with Convolutional Networks" (Fischer et al., 2015) and its prototxts.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault


class Downsample(Layer):
    type = "Downsample"
    launches_only = True
    bottoms = (1, 2)
    never_differentiable = (1,)

    def setup(self, shapes):
        param = self.spec.downsample_param
        if len(shapes) == 1 and not (param.top_width and param.top_height):
            raise SchemaFault("downsample_param: give top_width and top_height, or a second bottom of the size wanted")
        return []

    def infer(self, shapes):
        if any(len(shape) != 4 for shape in shapes):
            raise ShapeFault(f"the bottoms have shapes {shapes}: Downsample takes images, (N, C, H, W)")
        param = self.spec.downsample_param
        out, size = shapes[1][2:] if len(shapes) > 1 else (param.top_height, param.top_width), shapes[0][2:]
        if out != size and (min(out) < 2 or any(after > before for after, before in zip(out, size, strict=True))):
            raise ShapeFault(f"an image of {size} cannot be made {out}: no larger, and 2 x 2 or more, is expected")
        return [(*shapes[0][:2], *out)]

    def forward(self, xs):
        xp, size, out = self.xp, xs[0].shape[2:], self.infer([x.shape for x in xs])[0][2:]
        if size == out:
            self.saved = None
            return [xs[0].copy()]
        rows, columns = (self.matrix(*each).astype(xs[0].dtype) for each in zip(size, out, strict=True))
        unknown = xp.isnan(xs[0])
        known = 1 - unknown.astype(xs[0].dtype)
        weight, lost = (xp.matmul(rows, xp.matmul(part, columns.T)) for part in (known, 1 - known))
        total = xp.matmul(rows, xp.matmul(xp.where(unknown, 0, xs[0]), columns.T))
        void = lost > weight / 2
        weight = xp.where(weight > 0, weight, 1)
        if self.keep:
            self.saved = rows, columns, weight, unknown, void
        return [xp.where(void, xp.nan, total / weight)]

    def backward(self, dys, need):
        if not need[0] or self.saved is None:
            return [dys[0].copy() if need[0] else None, *[None] * (len(need) - 1)]
        xp, (rows, columns, weight, unknown, void) = self.xp, self.saved
        dy = xp.where(void, 0, dys[0] / weight)
        dx = xp.matmul(rows.T, xp.matmul(dy, columns))
        return [xp.where(unknown, 0, dx), *[None] * (len(need) - 1)]

    def matrix(self, size: int, out: int):
        """(out, size): the weight of each pixel of the bottom in each of the top, along an axis."""
        xp, apart = self.xp, (size - 1) / (out - 1)
        return xp.maximum(1 - xp.abs(xp.arange(out)[:, None] * apart - xp.arange(size)) / apart, 0)
