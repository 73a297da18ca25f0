"""CConvolution, CInnerProduct (Auto_pruning): Convolution and InnerProduct whose smallest weights become 0 in training.

A third param, the mask, has the weights' shape: 1 where a weight counts, 0 where it does not; it takes no gradient.  In
TRAIN it is made anew in every inter_iter-th run of the first iter_stop: upper_bound * log(2 + run / inter_iter) /
log(iter_stop / inter_iter) is the share of weights, the smallest ones, that is left out.

Source: the prototxts of Auto_pruning; "Dynamic network surgery for efficient DNNs" (Guo et al., 2016).
"""

from __future__ import annotations

import math

from demitasse.layers.convolution import Convolution
from demitasse.layers.inner_product import InnerProduct
from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import SchemaFault
from demitasse.proto.messages import FillerParameter


class Pruned(Layer):
    """What both have in common; comes before the layer in the list of bases."""

    fuses_relu = fuses_affine = fuses_residual = writes_into = takes_nhwc = False

    def setup(self, shapes):
        params, pruning = super().setup(shapes), self.pruning
        if pruning.inter_iter < 1 or pruning.iter_stop <= pruning.inter_iter or not 0 <= pruning.upper_bound < 1:
            raise SchemaFault(
                f"inter_iter {pruning.inter_iter}, iter_stop {pruning.iter_stop}, upper_bound {pruning.upper_bound:g}: "
                "inter_iter is at least 1, iter_stop larger, and upper_bound a share from 0 to less than 1"
            )
        one = FillerParameter(type="constant", value=1)
        mask = Param(params[0].shape, pruning.weight_mask_filler if pruning.HasField("weight_mask_filler") else one)
        mask.lr_mult = mask.decay_mult = 0.0
        self.run = 0
        return [*params, mask]

    def forward(self, xs):
        if self.train:
            if self.run % self.pruning.inter_iter == 0 and self.run < self.pruning.iter_stop:
                self.params[-1].data[...] = self._smallest_left_out()
            self.run += 1
        mask = self.params[-1].data.copy()
        ys = self._masked(mask, lambda: super(Pruned, self).forward(xs))
        if self.keep:
            self.saved = self.saved, mask
        return ys

    def backward(self, dys, need):
        weight, kept = self.params[0], self.saved
        total, (self.saved, mask) = weight.grad, kept
        if total is not None:
            weight.grad = self.be.zeros(weight.shape)
        try:
            dxs = self._masked(mask, lambda: super(Pruned, self).backward(dys, need))
            if total is not None:
                total += weight.grad * mask
        finally:
            weight.grad, self.saved = total, kept
        return dxs

    def onnx_params(self, graph):
        """The weights that count, and the bias."""
        weight, *bias, mask = (graph.param(i) for i in range(len(self.params)))
        return [weight * mask, *bias]

    def state(self):
        return {"run": self.run}

    def load_state(self, state):
        self.run = state["run"]

    @property
    def pruning(self):
        """The fields that say what is left out, and when."""
        return getattr(self.spec, self.fields[-1])

    def _masked(self, mask, compute):
        """What `compute` gives while the weights are those that count, and there is no param for the mask."""
        params, own = self.params, self.params[0].data
        self.params = params[:-1]
        try:
            params[0].data = own * mask
            return compute()
        finally:
            params[0].data, self.params = own, params

    def _smallest_left_out(self):
        xp, param, size = self.xp, self.pruning, abs(self.params[0].data).reshape(-1)
        share = (
            param.upper_bound
            * math.log(2 + self.run // param.inter_iter)
            / math.log(param.iter_stop / param.inter_iter)
        )
        least = xp.argsort(size, kind="stable")[: int(len(size) * min(share, 1))]
        mask = xp.ones_like(size)
        mask[least] = 0
        return mask.reshape(self.params[0].shape)


class CConvolution(Pruned, Convolution):
    """A Convolution with a mask."""

    type = "CConvolution"
    fields = ("convolution_param", "cconvolution_param")


class CInnerProduct(Pruned, InnerProduct):
    """An InnerProduct with a mask."""

    type = "CInnerProduct"
    fields = ("inner_product_param", "cinner_product_param")
