"""Reverse (CTPN, OpenCL Caffe): the bottom with the order along `axis` (0: that of time steps) reversed.

Source: the recurrent nets of CTPN (Tian et al., 2016).
"""

from demitasse.layers.layer import Layer, axis_index


class Reverse(Layer):
    type = "Reverse"
    launches_only = True

    def infer(self, shapes):
        axis_index(self.spec.reverse_param.axis, shapes[0])
        return [shapes[0]]

    def forward(self, xs):
        return [self._reversed(xs[0])]

    def backward(self, dys, need):
        return [self._reversed(dys[0]) if need[0] else None]

    def to_onnx(self, graph, xs):
        return [graph.reversed(xs[0], [self.spec.reverse_param.axis % len(xs[0].shape)])]

    def _reversed(self, x):
        axis = axis_index(self.spec.reverse_param.axis, x.shape)
        return self.xp.ascontiguousarray(x[(slice(None),) * axis + (slice(None, None, -1),)])
