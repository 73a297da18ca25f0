"""Flip (AMSoftmax): images mirrored, left to right with flip_width (the default), upside down with flip_height.

Source: what the prototxts of AMSoftmax do with it.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class Flip(Layer):
    type = "Flip"
    launches_only = True

    def infer(self, shapes):
        (shape,) = shapes
        if len(shape) != 4:
            raise ShapeFault(f"the bottom has shape {shape}: Flip takes 4 axes (N, C, height, width)")
        return [shape]

    def forward(self, xs):
        return [self._flipped(xs[0])]

    def backward(self, dys, need):
        return [self._flipped(dys[0]) if need[0] else None]

    def to_onnx(self, graph, xs):
        param = self.spec.flip_param
        axes = [axis for axis, flipped in ((2, param.flip_height), (3, param.flip_width)) if flipped]
        return [graph.reversed(xs[0], axes) if axes else xs[0]]

    def _flipped(self, x):
        param = self.spec.flip_param
        rows, columns = (slice(None, None, -1 if flipped else 1) for flipped in (param.flip_height, param.flip_width))
        return self.xp.ascontiguousarray(x[:, :, rows, columns])
