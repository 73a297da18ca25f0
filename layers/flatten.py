"""Flatten: axes `axis` to `end_axis` become one."""

import math

from demitasse.layers.layer import axis_index
from demitasse.layers.reshaping import ReshapingLayer
from demitasse.proto.errors import SchemaFault


class Flatten(ReshapingLayer):
    type = "Flatten"
    launches_only = True

    def infer(self, shapes):
        (shape,), param = shapes, self.spec.flatten_param
        start = axis_index(param.axis, shape, "flatten_param.axis")
        end = axis_index(param.end_axis, shape, "flatten_param.end_axis")
        if end < start:
            raise SchemaFault(f"flatten_param goes from axis {start} to end_axis {end}: exchange them")
        return [shape[:start] + (math.prod(shape[start : end + 1]),) + shape[end + 1 :]]

    def to_onnx(self, graph, xs):
        (x,), param = xs, self.spec.flatten_param
        start, end = (axis % len(x.shape) for axis in (param.axis, param.end_axis))
        if (start, end) == (1, len(x.shape) - 1):
            return [graph.node("Flatten", x, axis=1)]
        sizes = graph.sizes(x)
        return [graph.reshape(x, [*sizes[:start], -1, *sizes[end + 1 :]])]
