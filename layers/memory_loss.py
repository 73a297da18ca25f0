"""MemoryLoss (MyCaffe): a loss that the program computes, as reinforcement learning does from what it has played.

`loss` is set by the program before the first run: layer.loss = function(bottoms) -> (loss, gradients), with arrays as
the bottoms are and one gradient for each, None for none.  The top is that loss.

Source: the prototxts of MyCaffe.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import DataFault


class MemoryLoss(Layer):
    type = "MemoryLoss"
    fields = ("loss_param",)
    bottoms = (1, None)
    is_loss = True
    loss = None  # what the program sets

    def infer(self, shapes):
        return [()]

    def forward(self, xs):
        if self.loss is None:
            raise DataFault(
                "MemoryLoss has no function yet; give it one, layer.loss = function(bottoms) -> (loss, gradients)"
            )
        loss, grads = self.loss(list(xs))
        if self.keep:
            self.saved = grads, self.spec.loss_param
        return [self.xp.asarray(loss, xs[0].dtype).reshape(())]

    def backward(self, dys, need):
        grads, _ = self.saved
        return [
            None if not needed or grad is None else dys[0] * self.be.asarray(grad)
            for grad, needed in zip(grads, need, strict=True)
        ]
