"""How windows slide over an image: the geometries of convolutions and pooling, as integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class ConvGeometry(NamedTuple):
    """How a convolution slides; tuples have one entry per spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]
    group: int = 1

    def out_size(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Output sizes of the convolution for input sizes (floor)."""
        return tuple(
            (n + 2 * p - (d * (k - 1) + 1)) // s + 1
            for n, k, s, p, d in zip(spatial, self.kernel, self.stride, self.pad, self.dilation, strict=True)
        )

    def in_size(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Output sizes of the transposed convolution (Deconvolution)."""
        return tuple(
            s * (n - 1) + d * (k - 1) + 1 - 2 * p
            for n, k, s, p, d in zip(spatial, self.kernel, self.stride, self.pad, self.dilation, strict=True)
        )

    @property
    def is_pointwise(self) -> bool:
        """Whether every output pixel looks at the one input pixel at its own position."""
        return set(self.kernel) == set(self.stride) == {1} and not any(self.pad)


class PoolGeometry(NamedTuple):
    """A 2-D pooling window; `out` is the output size that the layer has inferred (ceil or floor).

    A window is clipped to the image.  Where ceil makes a window begin beyond the image (no pad and a stride
    larger than the kernel) it holds no pixel: every kind of pooling gives 0 there and passes no gradient.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    out: tuple[int, int]

    def starts(self, axis: int) -> range:
        """The first row (axis 0) or column (axis 1) of each window, before clipping."""
        return range(-self.pad[axis], self.out[axis] * self.stride[axis] - self.pad[axis], self.stride[axis])

    def areas(self, spatial: Sequence[int]) -> tuple[list[int], list[int]]:
        """Heights and widths that AVE divides by: windows clipped to image + pad, so that pad cells count."""
        heights, widths = (
            [max(0, min(start + k, n + p) - start) for start in self.starts(axis)]
            for axis, (n, k, p) in enumerate(zip(spatial, self.kernel, self.pad, strict=True))
        )
        return heights, widths
