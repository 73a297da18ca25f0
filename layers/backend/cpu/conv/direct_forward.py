"""Convolution as a matrix product of the weights, as they lie, with the image, almost as it lies.

Row p of the product's right side is what weight p (a channel and a tap) is multiplied with: one pixel for every
output.  In an image with its pad around it, lines of neighbouring outputs are lines of neighbouring pixels, so that
row p is a piece of the image which begins at a place of its own: no im2col is ever built.  The image is framed band by
band, a band being a run of output rows; with a stride, rows and columns are sorted by their remainders first.  Outputs
are computed for the whole length of the framed lines; those beyond the end of an output line are left out.

Images are flat arrays; `sizes` is (N, C, H, W, K, OH, OW, group, kernel y x, stride y x, pad y x, dilation y x),
`steps` come from `forward_steps` and `Direct`.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.cpu.conv.im2col import frame, store_outputs
from demitasse.layers.backend.cpu.gemm_microkernel import (
    DEPTH,
    ROWS,
    STRIP,
    TILE_LANES,
    TILE_ROWS,
    VECTORS,
    convolve_tile,
    multiply_tile,
    padded,
)
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import bands_of, part_of, work

LONG = 8 * TILE_LANES  # pixels at a time where each group has one output


@kernel
def forward(state, scratch, x, w, w_row, w_step, bias, slope, y, sizes, steps, places, f):
    """y = relu(convolution of x + bias).

    w_row, w_step: how far the weights of two outputs, and two weights of one output, are apart.
    places: where in the frame of a group's channels the row of each weight begins; f: the frame of a band, or x
    itself where it needs none; scratch: outputs of a job's strip.
    """
    n_images, c_in, height, width, k_out, out_h, out_w, group = sizes[:8]
    band_rows, frame_rows, ld, channel_size, job_rows, job_columns, framed = steps
    me = enter(state)
    my_q = scratch[me]
    c_group, k_group = c_in // group, k_out // group
    strip = LONG if k_group == 1 else STRIP
    phase = -1
    for image in range(n_images):
        for row0 in range(0, out_h, band_rows):
            row1 = min(row0 + band_rows, out_h)
            if framed:
                phase += 1
                bands = bands_of(state, frame_rows, ld)
                for job in work(state, me, phase, c_in * bands):
                    c, (first, end) = job % c_in, part_of(frame_rows, job // c_in, bands)
                    plane, gap = (image * c_in + c) * height * width, (frame_rows - end + first) * ld
                    frame(x, plane, sizes, row0 + first, end - first, ld, f, c * channel_size + first * ld, gap)
            phase += 1
            columns = (row1 - row0 - 1) * ld + out_w
            parts, pieces = (k_group + job_rows - 1) // job_rows, (columns + job_columns - 1) // job_columns
            jobs, by_pixels = group * parts * pieces, bands_of(state, out_h, out_w) > 1
            for job in work(state, me, phase, jobs):
                part, piece = (job % (group * parts), job // (group * parts)) if by_pixels else divmod(job, pieces)
                g, k0, column0 = part // parts, part % parts * job_rows, piece * job_columns
                k1, end = min(k0 + job_rows, k_group), min(column0 + job_columns, columns)
                start = ((0 if framed else image * c_in) + g * c_group) * channel_size
                for column in range(column0, end, strip):
                    n = min(strip, end - column)
                    reach = strip if k_group == 1 else (n + TILE_LANES - 1) // TILE_LANES * TILE_LANES
                    if not framed and column + reach > columns:  # nothing beyond the end may be read: some once more
                        column, n = columns - reach, reach
                    line, i = column // ld, column % ld
                    left = g * k_group * len(places) + k0 * w_row
                    top = ((image * k_out + g * k_group + k0) * out_h + row0 + line) * out_w + i
                    if n == STRIP and (ld == out_w or i + n <= out_w) and len(places) <= DEPTH and k_group > 1:
                        convolve(
                            w,
                            left,
                            w_row,
                            w_step,
                            k1 - k0,
                            f,
                            start + column,
                            places,
                            y,
                            top,
                            out_h * out_w,
                            bias,
                            g * k_group + k0,
                            slope,
                        )
                        continue
                    multiply_placed(w, left, w_row, w_step, k1 - k0, f, start + column, places, n, my_q, strip)
                    for k in range(k1 - k0):
                        done, place, here = 0, top + k * out_h * out_w, i
                        while done < n:
                            wide = min(n - done, out_w - here)
                            if wide > 0:
                                store_outputs(my_q, k * strip + done, wide, y, place, bias[g * k_group + k0 + k], slope)
                            done, place, here = done + ld - here, place + out_w - here, 0


@kernel
def convolve(w, iw, w_row, w_step, rows, x, ix, places, y, iy, ldy, bias, channel, slope):
    """STRIP pixels of `rows` outputs, with nothing in between: the sums go from registers to y."""
    for k in range(0, rows, TILE_ROWS):
        convolve_tile(
            w,
            iw + k * w_row,
            w_row,
            w_step,
            rows - k,
            x,
            ix,
            places,
            y,
            iy + k * ldy,
            ldy,
            bias,
            channel + k,
            slope,
            ROWS,
            VECTORS,
        )


@kernel
def multiply_placed(w, iw, w_row, w_step, rows, x, ix, places, columns, q, ldq):
    """q (rows, columns) = w (rows, depth) at w[iw] times the rows of `columns` pixels at x[ix + places]."""
    depth = len(places)
    wide = (columns + TILE_LANES - 1) // TILE_LANES
    for p in range(0, depth, DEPTH):
        n = min(DEPTH, depth - p)
        if rows == 1:
            multiply_tile(w, iw + p * w_step, 0, w_step, 1, x, ix, places, p, q, 0, ldq, n, p, (0,), (0,) * 8)
            continue
        for k in range(0, rows, TILE_ROWS):
            left, iq, m = iw + k * w_row + p * w_step, k * ldq, rows - k
            if wide == 3:
                multiply_tile(w, left, w_row, w_step, m, x, ix, places, p, q, iq, ldq, n, p, ROWS, (0, 0, 0))
            elif wide == 2:
                multiply_tile(w, left, w_row, w_step, m, x, ix, places, p, q, iq, ldq, n, p, ROWS, (0, 0))
            else:
                multiply_tile(w, left, w_row, w_step, m, x, ix, places, p, q, iq, ldq, n, p, ROWS, (0,))


def _bands(rows, row_floats, budget):
    """(rows per band, bands) so that a band takes about `budget` floats."""
    bands = max(1, min(rows, round(rows * row_floats / budget)))
    band_rows = -(-rows // bands)
    return band_rows, -(-rows // band_rows)


def forward_steps(x_shape, k_out, geom, out):
    """(phases, sizes, steps, places, floats of the frame or 0 where x needs none, floats of scratch)"""
    direct = Direct(x_shape, k_out, geom, out)
    (n, c, *size), (rows, width) = x_shape, out
    taps = [np.arange(k) * d for k, d in zip(geom.kernel, geom.dilation, strict=True)]
    one_output = direct.k_group == 1
    strip = LONG if one_output else STRIP
    framed = any(geom.pad) or max(geom.stride) > 1 or size[1] * (rows - 1) + width < strip
    remainders = [min(s, t[-1] + 1) for s, t in zip(geom.stride, taps, strict=True)]
    reach = [t[-1] // s for s, t in zip(geom.stride, taps, strict=True)]
    ld = width + reach[1] if framed else size[1]
    band_rows, bands = rows, 1
    if framed:
        band_rows, bands = _bands(rows, c * remainders[0] * remainders[1] * ld, 1 << 18 if one_output else 1 << 19)
    frame_rows = band_rows + reach[0] if framed else size[0]
    channel_size = remainders[0] * remainders[1] * frame_rows * ld
    row = taps[0] % geom.stride[0] * remainders[1] * frame_rows + taps[0] // geom.stride[0]
    column = taps[1] % geom.stride[1] * frame_rows * ld + taps[1] // geom.stride[1]
    places = (np.arange(direct.c_group)[:, None, None] * channel_size + row[:, None] * ld + column).reshape(-1)
    columns = (band_rows - 1) * ld + width
    depth = len(places)
    job_rows = min(direct.k_group, 64, max(16, (1 << 17) // depth // 16 * 16))
    work = max(1 << 18, direct.k_group * depth * columns // 32)
    job_columns = strip * max(1, min(round(work / (job_rows * depth * strip)), -(-columns // strip)))
    steps = band_rows, frame_rows, ld, channel_size, job_rows, job_columns, int(framed)
    phases = (1 + framed) * n * bands
    q_rows = -(-job_rows // TILE_ROWS) * TILE_ROWS
    return phases, direct.sizes, steps, places, framed * (c * channel_size + strip), q_rows * strip


class Direct:
    """How the gradients are cut up, and what workspace their kernels need."""

    def __init__(self, x_shape, k_out, geom, out):
        n, c, height, width = x_shape
        self.sizes = n, c, height, width, k_out, *out, geom.group, *geom.kernel, *geom.stride, *geom.pad, *geom.dilation
        self.taps = geom.kernel[0] * geom.kernel[1]
        self.parts, self.c_group, self.k_group = n * geom.group, c // geom.group, k_out // geom.group
        self.depth, self.blocks = self.c_group * self.taps, -(-self.k_group // 16)
        self.out = out

    def backward_data(self):
        """(phases, steps, floats of v, of scratch)"""
        rows, width = self.out
        channels = max(1, min(self.c_group, 64 // self.taps))
        width_rows = -(-channels * self.taps // 16) * 16
        band_rows, bands = _bands(rows, width * max(width_rows * 4, self.k_group), 2 << 20)
        v_ld = padded(band_rows * width)
        return (
            2 * self.parts * bands,
            (band_rows, channels, v_ld),
            self.k_group * v_ld,
            width_rows * (self.k_group + v_ld),
        )

    def backward_weights(self):
        """(phases, steps, floats of u, of v, of scratch)"""
        rows, width = self.out
        band_rows, bands = _bands(rows, width * (self.depth + self.blocks * 16), 4 << 20)
        pixels = band_rows * width
        v_ld = padded(self.depth)
        job_blocks, columns = min(4, self.blocks), min(self.depth, 480)
        q_ld, line_ld = padded(columns), padded(pixels)
        return (
            2 * self.parts * bands,
            (band_rows, job_blocks, columns, v_ld, q_ld, line_ld),
            self.blocks * pixels * 16,
            pixels * v_ld,
            16 * line_ld + job_blocks * 16 * q_ld,
        )
