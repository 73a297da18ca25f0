"""Upsample (SegNet, ENet): undoes a max pooling, with every value put back where the maximum was.

Bottoms: x (N, C, H, W) and the mask, the pooling layer's second top, with the position of each value in the plane of
the top; the rest of the top is 0.  The top measures upsample_h x upsample_w, or scale times the bottom (scale_h and
scale_w for each axis) less pad_out_h and pad_out_w, the rows and columns that pooling had cut off.
Without a mask (as in the YOLO forks) every value is repeated scale x scale times.
A mask of other sizes raises ShapeFault; on a device that would have to be waited for, its values become NaN.

Source: "SegNet" (Badrinarayanan et al., 2015).
"""

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault


class Upsample(Layer):
    type = "Upsample"
    launches_only = True
    bottoms = (1, 2)
    never_differentiable = (1,)

    def setup(self, shapes):
        field = self.spec.upsample_param
        self.scale = [getattr(field, name) if field.HasField(name) else field.scale for name in ("scale_h", "scale_w")]
        self.size = (field.upsample_h, field.upsample_w) if len(shapes) == 2 else (0, 0)
        if min(self.scale) < 2 and not all(self.size):
            raise SchemaFault("upsample_param needs scale (2 or more), or with a mask upsample_h and upsample_w")
        return []

    def infer(self, shapes):
        shape, field = shapes[0], self.spec.upsample_param
        if len(shape) != 4:
            raise ShapeFault(f"the bottom has shape {shape}: Upsample takes images, (N, C, H, W)")
        if shapes[1:] and shapes[1] != shape:
            raise ShapeFault(
                f"x has shape {shape} and its mask {shapes[1]}: they must be equal; the mask is the "
                "second top of the Pooling layer that x comes from"
            )
        if all(self.size):
            return [(*shape[:2], *self.size)]
        cut = (field.pad_out_h, field.pad_out_w) if shapes[1:] else (0, 0)
        return [(*shape[:2], *(n * s - c for n, s, c in zip(shape[2:], self.scale, cut, strict=True)))]

    def forward(self, xs):
        x, xp = xs[0], self.xp
        if len(xs) == 1:
            self.saved = x.shape if self.keep else None
            return [x.repeat(self.scale[0], axis=2).repeat(self.scale[1], axis=3)]
        (shape,) = self.infer([x.shape for x in xs])
        index, area = xs[1].astype(int), math.prod(shape[2:])
        outside = (index < 0) | (index >= area)
        if not self.be.capabilities.host_memory:  # to wait for the answer would cost more than all the rest
            x, index = xp.where(outside.any(), xp.nan, x).astype(x.dtype), xp.where(outside, 0, index)
        elif outside.any():
            raise ShapeFault(
                f"the mask names pixels {int(index.min())} to {int(index.max())}, but the top's planes, "
                f"{shape[2]} x {shape[3]}, have 0 to {area - 1}: scale or upsample_h and upsample_w "
                "must lead back to the size before pooling"
            )
        planes = xp.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], 1, 1)
        index += planes * area
        y = self.be.zeros(shape)
        y.reshape(-1)[index] = x
        if self.keep:
            self.saved = index
        return [y]

    def backward(self, dys, need):
        (dy,), nothing = dys, [None] * (len(need) - 1)
        if not need[0]:
            return [None, *nothing]
        if nothing:
            return [dy.reshape(-1)[self.saved], *nothing]
        n, c, h, w = self.saved
        return [dy.reshape(n, c, h, self.scale[0], w, self.scale[1]).sum((3, 5))]

    def to_onnx(self, graph, xs):
        x, field = xs[0], self.spec.upsample_param
        n, channels, *spatial = graph.sizes(x)
        if len(xs) == 1:
            return [
                graph.resize(
                    x,
                    [n, channels, *(a * s for a, s in zip(spatial, self.scale, strict=True))],
                    "nearest",
                    "asymmetric",
                )
            ]
        cut = field.pad_out_h, field.pad_out_w
        out = [a * s - c for a, s, c in zip(spatial, self.scale, cut, strict=True)]
        out = self.size if all(self.size) else out
        flat, index = (graph.reshape(y, [n, channels, -1]) for y in (x, graph.cast(xs[1], "int64")))
        planes = graph.filled([n, channels, out[0] * out[1]])
        y = graph.node("ScatterElements", planes, index, flat, axis=2)
        return [graph.reshape(y, [n, channels, *out])]

    def coords(self):
        return 2, tuple(map(float, self.scale)), tuple((s - 1) / 2 for s in self.scale)
