"""Convolution as a matrix product whose right side is gathered band by band: no whole im2col is ever built.

A band is a run of output rows of one image and group; its columns (taps x pixels) stay in the cache.  Images are
flat arrays; `sizes` is (N, C, H, W, K, OH, OW, group, kernel y x, stride y x, pad y x, dilation y x), `steps` come
from `Direct`.
"""

from __future__ import annotations

import numpy as np

from layers.backend.cpu_product import fill, multiply_deep, padded, transpose
from layers.backend.cpu_threads import finish, kernel, my_number, take, wait
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


@kernel
def backward_data(state, dy, w, bias, slope, dx, sizes, steps, u, v, q):
    """dx = the adjoint of the convolution, of dy; then relu(dx + bias).

    A job owns some channels: their rows of w^T dy are added up in their planes of dx.  u: packed w per thread;
    v: dy of a band; q: columns of one job per thread.
    """
    n_images, c_in, height, width, k_out, out_h, out_w, group = sizes[:8]
    band_rows, job_channels, v_ld = steps
    me = my_number(state)
    taps, c_group, k_group = sizes[8] * sizes[9], c_in // group, k_out // group
    depth = c_group * taps
    my_u, my_q = u[me], q[me]
    jobs = (c_group + job_channels - 1) // job_channels
    phase = -1
    for part in range(n_images * group):
        image, g = part // group, part % group
        for row0 in range(0, out_h, band_rows):
            row1 = min(row0 + band_rows, out_h)
            pixels = (row1 - row0) * out_w
            phase += 1
            while True:
                k = take(state, phase)
                if k >= k_group:
                    break
                copy(dy, ((image * k_out + g * k_group + k) * out_h + row0) * out_w, v, k * v_ld, pixels)
                finish(state, phase)
            wait(state, phase, k_group)
            phase += 1
            while True:
                job = take(state, phase)
                if job >= jobs:
                    break
                first, last = job * job_channels, min((job + 1) * job_channels, c_group)
                rows = (last - first) * taps
                blocks = (rows + 15) // 16
                for block in range(blocks):
                    wide = min(16, rows - block * 16)
                    start = g * k_group * depth + first * taps + block * 16
                    for k in range(k_group):
                        place = (block * k_group + k) * 16
                        for i in range(wide):
                            my_u[place + i] = w[start + k * depth + i]
                        for i in range(wide, 16):
                            my_u[place + i] = 0
                multiply_deep(my_u, 0, k_group * 16, blocks, v, 0, v_ld, pixels, my_q, 0, v_ld, k_group, 0)
                for c in range(first, last):
                    plane = (image * c_in + g * c_group + c) * height * width
                    if row0 == 0:
                        fill(dx, plane, height * width, np.float32(0))
                    for tap in range(taps):
                        scatter(
                            my_q,
                            ((c - first) * taps + tap) * v_ld,
                            sizes,
                            tap // sizes[9],
                            tap % sizes[9],
                            row0,
                            row1,
                            dx,
                            plane,
                        )
                    if row1 == out_h and (slope != 1 or bias[g * c_group + c] != 0):
                        store_outputs(dx, plane, height * width, dx, plane, bias[g * c_group + c], slope)
                finish(state, phase)
            wait(state, phase, jobs)


@kernel
def backward_data_diagonal(state, dy, w, bias, slope, dx, sizes):
    """backward_data where only w[i, i] is nonzero: each channel alone, line by line of dx."""
    n_images, channels, height, width, _, out_h, out_w = sizes[:7]
    taps_y, taps_x, stride_y, stride_x, pad_y, pad_x = sizes[8:14]
    wide = (taps_x + 15) // 16 * 16
    kernel_lines = np.zeros(taps_y * wide, np.float32)  # of lines of whole vectors, as `line` is
    line = np.empty(max((out_w - 1) * stride_x + wide, pad_x + width), np.float32)
    while True:
        job = take(state, 0)
        if job >= n_images * channels:
            break
        c, plane = job % channels, job * height * width
        for tap in range(taps_y):
            copy(w, ((c * channels + c) * taps_y + tap) * taps_x, kernel_lines, tap * wide, taps_x)
        for y in range(height):
            fill(line, 0, line.size, np.float32(0))
            for row in range(max(0, (y + pad_y - taps_y) // stride_y + 1), min(out_h, (y + pad_y) // stride_y + 1)):
                tap = y + pad_y - row * stride_y
                for column in range(out_w):
                    value = dy[(job * out_h + row) * out_w + column]
                    for i in range(0, wide, 16):
                        add_scaled(value, kernel_lines, tap * wide + i, line, column * stride_x + i)
            copy(line, pad_x, dx, plane + y * width, width)
        if slope != 1 or bias[c] != 0:
            store_outputs(dx, plane, height * width, dx, plane, bias[c], slope)
        finish(state, 0)
    wait(state, 0, n_images * channels)


@kernel
def backward_weights(state, x, dy, dw, sizes, steps, u, v, q, lines):
    """Adds to dw the gradient of the convolution.  Bands follow each other, so the sum's order is fixed.

    u: dy of a band, (blocks of 16 outputs, pixels, 16); v: its columns, (pixels, taps); q: a piece of dw per thread;
    lines: columns of 16 taps at a time per thread.
    """
    n_images, c_in, height, width, k_out, out_h, out_w, group = sizes[:8]
    band_rows, job_blocks, job_columns, v_ld, q_ld = steps
    me = my_number(state)
    taps, c_group, k_group = sizes[8] * sizes[9], c_in // group, k_out // group
    depth, blocks = c_group * taps, (k_group + 15) // 16
    my_q, my_lines = q[me], lines[me]
    line_ld = my_lines.size // 16
    phase = -1
    for part in range(n_images * group):
        image, g = part // group, part % group
        for row0 in range(0, out_h, band_rows):
            row1 = min(row0 + band_rows, out_h)
            pixels = (row1 - row0) * out_w
            phase += 1
            strips = (depth + 15) // 16
            while True:
                job = take(state, phase)
                if job >= blocks + strips:
                    break
                if job < blocks:
                    first = job * 16
                    transpose(
                        dy,
                        ((image * k_out + g * k_group + first) * out_h + row0) * out_w,
                        out_h * out_w,
                        min(16, k_group - first),
                        pixels,
                        u,
                        job * band_rows * out_w * 16,
                        16,
                        16,
                    )
                else:
                    first = (job - blocks) * 16
                    rows = min(16, depth - first)
                    for i in range(rows):
                        c, tap = (first + i) // taps, (first + i) % taps
                        gather(
                            x,
                            (image * c_in + g * c_group + c) * height * width,
                            sizes,
                            tap // sizes[9],
                            tap % sizes[9],
                            row0,
                            row1,
                            my_lines,
                            i * line_ld,
                        )
                    transpose(my_lines, 0, line_ld, rows, pixels, v, first, v_ld, 16)
                finish(state, phase)
            wait(state, phase, blocks + strips)
            phase += 1
            parts = (blocks + job_blocks - 1) // job_blocks
            jobs = parts * ((depth + job_columns - 1) // job_columns)
            while True:
                job = take(state, phase)
                if job >= jobs:
                    break
                first, column = job % parts * job_blocks, job // parts * job_columns
                last, n = min(first + job_blocks, blocks), min(job_columns, depth - column)
                multiply_deep(
                    u,
                    first * band_rows * out_w * 16,
                    band_rows * out_w * 16,
                    last - first,
                    v,
                    column,
                    v_ld,
                    n,
                    my_q,
                    0,
                    q_ld,
                    pixels,
                    0,
                )
                for k in range(first * 16, min(last * 16, k_group)):
                    place = (g * k_group + k) * depth + column
                    add_line(my_q, (k - first * 16) * q_ld, dw, place, n)
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
