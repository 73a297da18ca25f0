"""QuantileLoss (MyCaffe): how far predicted quantiles are from what came, each with its own price for either side.

    loss = mean over items and steps of sum over quantiles q of max(q e, (q - 1) e),   e = target - prediction

Bottoms: predictions (N, T, Q), one for each desired_quantile, and targets (N, T, 1).  Tops: the loss, and if wanted the
risk of each step, (T,): twice the losses over the sum of the targets' sizes.  It is not divided otherwise, whatever
loss_param says.

Source: "Temporal fusion transformers for interpretable multi-horizon time series forecasting" (Lim et al., 2021), 4.7
and equation 26.
"""

import math

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import SchemaFault, ShapeFault


class QuantileLoss(LossLayer):
    type = "QuantileLoss"
    tops = (1, 2)

    def setup(self, shapes):
        wanted = self.spec.quantile_loss_param.desired_quantile
        if not wanted or not all(0 < quantile < 1 for quantile in wanted):
            raise SchemaFault("desired_quantile is needed, once for each prediction of a step, between 0 and 1")
        return []

    def infer(self, shapes):
        said, targets = shapes
        count = len(self.spec.quantile_loss_param.desired_quantile)
        if len(said) != 3 or said[2] != count or math.prod(targets) != said[0] * said[1] or targets[:1] != said[:1]:
            raise ShapeFault(
                f"predictions {said} and targets {targets}: (N, T, {count}), for as many desired_quantile, and "
                "(N, T, 1) are needed"
            )
        return [(), (said[1],)][: max(1, len(self.spec.top))]

    def forward(self, xs):
        said, xp = xs[0], self.xp
        quantiles = xp.asarray(list(self.spec.quantile_loss_param.desired_quantile), dtype=said.dtype)
        apart = xs[1].reshape(*said.shape[:2], 1) - said
        losses = xp.maximum(quantiles * apart, (quantiles - 1) * apart)
        count = max(said.shape[0] * said.shape[1], 1)
        if self.keep:
            self.saved = xp.where(apart >= 0, -quantiles, 1 - quantiles) / count
        tops = [xp.asarray(losses.sum() / count, said.dtype)]
        if len(self.spec.top) > 1:
            tops.append(losses.sum((0, 2)) * 2 / xp.abs(xs[1]).sum())
        return tops

    def backward(self, dys, need):
        return [self.saved * dys[0] if need[0] and dys[0] is not None else None, None]
