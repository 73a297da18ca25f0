"""The values that learned arrays start from: Caffe's fillers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from demitasse.proto.errors import SchemaFault, ShapeFault, did_you_mean


class Packed(NamedTuple):
    """The filler of an array in which several lie one after the other: their shapes and fillers."""

    parts: Sequence[tuple[Sequence[int], Any]]


def fill(shape, filler, rng: np.random.Generator, dtype=np.float32) -> np.ndarray:
    """A host array of `shape` filled as the FillerParameter, or Packed, says (None: zeros).

    Raises what check_filler does.
    """
    if filler is None:
        return np.zeros(shape, dtype)
    if isinstance(filler, Packed):
        return np.concatenate([fill(*part, rng, dtype).reshape(-1) for part in filler.parts]).reshape(shape)
    check_filler(filler, shape)
    values = _FILLERS[filler.type](tuple(shape), filler, rng, np.dtype(dtype))
    return np.asarray(values, dtype)


def check_filler(filler, shape: Sequence[int]) -> None:
    """SchemaFault for an unknown filler or values that make no sense, ShapeFault for a shape that it cannot fill;
    None is zeros."""
    if filler is None:
        return
    if isinstance(filler, Packed):
        for part_shape, part in filler.parts:
            check_filler(part, part_shape)
        return
    if filler.type not in _FILLERS:
        raise SchemaFault(
            f"unknown filler '{filler.type}'{did_you_mean(filler.type, _FILLERS)}: choose one of {', '.join(_FILLERS)}"
        )
    if filler.sparse != -1 and filler.type != "gaussian":
        raise SchemaFault(f"filler '{filler.type}' cannot be sparse: only 'gaussian' can")
    for name in ("value", "min", "max", "mean", "std", "alpha"):
        if not math.isfinite(getattr(filler, name)):
            raise SchemaFault(f"filler '{filler.type}' has {name} {getattr(filler, name):g}: give a finite number")
    if filler.type == "uniform" and filler.min > filler.max:
        raise SchemaFault(f"filler 'uniform' has min {filler.min:g} above max {filler.max:g}: exchange them")
    if filler.type == "gaussian" and filler.std < 0:
        raise SchemaFault(f"filler 'gaussian' has std {filler.std:g}: it must not be negative")
    if filler.type == "bilinear" and (len(shape) != 4 or shape[2] != shape[3]):
        raise ShapeFault(f"filler 'bilinear' needs a 4-D array with a square kernel, not shape {tuple(shape)}")
    if filler.type == "diagonal" and len(shape) < 2:
        raise ShapeFault(f"filler 'diagonal' needs an array of outputs and channels, not shape {tuple(shape)}")


def _constant(shape, filler, rng, dtype):
    if filler.value == 0:  # as of most weights that are loaded next: memory that nobody has touched
        return np.zeros(shape, dtype)
    return np.full(shape, filler.value, dtype)


def _uniform(shape, filler, rng, dtype):
    return _between(shape, filler.min, filler.max, rng, dtype)


def _gaussian(shape, filler, rng, dtype):
    values = _normal(shape, filler.std, rng, dtype)
    values += dtype.type(filler.mean)
    if filler.sparse >= 0:
        # On average `sparse` of the weights that leave an input are kept; outputs lie along the first axis.
        values *= rng.random(shape, dtype=np.float32) < filler.sparse / max(1, shape[0] if shape else 1)
    return values


def _positive_unitball(shape, filler, rng, dtype):
    values = rng.random(shape, dtype=dtype).reshape(shape[0] if shape else 1, -1)
    return (values / values.sum(axis=1, keepdims=True)).reshape(shape)


def _xavier(shape, filler, rng, dtype):
    bound = math.sqrt(3 / _fan(shape, filler))
    return _between(shape, -bound, bound, rng, dtype)


def _msra(shape, filler, rng, dtype):
    return _normal(shape, math.sqrt(2 / ((1 + filler.alpha**2) * _fan(shape, filler))), rng, dtype)


def _bilinear(shape, filler, rng, dtype):
    """Every (i, j) gets the same kernel, so it upsamples only where group == channels (or i == j is what is kept)."""
    return np.broadcast_to(bilinear_kernel(shape[3]).astype(dtype), shape).copy()


def bilinear_kernel(size: int) -> np.ndarray:
    """(size, size) float64: the kernel that interpolates linearly when it upsamples by ceil(size / 2)."""
    half = math.ceil(size / 2)
    ramp = 1 - np.abs(np.arange(size) / half - (size - 1) / (2 * half))
    return np.outer(ramp, ramp)


def diagonal_bilinear(shape: Sequence[int]) -> np.ndarray:
    """Weights (in, out / group, k, k), float32, of a Deconvolution that upsamples each channel by itself."""
    channels, per_group, size, _ = shape
    weights, every = np.zeros(shape, np.float32), np.arange(channels)
    weights[every, every % per_group] = bilinear_kernel(size)
    return weights


def _diagonal(shape, filler, rng, dtype):
    """FlowNet's: output i sees the mean of channel i's window, times its diag_val, or 1."""
    values = np.zeros(shape, dtype)
    for i in range(min(shape[:2])):
        given = filler.diag_val[i] if i < len(filler.diag_val) else 1
        values[i, i] = given / math.prod(shape[2:])
    return values


_FILLERS = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
    "positive_unitball": _positive_unitball,
    "diagonal": _diagonal,
}


def _fan(shape, filler) -> float:
    """How many inputs (or outputs, or their mean) one value of an array (out, in, ...) is connected to."""
    count = max(1, math.prod(shape))
    fan_in = count / max(1, shape[0] if shape else 1)
    fan_out = count / max(1, shape[1] if len(shape) > 1 else 1)
    return {filler.FAN_IN: fan_in, filler.FAN_OUT: fan_out}.get(filler.variance_norm, (fan_in + fan_out) / 2)


def _between(shape, low, high, rng, dtype):
    values = rng.random(shape, dtype=dtype)
    values *= dtype.type(high - low)  # in place: fc6 of a VGG net is 400 MB
    values += dtype.type(low)
    return values


def _normal(shape, std, rng, dtype):
    values = rng.standard_normal(shape, dtype=dtype)
    values *= dtype.type(std)
    return values
