"""ContinuationIndicator, RecurrentCont (CRNN, joyousrabbit): the second bottom of LSTM: 0 in the first step, then 1.

ContinuationIndicator has no bottom and a top (time_step, batch_size); RecurrentCont takes the sizes of its top (T, N)
from its bottom (T, N, ...).  In both every sequence begins with the batch.

Source: the second bottom of Caffe's LSTM.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault


class Continuation(Layer):
    """The base of both: a top of the shape that infer gives."""

    def forward(self, xs):
        top = self.be.zeros(self.infer([x.shape for x in xs])[0])
        top[1:] = 1
        return [top]

    def to_onnx(self, graph, xs):
        steps, sequences = graph.sizes(xs[0])[:2] if xs else self.infer([])[0]
        first = graph.filled([1, sequences])
        return [graph.concat([first, graph.filled([steps - 1, sequences], 1.0)], 0)]

    def backward(self, dys, need):
        return [None for _ in need]


class ContinuationIndicator(Continuation):
    """Sizes from the fields."""

    type = "ContinuationIndicator"
    bottoms = (0, 0)

    def setup(self, shapes):
        param = self.spec.continuation_indicator_param
        if not param.time_step or not param.batch_size:
            raise SchemaFault("time_step or batch_size is missing: write the number of steps and of sequences")
        return []

    def infer(self, shapes):
        param = self.spec.continuation_indicator_param
        return [(param.time_step, param.batch_size)]


class RecurrentCont(Continuation):
    """Sizes from the bottom."""

    type = "RecurrentCont"
    never_differentiable = (0,)

    def infer(self, shapes):
        (shape,) = shapes
        if len(shape) < 2:
            raise ShapeFault(f"the bottom has shape {shape}: time steps and sequences (T, N, ...) expected")
        return [shape[:2]]
