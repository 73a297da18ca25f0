"""Resize: bilinear resizing in which pixel i of the top is the bottom at i times (bottom's size / top's size).

The top is height x width, or with is_pyramid_test: true the bottom's sizes times out_height_scale and out_width_scale,
without fractions.  Beyond the bottom's last row and column is zero, so that a larger top grows dark at its far ends, as
in the forks.  Resizing is linear, so it is a matrix from the left (rows) and one from the right (columns).

Source: the prototxts of forks for face parsing, dense detection and filters, among them Liusifei's.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault


class Resize(Layer):
    type = "Resize"
    fields = ("resize_param",)
    launches_only = True

    def setup(self, shapes):
        param = self.spec.resize_param
        names = ("out_height_scale", "out_width_scale") if param.is_pyramid_test else ("height", "width")
        if not all(getattr(param, name) > 0 for name in names):
            raise SchemaFault(
                f"resize_param: give {names[0]} and {names[1]}, above 0 (is_pyramid_test: true asks for scales)"
            )
        return []

    def infer(self, shapes):
        (shape,), param = shapes, self.spec.resize_param
        if len(shape) != 4:
            raise ShapeFault(f"the bottom has shape {shape}: Resize takes images, (N, C, H, W)")
        out = param.height, param.width
        if param.is_pyramid_test:
            out = int(param.out_height_scale * shape[2]), int(param.out_width_scale * shape[3])
        if min(*out, *shape[2:]) < 1:
            raise ShapeFault(f"an image of {shape[2]} x {shape[3]} cannot be resized to {out[0]} x {out[1]}")
        return [(*shape[:2], *out)]

    def forward(self, xs):
        sizes = zip(xs[0].shape[2:], self.infer([xs[0].shape])[0][2:], strict=True)
        rows, columns = (self.matrix(size, out).astype(xs[0].dtype) for size, out in sizes)
        if self.keep:
            self.saved = rows, columns
        return [self.xp.matmul(rows, self.xp.matmul(xs[0], columns.T))]

    def backward(self, dys, need):
        rows, columns = self.saved
        return [self.xp.matmul(rows.T, self.xp.matmul(dys[0], columns)) if need[0] else None]

    def matrix(self, size: int, out: int):
        """(out, size): the part of each pixel of the bottom in each of the top, along an axis."""
        place = self.xp.arange(out)[:, None] * (size / out)
        return self.xp.maximum(1 - self.xp.abs(place - self.xp.arange(size)), 0)
