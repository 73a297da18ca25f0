"""What lies under the taps of a convolution: gathered from an image, or added back to it; outputs with bias and ReLU.

Images are flat arrays; `sizes` is that of cpu_direct.
"""

from __future__ import annotations

import numpy as np

from layers.backend.cpu_product import fill
from layers.backend.cpu_threads import kernel
from layers.backend.cpu_vector import add_bias, add_scaled, copy, copy_every


@kernel
def gather(x, plane, sizes, tap_y, tap_x, row0, row1, v, iv):
    """v[iv :] = the pixels of the image plane at x[plane] that one tap sees under output rows row0 ... row1 - 1."""
    height, width, out_w = sizes[2], sizes[3], sizes[6]
    stride_y, stride_x = sizes[10], sizes[11]
    offset_y, offset_x = tap_y * sizes[14] - sizes[12], tap_x * sizes[15] - sizes[13]
    if (
        stride_y == 1
        and stride_x == 1
        and offset_x == 0
        and out_w == width
        and (row0 + offset_y >= 0 and row1 + offset_y <= height)
    ):
        copy(x, plane + (row0 + offset_y) * width, v, iv, (row1 - row0) * width)
        return
    low = min(out_w, max(0, (stride_x - 1 - offset_x) // stride_x))
    high = max(low, min(out_w, (width - 1 - offset_x) // stride_x + 1))
    for row in range(row0, row1):
        y, line = row * stride_y + offset_y, iv + (row - row0) * out_w
        if y < 0 or y >= height:
            fill(v, line, out_w, np.float32(0))
            continue
        fill(v, line, low, np.float32(0))
        start = plane + y * width + offset_x
        if stride_x == 1:
            copy(x, start + low, v, line + low, high - low)
        else:
            done = low
            if high - low >= 16 and (stride_x == 2 or stride_x == 4) and start + high * stride_x <= x.size:
                while done < high:
                    done = min(done, high - 16)  # the last vector may cover some pixels twice
                    if stride_x == 2:
                        copy_every(x, start + done * 2, v, line + done, (0, 0))
                    else:
                        copy_every(x, start + done * 4, v, line + done, (0, 0, 0, 0))
                    done += 16
            for i in range(done, high):
                v[line + i] = x[start + i * stride_x]
        fill(v, line + high, out_w - high, np.float32(0))


@kernel
def add_line(q, iq, x, ix, n):
    """x[ix :] += q[iq :] for n pixels."""
    whole = n // 16 * 16
    for i in range(0, whole, 16):
        add_scaled(np.float32(1), q, iq + i, x, ix + i)
    for i in range(whole, n):
        x[ix + i] += q[iq + i]


@kernel
def scatter(q, iq, sizes, tap_y, tap_x, row0, row1, x, plane):
    """The adjoint of gather: adds q[iq :] to the image plane at x[plane]."""
    height, width, out_w = sizes[2], sizes[3], sizes[6]
    stride_y, stride_x = sizes[10], sizes[11]
    offset_y, offset_x = tap_y * sizes[14] - sizes[12], tap_x * sizes[15] - sizes[13]
    low = min(out_w, max(0, (stride_x - 1 - offset_x) // stride_x))
    high = max(low, min(out_w, (width - 1 - offset_x) // stride_x + 1))
    for row in range(row0, row1):
        y, line = row * stride_y + offset_y, iq + (row - row0) * out_w
        if 0 <= y < height:
            start = plane + y * width + offset_x
            if stride_x == 1:
                add_line(q, line + low, x, start + low, high - low)
            else:
                for i in range(low, high):
                    x[start + i * stride_x] += q[line + i]


@kernel
def gather_channel(x, plane, sizes, row0, row1, v, iv, ld):
    """All taps of one channel: kernel_y * kernel_x rows of v."""
    for tap_y in range(sizes[8]):
        for tap_x in range(sizes[9]):
            gather(x, plane, sizes, tap_y, tap_x, row0, row1, v, iv + (tap_y * sizes[9] + tap_x) * ld)


@kernel
def store_outputs(q, iq, n, y, iy, bias, slope):
    """y = relu(q + bias) for n pixels; slope 1: no relu."""
    whole = n // 16 * 16
    for i in range(0, whole, 16):
        add_bias(q, iq + i, y, iy + i, bias, slope)
    for i in range(whole, n):
        value = q[iq + i] + bias
        y[iy + i] = value if value > 0 else value * slope + np.float32(0)
