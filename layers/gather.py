"""Gather (temporal segment networks): the bottoms of all processes one after the other, as many tops as bottoms.

The fork has it for training on several GPUs at once, each of which sees a part of the batch.  Here a net sees all of
its batch, so that each top is its bottom.

Source: the prototxts of temporal segment networks.
"""

from demitasse.layers.layer import Layer


class Gather(Layer):
    type = "Gather"
    bottoms = tops = (1, None)
    same_count = True

    def infer(self, shapes):
        return list(shapes)

    def forward(self, xs):
        return list(xs)

    def to_onnx(self, graph, xs):
        return list(xs)

    def backward(self, dys, need):
        return [dy if needed else None for dy, needed in zip(dys, need, strict=True)]
