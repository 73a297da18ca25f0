"""Convolution as a matrix product whose right side is gathered band by band: no whole im2col is ever built.

A band is a run of output rows of one image and group; its columns (taps x pixels) stay in the cache.  Images are
flat arrays; `sizes` is (N, C, H, W, K, OH, OW, group, kernel y x, stride y x, pad y x, dilation y x), `steps` come
from `Direct`.
"""

from __future__ import annotations

from layers.backend.cpu_gather import gather_channel, store_outputs
from layers.backend.cpu_product import multiply_deep, padded, transpose
from layers.backend.cpu_threads import finish, kernel, my_number, take, wait
from layers.backend.cpu_vector import copy


@kernel
def forward(state, x, w, bias, slope, y, sizes, steps, u, v, q):
    """y = relu(convolution of x + bias).  u: packed w of everything or of one job per thread; v: columns of a band;
    q: outputs of one job per thread."""
    n_images, c_in, height, width, k_out, out_h, out_w, group = sizes[:8]
    band_rows, job_columns, strip_columns, job_blocks, v_ld, q_ld, keep_u = steps
    me = my_number(state)
    taps, c_group, k_group = sizes[8] * sizes[9], c_in // group, k_out // group
    depth, blocks = c_group * taps, (k_group + 15) // 16
    my_u, my_q = u[0] if keep_u else u[me], q[me]
    # A 1x1 convolution needs no gathering but for the last columns, which fill no vector.
    in_place = taps == 1 and sizes[10:14] == (1, 1, 0, 0)
    whole = out_h * out_w // 16 * 16 if in_place else 0
    phase = 0
    while keep_u:  # pack the weights
        job = take(state, phase)
        if job >= group * blocks:
            break
        first = job // blocks * k_group + job % blocks * 16
        rows = min(16, (job // blocks + 1) * k_group - first)
        transpose(w, first * depth, depth, rows, depth, my_u, job * depth * 16, 16, 16)
        finish(state, phase)
    for part in range(n_images * group):
        image, g = part // group, part % group
        for row0 in range(0, out_h, band_rows):
            row1 = min(row0 + band_rows, out_h)
            pixels = (row1 - row0) * out_w
            phase += 1
            while True:
                c = take(state, phase)
                if c >= c_group:
                    break
                plane = (image * c_in + g * c_group + c) * height * width
                if in_place:
                    copy(x, plane + whole, v, c * v_ld, pixels - whole)
                else:
                    gather_channel(x, plane, sizes, row0, row1, v, c * taps * v_ld, v_ld)
                finish(state, phase)
            if phase == 1 and keep_u:
                wait(state, 0, group * blocks)
            wait(state, phase, c_group)
            phase += 1
            parts = (blocks + job_blocks - 1) // job_blocks
            jobs = parts * ((pixels + job_columns - 1) // job_columns)
            while True:
                job = take(state, phase)
                if job >= jobs:
                    break
                first, column = job % parts * job_blocks, job // parts * job_columns
                last, n = min(first + job_blocks, blocks), min(job_columns, pixels - column)
                if not keep_u:
                    for block in range(first, last):
                        k0, rows = g * k_group + block * 16, min(16, k_group - block * 16)
                        transpose(w, k0 * depth, depth, rows, depth, my_u, (block - first) * depth * 16, 16, 16)
                packed = (g * blocks + first) * depth * 16 if keep_u else 0
                strip, end = column, column + n
                while strip < end:
                    wide = min(strip_columns, end - strip)
                    right, start, ld = v, strip - whole, v_ld
                    if strip < whole:
                        wide = min(wide, whole - strip)
                        right, start, ld = x, (image * c_in + g * c_group) * height * width + strip, height * width
                    multiply_deep(
                        my_u, packed, depth * 16, last - first, right, start, ld, wide, my_q, 0, q_ld, depth, 0
                    )
                    for k in range(first * 16, min(last * 16, k_group)):
                        channel = g * k_group + k
                        place = ((image * k_out + channel) * out_h + row0) * out_w + strip
                        store_outputs(my_q, (k - first * 16) * q_ld, wide, y, place, bias[channel], slope)
                    strip += wide
                finish(state, phase)
            wait(state, phase, jobs)


def _bands(rows, row_floats, budget):
    """(rows per band, bands) so that a band takes about `budget` floats."""
    bands = max(1, min(rows, round(rows * row_floats / budget)))
    band_rows = -(-rows // bands)
    return band_rows, -(-rows // band_rows)


class Direct:
    """How a convolution is cut up, and what workspace each of the three kernels needs (shapes; None: per thread)."""

    def __init__(self, x_shape, k_out, geom, out):
        n, c, height, width = x_shape
        self.sizes = (
            n,
            c,
            height,
            width,
            k_out,
            *out,
            geom.group,
            *geom.kernel,
            *geom.stride,
            *geom.pad,
            *geom.dilation,
        )
        self.taps = geom.kernel[0] * geom.kernel[1]
        self.parts, self.c_group, self.k_group = n * geom.group, c // geom.group, k_out // geom.group
        self.depth, self.blocks = self.c_group * self.taps, -(-self.k_group // 16)
        self.group, self.out = geom.group, out
        self.in_place = self.taps == 1 and geom.stride == (1, 1) and geom.pad == (0, 0)

    def forward(self):
        """(phases, steps, shapes of u, v, q)"""
        rows, width = self.out
        if self.in_place:
            band_rows, bands = rows, 1
        else:
            band_rows, bands = _bands(rows, self.depth * width, 2 << 20)
        pixels = band_rows * width
        keep = (bands > 1 or self.parts > self.group) and self.group * self.blocks * 16 * self.depth <= 4 << 20
        columns = min(pixels, 480) if keep or self.blocks <= 16 else pixels  # else each part of w is packed once
        job_blocks = min(
            self.blocks, 8, max(1, self.blocks * -(-pixels // columns) // 16), max(2, (1 << 14) // self.depth)
        )
        strip = min(columns, 96)  # outputs of a strip stay in the first cache
        v_ld, q_ld = 16 if self.in_place else padded(pixels), padded(strip)
        u = (1, self.group * self.blocks * 16 * self.depth) if keep else (None, job_blocks * 16 * self.depth)
        steps = band_rows, columns, strip, job_blocks, v_ld, q_ld, int(keep)
        return 1 + 2 * self.parts * bands, steps, (u, (self.depth * v_ld,), (None, job_blocks * 16 * q_ld))

    def backward_data(self):
        """(phases, steps, shapes of u, v, q)"""
        rows, width = self.out
        channels = max(1, min(self.c_group, 64 // self.taps))
        width_rows = -(-channels * self.taps // 16) * 16
        band_rows, bands = _bands(rows, width * max(width_rows * 4, self.k_group), 2 << 20)
        v_ld = padded(band_rows * width)
        return (
            2 * self.parts * bands,
            (band_rows, channels, v_ld),
            ((None, width_rows * self.k_group), (self.k_group * v_ld,), (None, width_rows * v_ld)),
        )

    def backward_weights(self):
        """(phases, steps, shapes of u, v, q, lines)"""
        rows, width = self.out
        band_rows, bands = _bands(rows, width * (self.depth + self.blocks * 16), 4 << 20)
        pixels = band_rows * width
        v_ld = padded(self.depth)
        job_blocks, columns = min(4, self.blocks), min(self.depth, 480)
        q_ld = padded(columns)
        return (
            2 * self.parts * bands,
            (band_rows, job_blocks, columns, v_ld, q_ld),
            (
                (self.blocks * pixels * 16,),
                (pixels * v_ld,),
                (None, job_blocks * 16 * q_ld),
                (None, 16 * padded(pixels)),
            ),
        )
