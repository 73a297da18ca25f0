"""NoisyInnerProduct (MyCaffe): an InnerProduct that explores: in TRAIN its weights and bias are drawn in every run.

MyCaffe calls it InnerProduct with `enable_noise`, which is upgraded to it.  Beside weights and bias it learns how noisy
each is: two more params of their shapes, sigma_init / sqrt(inputs of the weights, or outputs) at first.  A run takes
weight + sigma * u with u uniform in -1 to 1; TEST takes the weights.

Source: "Noisy networks for exploration" (Fortunato et al., 2018), with independent noise; MyCaffe draws uniformly.
"""

from __future__ import annotations

from demitasse.layers.inner_product import InnerProduct
from demitasse.layers.layer import Param
from demitasse.proto.messages import FillerParameter


class NoisyInnerProduct(InnerProduct):
    type = "NoisyInnerProduct"
    fields = ("inner_product_param",)
    fuses_relu = multiplies = False

    def setup(self, shapes):
        params, first = super().setup(shapes), self.spec.inner_product_param.sigma_init
        sigmas = []
        for param in params:
            filler = FillerParameter(type="constant", value=first / max(param.shape[-1], 1) ** 0.5)
            sigmas.append(Param(param.shape, filler))
        return [*params, *sigmas]

    def forward(self, xs):
        own = self.params[: len(self.params) // 2]
        noises = [self.be.asarray(self.be.rng.uniform(-1, 1, param.shape)) for param in own] if self.train else None
        y = self._with(noises, lambda: super(NoisyInnerProduct, self).forward(xs))
        if self.keep:
            self.saved = self.saved, noises
        return y

    def backward(self, dys, need):
        kept, half = self.saved, len(self.params) // 2
        (self.saved, noises), own, sigmas = kept, self.params[:half], self.params[half:]
        before = [param.grad for param in own]
        for param, sigma in zip(own, sigmas, strict=True):
            param.grad = self.be.zeros(param.shape) if param.grad is not None or sigma.grad is not None else None
        try:
            dxs = self._with(noises, lambda: super(NoisyInnerProduct, self).backward(dys, need))
            for i, (param, sigma) in enumerate(zip(own, sigmas, strict=True)):
                if before[i] is not None:
                    before[i] += param.grad
                if sigma.grad is not None and noises:
                    sigma.grad += param.grad * noises[i]
        finally:
            self.saved = kept
            for param, grad in zip(own, before, strict=True):
                param.grad = grad
        return dxs

    def onnx_params(self, graph):
        return [graph.param(i) for i in range(len(self.params))][: len(self.params) // 2]

    def _with(self, noises, compute):
        """What `compute` gives with weights and bias that are drawn, and no other params."""
        params, half = self.params, len(self.params) // 2
        data = [param.data for param in params[:half]]
        self.params = params[:half]
        try:
            for i, noise in enumerate(noises or []):
                params[i].data = data[i] + params[half + i].data * noise
            return compute()
        finally:
            self.params = params
            for param, value in zip(params, data, strict=False):
                param.data = value
