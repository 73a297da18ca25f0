"""ShuffleChannel (ShuffleNet): mixes what the groups of a convolution made.

The C channels, `group` groups in a row, come out as the first of every group, the second of every group, ...

Source: "ShuffleNet" (Zhang et al., 2017).
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class ShuffleChannel(Layer):
    type = "ShuffleChannel"
    launches_only = True
    in_place = takes_nhwc = True

    def infer(self, shapes):
        (shape,), group = shapes, self.spec.shuffle_channel_param.group
        if len(shape) < 2 or group < 1 or shape[1] % group:
            raise ShapeFault(f"the channels of a bottom of shape {shape} cannot be divided into {group} equal groups")
        return [shape]

    def forward(self, xs):
        return [self.be.interleave(xs[0], self.spec.shuffle_channel_param.group)]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        return [self.be.interleave(dys[0], dys[0].shape[1] // self.spec.shuffle_channel_param.group)]

    def to_onnx(self, graph, xs):
        group, sizes = self.spec.shuffle_channel_param.group, graph.sizes(xs[0])
        matrix = graph.reshape(xs[0], [sizes[0], group, sizes[1] // group, *sizes[2:]])
        turned = graph.transpose(matrix, [0, 2, 1, *range(3, len(sizes) + 1)])
        return [graph.reshape(turned, sizes)]
