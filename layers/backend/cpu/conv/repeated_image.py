"""An image of whose runs of equal rows and columns some are left out: what a convolution makes of one with repeated
rows (see repeated_rows), as the next convolution or max pooling takes it.

What is left out of a run is a multiple of a pooling window's step, and enough of it is there for one window, so that
pooled, too, an image is the small one's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from demitasse.layers.backend.cpu.conv.plan import result
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.simd_ops import copy
from demitasse.layers.backend.cpu.threads.fork_join import enter
from demitasse.layers.backend.cpu.threads.work_stealing import work

STEP = 2  # of pooling windows; lines are left out in such numbers
ONE_WINDOW = 3  # equal lines, among which is a whole window of two, wherever these begin


class Shortening(NamedTuple):
    """Which lines along an axis are there.  size: lines of the whole; runs: (first, last, lost) of equal ones each, of
    which the last `lost` are left out."""

    size: int
    runs: tuple[tuple[int, int, int], ...]

    @property
    def small_size(self) -> int:
        """How many lines are there."""
        return self.size - sum(lost for _, _, lost in self.runs)

    @property
    def least(self) -> int:
        """Of the run of which the fewest lines are there, how many these are."""
        return min((last - first + 1 - lost for first, last, lost in self.runs), default=self.size)

    @property
    def source(self) -> np.ndarray:
        """(size,) of the small image's lines: which of them each line of the whole is."""
        lines, shift = np.arange(self.size), np.zeros(self.size, np.int64)
        for _, last, lost in self.runs:
            lines[last - lost + 1 : last + 1] = last - lost
            shift[last + 1 :] += lost
        return lines - shift[lines]

    def windows(self, pad: int, taps: int) -> Shortening:
        """Those of the outputs of a convolution of stride 1."""
        runs = [(first + pad, last + pad - taps + 1, lost) for first, last, lost in self.runs]
        return Shortening(self.size + 2 * pad - taps + 1, tuple(runs))

    def pooled(self, out: int) -> Shortening:
        """Those of so many outputs of a pooling by windows of STEP lines, STEP apart."""
        runs = [(-(-first // STEP), (last + 1) // STEP - 1, lost // STEP) for first, last, lost in self.runs]
        return Shortening(out, tuple(runs))


class RepeatedImage:
    """An image (N, C, H, W) of which the lines of `small` are there.  shape, ndim, dtype, size: the whole's."""

    ndim = 4

    def __init__(self, small: np.ndarray, rows: Shortening, columns: Shortening):
        self.small, self.rows, self.columns = small, rows, columns
        self.shape, self.dtype = (*small.shape[:2], rows.size, columns.size), small.dtype

    @property
    def size(self) -> int:
        """Pixels of the whole."""
        return self.small.shape[0] * self.small.shape[1] * self.rows.size * self.columns.size

    def whole(self, be, out=None) -> np.ndarray:
        """(N, C, H, W): all of it; in `out`, a flat array, where that is given."""
        return self._lines(be, self.rows.source, self.columns.source, out)

    def part(self, be, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """These rows and columns of the whole, in ascending order, as an array of shape (N, C, rows, columns)."""
        return self._lines(be, self.rows.source[rows], self.columns.source[columns])

    def _lines(self, be, rows, columns, out=None):
        return lines_of_image(be, self.small, rows, columns, out)


def lines_of_image(be, x: np.ndarray, rows: np.ndarray, columns: np.ndarray, out=None) -> np.ndarray:
    """(N, C, len(rows), len(columns)): these rows and columns of x (N, C, H, W), in ascending order, some of them more
    than once; in `out`, a flat array, where that is given."""
    n, c, height, width = x.shape
    y = result(be, (n, c, len(rows), len(columns)), out)
    be.pool.run(
        _copy_lines, 1, x.reshape(-1), n * c, height, width, rows, pieces_of(columns), y.reshape(-1), y.shape[3]
    )
    return y


@kernel
def _copy_lines(state, x, planes, height, width, rows, pieces, y, new_width):
    """y = line rows[i] of x as line i; of each line pieces (from, to, length), or one pixel (from, to, -times)."""
    me = enter(state)
    for plane in work(state, me, 0, planes):
        for i in range(rows.size):
            line, new = (plane * height + rows[i]) * width, (plane * rows.size + i) * new_width
            if i and rows[i] == rows[i - 1]:
                copy(y, new - new_width, y, new, new_width)
                continue
            for source, target, length in pieces:
                if length > 0:
                    copy(x, line + source, y, new + target, length)
                else:
                    value = x[line + source]
                    for j in range(new + target, new + target - length):
                        y[j] = value


def pieces_of(numbers):
    """(from, to, length) of the stretches of an ascending list; a number repeated becomes (from, to, -times)."""
    pieces, i, n = [], 0, len(numbers)
    while i < n:
        j = i + 1
        if j < n and numbers[j] == numbers[i]:
            while j < n and numbers[j] == numbers[i]:
                j += 1
            pieces.append((int(numbers[i]), i, i - j))
        else:
            while j < n and numbers[j] == numbers[j - 1] + 1 and not (j + 1 < n and numbers[j + 1] == numbers[j]):
                j += 1
            pieces.append((int(numbers[i]), i, j - i))
        i = j
    return np.array(pieces, np.int64).reshape(-1, 3)
