"""Every primitive that layers use, generic over xp (NumPy or CuPy): its meaning in plain code.

This class is a backend of its own ("generic"): slow, exact, any float type; the CPU and GPU backends
override what pays.  All arrays are C-contiguous; images are (N, C, spatial...).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ConvGeometry:
    """How a convolution slides; tuples have one entry per spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]
    group: int = 1

    def out_size(self, spatial):
        """Output sizes of the convolution for input sizes (floor)."""
        return tuple((n + 2 * p - (d * (k - 1) + 1)) // s + 1
                     for n, k, s, p, d in zip(spatial, self.kernel, self.stride, self.pad, self.dilation))

    def in_size(self, spatial):
        """Output sizes of the transposed convolution (Deconvolution)."""
        return tuple(s * (n - 1) + d * (k - 1) + 1 - 2 * p
                     for n, k, s, p, d in zip(spatial, self.kernel, self.stride, self.pad, self.dilation))


@dataclass(frozen=True)
class PoolGeometry:
    """A 2-D pooling window; `out` is the output size that the layer has inferred (ceil or floor)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    out: tuple[int, int]


class Backend:
    name = "generic"
    xp = np

    def __init__(self, dtype: str = "float32"):
        self.dtype = np.dtype(dtype)
        self.seed(None)

    # -- arrays --------------------------------------------------------------------------------
    # asarray(host, dtype=None) -> device array      to_host(x) -> numpy array
    # empty(shape, dtype=None), zeros(shape, dtype=None)       (dtype None: self.dtype)

    # -- random numbers ------------------------------------------------------------------------
    # seed(n or None); random_state() -> JSON-able dict; set_random_state(dict)
    # self.rng: numpy Generator on the host (fillers); uniform(shape, low, high), bernoulli(shape, p) on the device

    # -- convolution ---------------------------------------------------------------------------
    # conv_forward(x, w, b, geom, relu=None) -> y
    #     x (N, C, ...), w (K, C/group, k...), b (K,) or None; relu: None, or the negative slope applied to y
    # conv_backward_data(dy, w, geom, spatial, b=None, relu=None, diagonal=False) -> dx of (N, C, *spatial)
    #     also Deconvolution's forward (then b, relu apply to the result; diagonal: only w[i, i] is nonzero)
    # conv_backward_weights(x, dy, geom, dw) -> None, adds to dw
    # bias_backward(dy, db) -> None, adds the sum over all axes but 1
    # im2col(x, geom) -> (N, C*k..., out...);   col2im(cols, geom, C, spatial) -> x
    # matmul(a, b, out=None, add=False, ta=False, tb=False)

    # -- elementwise ---------------------------------------------------------------------------
    # relu_forward(x, slope) -> y;   relu_backward(dy, y, slope) -> dx  (y's sign is x's sign; slope >= 0; y == 0 takes the slope)
    # dropout_forward(x, ratio) -> (y, mask);  dropout_backward(dy, mask, ratio) -> dx

    # -- pooling -------------------------------------------------------------------------------
    # max_pool_forward(x, geom) -> (y, index int32 within the plane, -1 where the window holds no pixel)
    # max_pool_backward(dy, index, geom, spatial) -> dx
    # ave_pool_forward(x, geom) -> y;  ave_pool_backward(dy, geom, spatial) -> dx
    # stochastic_pool_forward(x, geom, train) -> (y, index or None)

    # -- normalisation and losses --------------------------------------------------------------
    # lrn_forward(x, size, alpha, beta, k) -> (y, scale);  lrn_backward(dy, x, y, scale, size, alpha, beta) -> dx   (across channels)
    # softmax_forward(x, axis) -> y;  softmax_backward(dy, y, axis) -> dx
    # softmax_loss_forward(x, labels, axis, ignore, weights=None) -> (prob, loss_sum float, valid count)
    #     labels already int; LabelFault names the label and its place
    # softmax_loss_backward(prob, labels, axis, ignore, scale, weights=None) -> dx = scale * (prob - onehot)

    # -- update --------------------------------------------------------------------------------
    # sgd_update(w, g, h, rate, momentum, decay, l1=False): g += decay*w (or decay*sign(w)); h = momentum*h + rate*g; w -= h
    #     (the other solvers are written with xp in solver/updates.py)
