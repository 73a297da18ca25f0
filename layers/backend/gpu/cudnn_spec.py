"""What is asked of cuDNN: a convolution in one of its directions, the shape of its data aside."""

from __future__ import annotations

import math
from typing import NamedTuple

MIN_CHANNELS = 32  # of a group, in and out, from which on tensor cores must pay
# In, forward at fp16: cuDNN's first choice for conv1_1 of FCN-8s takes 0.15 ms, on tensor cores it takes 0.07
MIN_CHANNELS_FP16_FORWARD = 3
# Where tensor cores are out of the question, from how many on cuBLAS over im2col is the faster way (an H200)
CUBLAS_OUTPUTS, CUBLAS_INPUTS, CUBLAS_PIXELS = 512, 256, 256


class Spec(NamedTuple):
    """What a plan depends on, the shape of its data aside."""

    direction: str  # "fprop" | "dgrad" | "wgrad"
    weights: tuple[int, int, int, int]  # (K, C / group, kh, kw)
    pad: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    fp16: bool = False
    tf32: bool = True
    bias: bool = False
    relu: bool = False
    deterministic: bool = True

    @property
    def channels_last(self) -> bool:
        """The layout that cuDNN's engines work in: NHWC on tensor cores, NCHW without them."""
        return self.fp16 or self.tf32

    @property
    def wants_tensor_cores(self) -> bool:
        """Whether tensor cores pay: channels last, and enough of them."""
        minimum = MIN_CHANNELS_FP16_FORWARD if self.fp16 and self.direction == "fprop" else MIN_CHANNELS
        return self.channels_last and self.weights[1] >= minimum and self.weights[0] >= MIN_CHANNELS

    @property
    def unfused(self) -> Spec:
        """The convolution alone."""
        return self._replace(bias=False, relu=False)

    def out_size(self, shape) -> tuple[int, int]:
        """Height and width of the output, for data of that shape (N, C, H, W)."""
        h, w = (
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(shape[2:], self.pad, self.dilation, self.weights[2:], self.stride, strict=True)
        )
        return h, w

    def is_unfolded(self, shape) -> bool:
        """Whether it is computed as a matrix product.

        Large kernels over few pixels are, as fc6 of FCN (7x7 on 22x22): each output pixel brings all elements in its
        window, in the order in which weights lie.  That copies far less than there are weights, of which cuDNN
        9.19 would make a copy at tf32, and which would have to be brought into its form first.
        """
        many, per_group, kh, kw = self.weights
        return kh * kw > 1 and per_group == shape[1] and 4 * shape[0] * math.prod(self.out_size(shape)) <= many

    def unfolded(self, shape) -> tuple[Spec, tuple[int, int, int, int]]:
        """The convolution of 1x1 that an unfolded one is, and the shape of its data."""
        channels = math.prod(self.weights[1:])
        once = self._replace(weights=(self.weights[0], channels, 1, 1), pad=(0, 0), stride=(1, 1), dilation=(1, 1))
        return once, (shape[0], channels, *self.out_size(shape))

    def prefers_cublas(self, shape) -> bool:
        """Whether cuBLAS over im2col, image by image, is faster than what cuDNN has at fp32.

        Of FCN-8s on an H200 it takes 0.54 of cuDNN's time for fc6, 0.62 for fc7, 0.73 for conv4_2 forward, and as much
        for the data's gradient of the first two.  With fewer channels, and for weights' gradients, cuDNN is faster.
        """
        pixels = math.prod(self.out_size(shape))
        if self.channels_last or pixels < CUBLAS_PIXELS and shape[0] > 1:
            return False
        outputs, inputs, *kernel = self.weights
        pointwise = kernel == [1, 1] and self.stride == (1, 1) and self.pad == (0, 0)
        many = outputs >= CUBLAS_OUTPUTS and inputs >= CUBLAS_INPUTS and inputs == shape[1]
        way = self.direction == "fprop" or (self.direction == "dgrad" and pointwise)
        return self.is_unfolded(shape) or (many and way and pixels >= CUBLAS_PIXELS)
