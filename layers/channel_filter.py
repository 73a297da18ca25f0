"""ChannelFilter (channel pruning): the entries of an axis whose selector is not zero.

The fork calls it Filter, and a Filter with filter_param is upgraded to it; Caffe's has its selector as a bottom.  Each
bottom has a top with `num_output` entries along `axis`; as many of the selector, a param with one number for each entry
of the bottoms, must not be zero.  It begins as the first num_output.

Source: the prototxts and weights of "Channel pruning for accelerating very deep neural networks" (He et al., 2017).
"""

from demitasse.layers.layer import Layer, Param, axis_index
from demitasse.proto.errors import SchemaFault, ShapeFault, WeightsFault


class ChannelFilter(Layer):
    type = "ChannelFilter"
    fields = ("filter_param",)
    bottoms = tops = (1, None)
    same_count = True

    def setup(self, shapes):
        param = self.spec.filter_param
        self.axis = axis_index(param.axis, shapes[0], "filter_param.axis")
        self.size = shapes[0][self.axis]
        if not 1 <= param.num_output <= self.size:
            raise SchemaFault(f"num_output {param.num_output} is not between 1 and the {self.size} of the bottom")
        selector = Param((self.size,))
        selector.lr_mult = selector.decay_mult = 0.0
        if self.be is not None:
            selector.data = self.be.zeros(selector.shape)
            selector.data[: param.num_output] = 1
        return [selector]

    def infer(self, shapes):
        for shape in shapes:
            if len(shape) <= self.axis or shape[self.axis] != self.size:
                raise ShapeFault(
                    f"a bottom has shape {shape}, but the selector is for {self.size} along axis {self.axis}"
                )
        param = self.spec.filter_param
        return [(*shape[: self.axis], param.num_output, *shape[self.axis + 1 :]) for shape in shapes]

    def forward(self, xs):
        (chosen,) = self.xp.nonzero(self.params[0].data)
        if len(chosen) != self.spec.filter_param.num_output:
            raise WeightsFault(
                f"{len(chosen)} entries of the selector are not zero, but num_output is "
                f"{self.spec.filter_param.num_output}: are these the weights of another net?"
            )
        if self.keep:
            self.saved = chosen, [x.shape for x in xs]
        return [self.xp.take(x, chosen, axis=self.axis) for x in xs]

    def backward(self, dys, need):
        chosen, shapes = self.saved
        dxs = [None] * len(shapes)
        for i, (dy, shape) in enumerate(zip(dys, shapes, strict=True)):
            if need[i] and dy is not None:
                dxs[i] = self.be.zeros(shape)
                dxs[i][(slice(None),) * self.axis + (chosen,)] = dy
        return dxs

    def to_onnx(self, graph, xs):
        (selector,) = graph.params
        graph.stand_in(0, selector)
        chosen = graph.constant([i for i, value in enumerate(selector) if value], "int64")
        return [graph.node("Gather", x, chosen, axis=self.axis) for x in xs]
