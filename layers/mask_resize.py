"""MaskResize (SSTD): bilinear resizing in which the first pixels of the images coincide.

The bottom (N, C, H, W) becomes output_height x output_width; factor_height and factor_width, where given, make it so
many times the bottom's size, rounded down.  Pixel i of the top lies at i * H / output_height; the border's value is
repeated for half a pixel, and beyond that all is 0.  Sampling is linear, so it is a matrix from the left (rows) and one
from the right (columns).

Source: "Single Shot Text Detector with Regional Attention" (He et al., 2017), whose attention map it brings to the
sizes of the feature maps.
"""

from demitasse.layers.layer import Layer
from demitasse.layers.onnx.graph import FLOAT, INT
from demitasse.proto.errors import SchemaFault, ShapeFault

DOUBLE = "float64"


class MaskResize(Layer):
    type = "MaskResize"

    def setup(self, shapes):
        param = self.spec.mask_resize_param
        for side in ("height", "width"):
            size, factor = getattr(param, f"output_{side}"), getattr(param, f"factor_{side}")
            if size < 1 and factor <= 0:
                raise SchemaFault(f"mask_resize_param gives no {side}: write output_{side}, or factor_{side}: 0.5")
        return []

    def infer(self, shapes):
        (shape,), param = shapes, self.spec.mask_resize_param
        if len(shape) != 4:
            raise ShapeFault(f"the bottom has shape {shape}: MaskResize takes images, (N, C, H, W)")
        factors, sizes = (param.factor_height, param.factor_width), (param.output_height, param.output_width)
        out = [
            int(n * factor) if factor > 0 else size for n, factor, size in zip(shape[2:], factors, sizes, strict=True)
        ]
        if min(out) < 1:
            raise ShapeFault(f"factors {factors} leave nothing of the bottom {shape}: use larger ones")
        return [(*shape[:2], *out)]

    def forward(self, xs):
        (x,), ((*_, height, width),) = xs, self.infer([xs[0].shape])
        rows, columns = self._matrix(x.shape[2], height, x.dtype), self._matrix(x.shape[3], width, x.dtype)
        if self.keep:
            self.saved = rows, columns
        return [self.xp.matmul(rows, self.xp.matmul(x, columns.T))]

    def backward(self, dys, need):
        rows, columns = self.saved
        return [self.xp.matmul(rows.T, self.xp.matmul(dys[0], columns)) if need[0] else None]

    def to_onnx(self, graph, xs):
        param, (height, width) = self.spec.mask_resize_param, graph.sizes(xs[0])[2:]
        sides = ((height, param.factor_height, param.output_height), (width, param.factor_width, param.output_width))
        rows, columns = (self._onnx_matrix(graph, *side) for side in sides)
        y = graph.node("MatMul", xs[0], graph.transpose(columns, [1, 0]))
        return [graph.node("MatMul", rows, y)]

    def _onnx_matrix(self, graph, size, factor, out):
        """`_matrix` in the graph."""
        size = graph.vector([size])
        length = graph.cast(size, DOUBLE)
        count = graph.cast(length * factor, INT) if factor > 0 else graph.constant([out], INT)
        position = graph.cast(graph.arange(count), DOUBLE) * (length / graph.cast(count, DOUBLE))
        inside = graph.reshape(graph.cast(position <= length - 0.5, DOUBLE), [-1, 1])
        held = graph.reshape(graph.node("Min", position, length - 1.0), [-1, 1])
        near = 1.0 - graph.node("Abs", held - graph.cast(graph.arange(size), DOUBLE))
        return graph.cast(inside * graph.clip(near, 0.0), FLOAT)

    def _matrix(self, size, out, dtype):
        """(out, size): the part of each pixel of the bottom in each of the top, along an axis."""
        xp = self.xp
        position = xp.arange(out) * (size / out)
        inside = (position <= size - 0.5)[:, None]
        near = 1 - abs(xp.minimum(position, size - 1)[:, None] - xp.arange(size))
        return (inside * xp.maximum(near, 0)).astype(dtype)
