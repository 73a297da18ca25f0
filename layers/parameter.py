"""Parameter: a learned array as a top, of the shape that parameter_param gives; filled with zeros."""

from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import SchemaFault


class Parameter(Layer):
    type = "Parameter"
    launches_only = True
    bottoms = (0, 0)

    def setup(self, shapes):
        shape = self.spec.parameter_param.shape.dim
        if not shape or min(shape) < 1:
            raise SchemaFault(
                f"parameter_param.shape is {list(shape)}: give the sizes, say parameter_param {{ shape {{ dim: 10 }} }}"
            )
        return [Param(shape)]

    def infer(self, shapes):
        return [tuple(self.spec.parameter_param.shape.dim)]

    def forward(self, xs):
        return [self.params[0].data.copy()]  # a value stays what it was when the solver moves the parameter

    def backward(self, dys, need):
        if self.params[0].grad is not None:
            self.params[0].grad += dys[0]
        return []

    def to_onnx(self, graph, xs):
        return [graph.param(0)]
