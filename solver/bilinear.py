"""Upsampling weights: bilinear interpolation on the diagonal of a Deconvolution, as FCN's surgery.interp sets them."""

from __future__ import annotations

import numpy as np

from demitasse.layers.fillers import fill
from demitasse.proto.messages import FillerParameter


def fill_zero_deconvolutions(net) -> list[str]:
    """Make every frozen (lr_mult 0) all-zero Deconvolution upsample each channel; the names of those filled."""
    filled = []
    for step in net.plan.steps:
        if step.cls.type != "Deconvolution":
            continue
        weights = step.layer.params[0]
        if weights.lr_mult == 0 and len(set(weights.shape[2:])) == 1 and not bool(net.backend.xp.any(weights.data)):
            weights.data[...] = net.backend.asarray(diagonal_bilinear(weights.shape))
            filled.append(step.name)
    return filled


def diagonal_bilinear(shape) -> np.ndarray:
    """Weights (in, out / group, k, k) that enlarge each channel by itself."""
    channels, per_group = shape[:2]
    weights = np.zeros(shape, np.float32)
    every = np.arange(channels)
    bilinear = fill((1, 1, *shape[2:]), FillerParameter(type="bilinear"), np.random.default_rng(0))
    weights[every, every % per_group] = bilinear[0, 0]
    return weights
