"""BatchReindex: y[i] = x[index[i]]: choose, repeat and reorder the items of a batch.

Bottoms: x (N, ...) and index (M,), numbers from 0 to N - 1; top (M, ...).
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import LabelFault, ShapeFault


class BatchReindex(Layer):
    type = "BatchReindex"
    bottoms = (2, 2)
    never_differentiable = (1,)

    def infer(self, shapes):
        if len(shapes[1]) != 1:
            raise ShapeFault(f"the second bottom has shape {shapes[1]}: give one index per item of the top, shape (M,)")
        if shapes[1][0] and not shapes[0][0]:
            raise ShapeFault(f"{shapes[1][0]} items are to be chosen from a batch of none (shape {shapes[0]})")
        return [shapes[1] + shapes[0][1:]]

    def forward(self, xs):
        x, index = xs[0], xs[1].astype(int)
        outside = (index < 0) | (index >= len(x))
        if outside.any():
            position = int(outside.argmax())
            raise LabelFault(
                f"index {int(index[position])} at position {position} of the second bottom: "
                f"the batch has items 0 to {len(x) - 1}"
            )
        if self.keep:
            self.saved = index, x.shape
        return [x[index]]

    def backward(self, dys, need):
        if not need[0]:
            return [None, None]
        index, shape = self.saved
        dx = self.be.zeros(shape)
        self.xp.add.at(dx, index, dys[0])
        return [dx, None]

    def to_onnx(self, graph, xs):
        return [graph.gather(xs[0], graph.cast(xs[1], "int64"), 0)]
