"""Upsampling weights: bilinear interpolation on the diagonal of a Deconvolution."""

from __future__ import annotations

from demitasse.layers.fillers import diagonal_bilinear
from demitasse.netdef.net import Net


def fill_zero_deconvolutions(net: Net) -> list[str]:
    """Make every frozen (lr_mult 0) all-zero Deconvolution upsample each channel; the names of those filled."""
    filled = []
    for step in net.plan.steps:
        if not step.cls.upsamples:
            continue
        weights = step.layer.params[0]
        if weights.lr_mult == 0 and len(set(weights.shape[2:])) == 1 and not bool(net.backend.xp.any(weights.data)):
            weights.data[...] = net.backend.asarray(diagonal_bilinear(weights.shape))
            filled.append(step.name)
    return filled
