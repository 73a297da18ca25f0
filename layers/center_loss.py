"""CenterLoss (caffe-face): how far items are from the centres of their classes, which move with them.

Bottoms: features (N, D), labels (N,).  Top: sum |x - c(label)|^2 / 2N.  Params: the centres (num_output, D).  The
gradient of a centre is no derivative: sum (c - x) over the items of its class, over one more than their number.

Source: "A Discriminative Feature Learning Approach for Deep Face Recognition" (Wen et al., 2016).
"""

import math

from demitasse.layers.labels import check_labels
from demitasse.layers.layer import LossLayer, Param, axis_index
from demitasse.proto.errors import SchemaFault, ShapeFault


class CenterLoss(LossLayer):
    type = "CenterLoss"

    def setup(self, shapes):
        param = self.spec.center_loss_param
        if not param.num_output:
            raise SchemaFault("num_output is missing or 0: write center_loss_param { num_output: <classes> }")
        self.values = math.prod(shapes[0][axis_index(param.axis, shapes[0]) :])
        return [Param((param.num_output, self.values), param.center_filler)]

    def infer(self, shapes):
        shape, labels = shapes
        axis = axis_index(self.spec.center_loss_param.axis, shape)
        if math.prod(shape[axis:]) != self.values:
            raise ShapeFault(f"the bottom has shape {shape}, but the centres are for {self.values} values of an item")
        check_labels((*shape[:axis], 1), labels, axis)
        return [()]

    def forward(self, xs):
        xp, (centers,) = self.xp, self.params
        x = xs[0].reshape(-1, self.values)
        labels, _ = self.be.checked_labels((len(x), len(centers.data)), xs[1].reshape(-1), 1, None)
        labels = labels.reshape(-1).astype(int)
        apart = x - centers.data[labels]
        if self.keep:
            self.saved = apart, labels, xs[0].shape
        return [xp.asarray(xp.square(apart).sum() / (2 * max(len(x), 1)), x.dtype)]

    def backward(self, dys, need):
        xp, (apart, labels, shape), (centers,) = self.xp, self.saved, self.params
        if centers.grad is not None:
            own = (labels == xp.arange(len(centers.data))[:, None]).astype(apart.dtype)
            centers.grad -= own @ apart / (1 + own.sum(1, keepdims=True))
        return [(dys[0] * apart / max(len(apart), 1)).reshape(shape) if need[0] else None, None]
