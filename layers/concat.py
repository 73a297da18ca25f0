"""Concat: bottoms one after the other along `axis` (1: channels); their other sizes are equal."""

from demitasse.layers.layer import Layer, axis_index
from demitasse.proto.errors import SchemaFault, ShapeFault


class Concat(Layer):
    type = "Concat"
    launches_only = True
    keeps_pixels, drawn_as = True, "join"
    bottoms = (1, None)
    takes_nhwc = writes_into = True

    @property
    def joins_along(self):
        return self.axis

    def setup(self, shapes):
        param = self.spec.concat_param
        if param.HasField("axis") and param.HasField("concat_dim"):
            raise SchemaFault("axis and concat_dim are both given: write axis only, concat_dim is its old name")
        axis = param.concat_dim if param.HasField("concat_dim") else param.axis
        self.axis = axis_index(axis, shapes[0])
        return []

    def infer(self, shapes):
        axis = self.axis
        for i, shape in enumerate(shapes):
            if (
                len(shape) != len(shapes[0])
                or shape[:axis] + shape[axis + 1 :] != shapes[0][:axis] + shapes[0][axis + 1 :]
            ):
                raise ShapeFault(
                    f"bottom 0 has shape {shapes[0]}, bottom {i} has shape {shape}: they may differ at axis {axis} only"
                )
        return [(*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])]

    def forward(self, xs, out=None):
        if self.keep:
            self.saved = [x.shape[self.axis] for x in xs]
        return [self.be.concatenate(xs, self.axis, out)]

    def backward(self, dys, need):
        dxs, start = [], 0
        for size, needed in zip(self.saved, need, strict=True):
            dxs.append(self.be.part(dys[0], self.axis, start, start + size) if needed else None)
            start += size
        return dxs

    def to_onnx(self, graph, xs):
        return [graph.concat(xs, self.axis)]

    def coords(self):
        # Joined channels or images stay where they are; joined rows do not.
        return (2, (1.0,), (0.0,)) if self.axis < 2 else None
