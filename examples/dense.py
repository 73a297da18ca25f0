"""Dense prediction from a net with stride: sliding windows, shift-and-stitch, and the dilated net they equal.

FCN paper (arXiv 1411.4038), section 3.1: a convolutional classifier on a large image computes what the classifier
would compute on every window, with all that neighbouring windows share computed once.
Section 3.2: a net with output stride f gives scores at every f-th pixel.  Shifting the input by 0 to f - 1 pixels
down and right, and interlacing the f * f outputs, gives them at every pixel: the same as the net whose strides are
1 and whose later kernels are dilated instead ("a trous").  FCN itself upsamples, which learns as well and costs less.

All three agree exactly where no layer pads: a pad gives a window a border that the middle of an image has not.
`net` is a function from an (1, C, H, W) array to an (1, K, h, w) array.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from demitasse.proto.errors import ShapeFault
from demitasse.proto.messages import NetParameter

Function = Callable[[np.ndarray], np.ndarray]


def sliding_windows(net: Function, image: np.ndarray, window: int, step: int) -> np.ndarray:
    """(1, K, h, w): the score of each window x window part of the image, `step` pixels apart."""
    height, width = image.shape[2:]
    if min(height, width) < window:
        raise ShapeFault(f"a window of {window} does not fit into an image of {height}x{width}")
    rows = [
        np.concatenate(
            [net(image[:, :, y : y + window, x : x + window]) for x in range(0, width - window + 1, step)], axis=3
        )
        for y in range(0, height - window + 1, step)
    ]
    return np.concatenate(rows, axis=2)


def shift_and_stitch(net: Function, image: np.ndarray, stride: int) -> np.ndarray:
    """(1, K, h, w): the scores of a net of this output stride at every pixel, by stride * stride passes."""
    shifted = {(dy, dx): net(image[:, :, dy:, dx:]) for dy in range(stride) for dx in range(stride)}
    height = _reach([shifted[d, 0].shape[2] for d in range(stride)], stride)
    width = _reach([shifted[0, d].shape[3] for d in range(stride)], stride)
    first = shifted[0, 0]
    dense = np.zeros((*first.shape[:2], height, width), first.dtype)
    for (dy, dx), scores in shifted.items():
        place = dense[:, :, dy::stride, dx::stride]
        place[...] = scores[:, :, : place.shape[2], : place.shape[3]]
    return dense


def _reach(lengths: list[int], stride: int) -> int:
    """How far the interlaced outputs reach without a gap."""
    return min(shift + stride * length for shift, length in enumerate(lengths))


def dilated(message: NetParameter) -> NetParameter:
    """The same net at stride 1: strides taken out, every kernel behind them dilated by them.

    For chains of Convolution and pointwise layers, with Pooling as long as nothing before it had a stride: a pooling
    window cannot be dilated.  Raises ShapeFault otherwise.  The weights are those of the given net.
    """
    result = NetParameter()
    result.CopyFrom(message)
    dilation = 1
    for layer in result.layer:
        if layer.type == "Convolution":
            conv = layer.convolution_param
            if conv.HasField("kernel_h") or conv.HasField("stride_h") or len(conv.kernel_size) != 1 or any(conv.pad):
                raise ShapeFault(f"layer '{layer.name}': only square kernels without pad can be dilated here")
            stride, own = (conv.stride or [1])[0], (conv.dilation or [1])[0]
            conv.stride[:], conv.dilation[:] = [1], [own * dilation]
            dilation *= stride
        elif layer.type == "Pooling":
            pool = layer.pooling_param
            if dilation > 1 and pool.kernel_size > 1:
                raise ShapeFault(
                    f"layer '{layer.name}' (Pooling) comes after a stride of {dilation}: pooling windows "
                    "cannot be dilated; use shift_and_stitch"
                )
            dilation *= pool.stride
            pool.stride = 1
    return result
