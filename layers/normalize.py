"""Normalize (SSD, NormFace): x over its length, in SSD's form times a learned scale.

With norm_param (SSD): the length is the Euclidean one of all numbers of an item, or
with across_spatial: false that of the channels at each pixel.  Param: one scale, shape (), or with
channel_shared: false one per channel, (C,); 1 at the start.

Without norm_param (happynear's fork): the length, Euclidean or with
normalize_type: "L1" the sum of absolute values, is that of the channels at each pixel; nothing is learned.  A second
top holds the lengths, (N, 1, spatial...); its gradient counts with bp_norm only.
Sources: "ParseNet: Looking Wider to See Better" (Liu et al., 2015); "NormFace" (Wang et al., 2017).
"""

from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import GraphFault, SchemaFault, ShapeFault
from demitasse.proto.messages import FillerParameter


class Normalize(Layer):
    type = "Normalize"
    launches_only = True
    fields = ("norm_param", "normalize_param")
    tops = (1, 2)
    in_place = True

    def setup(self, shapes):
        (shape,), param = shapes, self.spec.norm_param
        if len(shape) < 2:
            raise ShapeFault(f"the bottom has shape {shape}: channels, axis 1, are missing")
        self.scaled = self.spec.HasField("norm_param")
        self.sum_of_squares = self.spec.normalize_param.normalize_type == "L2"
        if self.spec.normalize_param.normalize_type not in ("L1", "L2"):
            raise SchemaFault(f"normalize_type '{self.spec.normalize_param.normalize_type}' is not known: L1 or L2")
        if not self.scaled:
            return []
        if self.spec.HasField("normalize_param") or len(self.spec.top) > 1:
            raise GraphFault(
                "norm_param asks for SSD's Normalize, normalize_param or a second top for NormFace's: write one of them"
            )
        filler = param.scale_filler if param.HasField("scale_filler") else FillerParameter(type="constant", value=1)
        return [Param(() if param.channel_shared else (shape[1],), filler)]

    def infer(self, shapes):
        (shape,), scales = shapes, self.params[0].shape if self.scaled and self.params else ()
        if scales and shape[1:2] != scales:
            raise ShapeFault(f"the bottom has shape {shape}, but there are scales for {scales[0]} channels")
        return [shape, (shape[0], 1, *shape[2:])][: max(1, len(self.spec.top))]

    def forward(self, xs):
        xp, (x,) = self.xp, xs
        axes = self._axes(x)
        eps = self.spec.norm_param.eps
        if self.sum_of_squares:
            length = xp.sqrt(xp.square(x).sum(axes, keepdims=True) + eps)
        else:
            length = xp.abs(x).sum(axes, keepdims=True) + eps
        unit = x / length
        if self.keep:
            self.saved = unit, length
        y = unit * self._column(unit) if self.scaled else unit
        return [y, length][: max(1, len(self.spec.top))]

    def backward(self, dys, need):
        (unit, length), dy = self.saved, dys[0]
        if self.scaled and self.params[0].grad is not None:
            scale = self.params[0]
            scale.grad += (dy * unit).sum((0, *range(2, dy.ndim)) if scale.shape else None)
        if not need[0]:
            return [None]
        along = unit if self.sum_of_squares else self.xp.sign(unit)  # the length's gradient
        dx = self.xp.zeros_like(unit)
        if dy is not None:
            dunit = dy * self._column(unit) if self.scaled else dy
            dx = (dunit - along * (dunit * unit).sum(self._axes(unit), keepdims=True)) / length
        if len(dys) > 1 and dys[1] is not None and self.spec.normalize_param.bp_norm:
            dx = dx + dys[1] * along
        return [dx]

    def to_onnx(self, graph, xs):
        (x,), param = xs, self.spec.norm_param
        axes = range(1, len(x.shape)) if self.scaled and param.across_spatial else (1,)
        if self.sum_of_squares:
            length = graph.node("Sqrt", graph.sum(x * x, axes) + param.eps)
        else:
            length = graph.sum(graph.node("Abs", x), axes) + param.eps
        column = () if param.channel_shared else (-1, *(1 for _ in x.shape[2:]))
        y = x / length * graph.param(0, shape=column) if self.scaled else x / length
        return [y, length][: max(1, len(self.spec.top))]

    def _axes(self, x) -> tuple[int, ...]:
        """The axes that the length is taken over."""
        return tuple(range(1, x.ndim)) if self.scaled and self.spec.norm_param.across_spatial else (1,)

    def _column(self, x):
        """The scale, to be multiplied with x."""
        scale = self.params[0]
        return scale.data.reshape(-1, *(1 for _ in x.shape[2:])) if scale.shape else scale.data
