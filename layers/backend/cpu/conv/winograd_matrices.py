"""The matrices of the tile transforms (Toom-Cook; in two dimensions, Winograd): y = A^T [(G g) * (B^T d)].

F(m, r): m outputs of a correlation with r taps from m + r - 1 products instead of m r.  A polynomial product is
found from its values at m + r - 2 points and at infinity; A^T evaluates, G evaluates and divides, B^T interpolates
(transposed).  More points cost fewer products and more digits: F(4,3) loses about one, F(6,3) and F(2,7) two.
"""

from __future__ import annotations

import functools
from fractions import Fraction

POINTS = [Fraction(p) for p in ("0", "1", "-1", "2", "-2", "1/2", "-1/2")]


def _times(p, root):
    """The polynomial p (coefficients, lowest first) times (x - root)."""
    return [(p[i - 1] if i else 0) - root * (p[i] if i < len(p) else 0) for i in range(len(p) + 1)]


@functools.cache
def matrices(m: int, r: int) -> dict[str, list[list[Fraction]]]:
    """AT (m, a), A (a, m), G (a, r), BT (a, a) for a = m + r - 1 <= 8, in exact fractions."""
    a = m + r - 1
    points = POINTS[: a - 1]
    at = [[p**j for p in points] + [Fraction(int(j == m - 1))] for j in range(m)]
    g, bt = [], []
    for i, p in enumerate(points):
        others = [q for k, q in enumerate(points) if k != i]
        norm, poly = Fraction(1), [Fraction(1)]
        for q in others:
            norm *= p - q
            poly = _times(poly, q)
        g.append([p**k / norm for k in range(r)])
        bt.append(poly + [Fraction(0)])
    g.append([Fraction(int(k == r - 1)) for k in range(r)])
    poly = [Fraction(1)]
    for q in points:
        poly = _times(poly, q)
    bt.append(poly)
    return {"AT": at, "A": [list(column) for column in zip(*at, strict=True)], "G": g, "BT": bt}


def combine(matrix, xs):
    """matrix times the vector xs of vectors.  Rows (or columns) of the points p and -p differ in the sign of the
    odd entries only: their even and odd parts are computed once."""
    rows, cols = len(matrix), len(matrix[0])

    def linear(row, which):
        total = None
        for j in which:
            if row[j] == 0:
                continue
            if total is None:
                total = xs[j] if row[j] == 1 else xs[j] * row[j]
            elif row[j] == 1:
                total = total + xs[j]
            elif row[j] == -1:
                total = total - xs[j]
            else:
                total = total + xs[j] * row[j]
        return total

    paired = [i for i in range(rows - 1) if all(matrix[i + 1][j] == (-1) ** j * matrix[i][j] for j in range(cols))]
    if paired:
        out = []
        for i in range(rows):
            if i in paired:
                even, odd = linear(matrix[i], range(0, cols, 2)), linear(matrix[i], range(1, cols, 2))
                out += [even + odd, even - odd]
            elif i - 1 not in paired:
                out.append(linear(matrix[i], range(cols)))
        return out
    xs, matrix = list(xs), [list(row) for row in matrix]
    for j in range(cols - 1):
        if any(row[j] for row in matrix) and all(row[j + 1] == (-1) ** i * row[j] for i, row in enumerate(matrix)):
            xs[j], xs[j + 1] = xs[j] + xs[j + 1], xs[j] - xs[j + 1]
            for i, row in enumerate(matrix):
                row[j], row[j + 1] = (0, row[j]) if i % 2 else (row[j], 0)
    return [linear(row, range(cols)) for row in matrix]
