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
