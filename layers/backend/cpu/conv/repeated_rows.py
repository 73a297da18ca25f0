"""Repeated rows and columns in an image (constant regions, such as a wide zero padding): convolved once, then
replicated.

FCN pads its images by 100, and deep inside that border all rows are equal (and all columns), layer after layer.  A
convolution then gives equal outputs, exactly: so each run is shortened to the height of the kernel, the small image
is convolved, and the one output row that lies wholly inside the run is repeated.  The gradient of the weights needs of
equal outputs no more than the sum of theirs.  Runs of an array are found by comparing the values, each time: nothing is
assumed about where it comes from.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.conv.im2col import add_line
from demitasse.layers.backend.cpu.conv.repeated_image import (
    ONE_WINDOW,
    STEP,
    RepeatedImage,
    Shortening,
    lines_of_image,
    pieces_of,
)
from demitasse.layers.backend.cpu.gemm_microkernel import fill, sum_of
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work

MIN_SIZE = 48  # of an image: smaller ones are not worth a look
MIN_RUN = 8  # rows that a run must be able to lose
MAX_AREA = 0.88  # the part of the area that may at most remain


@kernel
def _differences(state, x, planes, height, width, row_runs, column_runs, rows, columns):
    """rows[plane, i] += pixels in which lines i and i + 1 differ; columns likewise; only within the given runs
    (n, 2).  A line that equals the one above it is skipped when columns are compared."""
    me = enter(state)
    for plane in work(state, me, 0, planes):
        start = plane * height * width
        for first, last in row_runs:
            for i in range(first, last):
                here, count = start + i * width, 0
                for j in range(here, here + width):
                    count += x[np.uint64(j)] != x[np.uint64(j + width)]
                rows[plane, i] = count
        for i in range(height):
            seen = False  # is this line the one above once more?
            for first, last in row_runs:
                seen |= first < i <= last and rows[plane, i - 1] == 0
            if seen:
                continue
            for first, last in column_runs:
                for j in range(first, last):
                    here = np.uint64(start + i * width + j)
                    columns[plane, j] += x[here] != x[here + np.uint64(1)]


class Axis:
    """What is left out along one axis of `size` with `pad`, for a kernel of `taps`.

    runs: disjoint, sorted (first, last) of equal lines.  spare: of how many lines more than a window sees there are to
    be some of each run.  kept: the lines of x that stay; pad: what stays of it; outputs: what of the outputs is there.
    """

    def __init__(self, size, pad, taps, runs, spare=0):
        padded = [(0, pad - 1), *((a + pad, b + pad) for a, b in runs), (size + pad, size + 2 * pad - 1)]
        padded = [(a, b, b - a + 1 - taps - spare) for a, b in padded]
        if spare:
            padded = [(a, b, more // STEP * STEP) for a, b, more in padded]
        padded = [(a, b, more) for a, b, more in padded if more > 0]
        lost = np.zeros(size + 2 * pad, bool)
        for _, b, more in padded:
            lost[b + 1 - more : b + 1] = True
        self.kept = np.flatnonzero(~lost[pad : pad + size])
        self.pad = pad - int(lost[:pad].sum())
        self._whole = size, pad, taps, runs
        self.outputs = Shortening(size + 2 * pad - taps + 1, tuple((a, b - taps + 1, more) for a, b, more in padded))

    def with_spare_lines(self):
        """The same where of each run of outputs there are to be some lines: enough for one more such kernel and a
        window of a pooling."""
        return Axis(*self._whole, spare=self._whole[2] - 1 + ONE_WINDOW - 1)

    @property
    def source(self):
        """For every output line the one of the small image's outputs that it equals."""
        return self.outputs.source

    @property
    def ratio(self):
        """The share of the rows that must be computed."""
        return self.outputs.small_size / self.outputs.size


def _runs(same, least):
    """(first, last) lines of the runs in which line i equals line i + 1 wherever same[i]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], same.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a + 1 >= least]


def find(be, x, pad, taps):
    """(rows, columns) as Axis, or None where not enough is alike.  x (N, C, H, W), stride and dilation 1."""
    if isinstance(x, RepeatedImage):
        return _known(x, pad, taps)
    planes, (height, width) = x.shape[0] * x.shape[1], x.shape[2:]
    if min(height, width) < MIN_SIZE:
        return None
    least, some = taps + MIN_RUN, x[0, :: max(1, x.shape[1] // 4)]
    if max(pad) <= taps and not _may_have_run(some[0], least) and not _may_have_run(some[0].T, least):
        return None
    few_columns, few_rows = some[:, :, ::4], some[:, ::4]  # enough to see that there is nothing, as mostly
    row_runs = _runs((few_columns[:, 1:] == few_columns[:, :-1]).all((0, 2)), least)
    column_runs = _runs((few_rows[:, :, 1:] == few_rows[:, :, :-1]).all((0, 1)), least)
    if row_runs or column_runs:
        rows, columns = np.zeros((planes, height), np.int32), np.zeros((planes, width), np.int32)
        lists = [np.array(runs, np.int64).reshape(-1, 2) for runs in (row_runs, column_runs)]
        be.pool.run(_differences, 1, x.reshape(-1), planes, height, width, *lists, rows, columns)
        row_runs = [r for a, b in row_runs for r in _within(rows, a, b, least)]
        column_runs = [r for a, b in column_runs for r in _within(columns, a, b, least)]
    if not row_runs and not column_runs and max(pad) <= taps:
        return None
    axes = Axis(height, pad[0], taps, row_runs), Axis(width, pad[1], taps, column_runs)
    return axes if axes[0].ratio * axes[1].ratio < MAX_AREA else None


def _known(x, pad, taps):
    """`find` of a RepeatedImage: without a look at its pixels."""
    if min(x.shape[2:]) < MIN_SIZE:
        return None
    runs = [[run[:2] for run in axis.runs if run[1] - run[0] + 1 >= taps + MIN_RUN] for axis in (x.rows, x.columns)]
    axes = [Axis(size, p, taps, own) for size, p, own in zip(x.shape[2:], pad, runs, strict=True)]
    return axes if axes[0].ratio * axes[1].ratio < MAX_AREA else None


def _may_have_run(plane, least):
    """Whether a plane may have a run of so many equal lines: no such run passes between the lines looked at."""
    step = least - 1
    return bool((plane[1::step] == plane[:-1:step]).all(1).any())


def _within(counts, first, last, least):
    """Runs of lines without a difference, between two lines."""
    same = (counts[:, first:last] == 0).all(0)
    return [(first + a, first + b) for a, b in _runs(same, least)]


def small_image(be, x, rows, columns):
    """x without the lines that the runs lose; x itself where none are lost."""
    if isinstance(x, RepeatedImage):
        return x.part(be, rows.kept, columns.kept)
    if len(rows.kept) == x.shape[2] and len(columns.kept) == x.shape[3]:
        return x
    return lines_of_image(be, x, rows.kept, columns.kept)


class FewRows(NamedTuple):
    """A smaller image to convolve in the place of one with repeated rows, and which of the whole's outputs it gives."""

    image: np.ndarray
    pad: tuple[int, int]
    rows: Shortening
    columns: Shortening


def few_rows(be, x, pad, taps, axes, repeats):
    """FewRows of an image, an array or a RepeatedImage; None where it is to be convolved as it is.

    axes: asks for what `find` gives; repeats: whether the outputs are to be a RepeatedImage.
    """
    if isinstance(x, RepeatedImage) and min(x.shape[2:]) >= MIN_SIZE and max(pad) <= taps:
        if min(x.rows.least, x.columns.least) >= taps - 1 + (ONE_WINDOW if repeats else 1):
            return FewRows(x.small, pad, x.rows.windows(pad[0], taps), x.columns.windows(pad[1], taps))
    found = axes()
    if found is None:
        return None
    rows, columns = [axis.with_spare_lines() for axis in found] if repeats else found
    return FewRows(small_image(be, x, rows, columns), (rows.pad, columns.pad), rows.outputs, columns.outputs)


def small_gradients(be, dy, rows, columns):
    """The adjoint of whole_outputs: of every output of the small image the sum of dy over those that equal it."""
    n, k, height, width = dy.shape
    small = be.memory.empty((n, k, rows.source[-1] + 1, columns.source[-1] + 1), np.float32)
    pieces = pieces_of(columns.source)
    be.pool.run(
        _gather, 1, dy.reshape(-1), n * k, height, width, rows.source, pieces, small.reshape(-1), *small.shape[2:]
    )
    return small


@kernel
def _gather(state, dy, planes, height, width, rows, pieces, small, new_height, new_width):
    """Adds line i of each plane to line rows[i] of the small one; of each line pieces as in _lengthen."""
    me = enter(state)
    for plane in work(state, me, 0, planes):
        fill(small, plane * new_height * new_width, new_height * new_width, np.float32(0))
        for i in range(height):
            line, new = (plane * height + i) * width, (plane * new_height + rows[i]) * new_width
            for source, target, length in pieces:
                if length > 0:
                    add_line(dy, line + target, small, new + source, length)
                else:
                    small[new + source] += sum_of(dy, line + target, -length)
