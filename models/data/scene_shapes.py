"""What the objects of drawn scenes look like: each kind's parts, around (0, 0) and about 1 large."""

from __future__ import annotations

import math
import random

Point = tuple[float, float]
Part = tuple[list[Point], str]  # a polygon around (0, 0), and "body", "second", "dark" or "light"


def _disc(x: float, y: float, rx: float, ry: float | None = None, role: str = "body") -> Part:
    ry = rx if ry is None else ry
    turn = [2 * math.pi * k / 24 for k in range(24)]
    return [(x + rx * math.cos(t), y + ry * math.sin(t)) for t in turn], role


def _box(x0: float, y0: float, x1: float, y1: float, role: str = "body") -> Part:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)], role


def _ball(rng: random.Random) -> list[Part]:
    return [_disc(0, 0, 1), _disc(-0.35, -0.35, 0.22, role="light")]


def _house(rng: random.Random) -> list[Part]:
    door = rng.uniform(-0.5, 0.3)
    return [
        _box(-0.8, -0.25, 0.8, 1),
        ([(-1, -0.2), (rng.uniform(-0.3, 0.3), -1), (1, -0.2)], "second"),
        _box(door, 0.4, door + 0.3, 1, "dark"),
        _box(-0.6, 0.0, -0.25, 0.3, "light"),
        _box(0.25, 0.0, 0.6, 0.3, "light"),
    ]


def _tree(rng: random.Random) -> list[Part]:
    trunk = _box(-0.13, 0.1, 0.13, 1, "dark")
    if rng.random() < 0.5:
        return [trunk] + [
            ([(-w, y + 0.5), (0, y - 0.35), (w, y + 0.5)], "body") for w, y in ((0.7, 0.1), (0.55, -0.25), (0.4, -0.6))
        ]
    return [trunk] + [
        _disc(rng.uniform(-0.35, 0.35), rng.uniform(-0.6, -0.1), rng.uniform(0.35, 0.5)) for _ in range(5)
    ]


def _car(rng: random.Random) -> list[Part]:
    return [
        _box(-1, -0.14, 1, 0.4),
        ([(-0.6, -0.1), (-0.35, -0.5), (0.4, -0.5), (0.7, -0.1)], "second"),
        _box(-0.3, -0.42, 0.3, -0.14, "light"),
        _disc(-0.55, 0.42, 0.24, role="dark"),
        _disc(0.55, 0.42, 0.24, role="dark"),
    ]


def _boat(rng: random.Random) -> list[Part]:
    return [
        ([(-1, 0.35), (1, 0.35), (0.6, 0.85), (-0.65, 0.85)], "body"),
        _box(-0.05, -1, 0.05, 0.35, "dark"),
        ([(0.1, -0.95), (0.85, 0.2), (0.1, 0.2)], "light"),
        ([(-0.1, -0.6), (-0.6, 0.2), (-0.1, 0.2)], "second"),
    ]


def _fish(rng: random.Random) -> list[Part]:
    return [
        ([(0.5, 0), (1, -0.45), (1, 0.45)], "second"),
        _disc(-0.15, 0, 0.8, 0.42),
        ([(-0.2, -0.35), (0.2, -0.7), (0.3, -0.3)], "second"),
        _disc(-0.62, -0.08, 0.09, role="light"),
        _disc(-0.62, -0.08, 0.05, role="dark"),
    ]


def _flower(rng: random.Random) -> list[Part]:
    petals = rng.randint(5, 8)
    around = [2 * math.pi * k / petals for k in range(petals)]
    return (
        [_box(-0.06, 0, 0.06, 1, "dark")]
        + [_disc(0.42 * math.cos(t), -0.4 + 0.42 * math.sin(t), 0.27) for t in around]
        + [_disc(0, -0.4, 0.22, role="second")]
    )


def _star(rng: random.Random) -> list[Part]:
    points, inner = rng.choice((5, 6)), rng.uniform(0.38, 0.5)
    turn = [math.pi * k / points - math.pi / 2 for k in range(2 * points)]
    return [
        (
            [
                ((inner if k % 2 else 1) * math.cos(t), (inner if k % 2 else 1) * math.sin(t))
                for k, t in enumerate(turn)
            ],
            "body",
        )
    ]


# Classes 1 to 8: how each is built, and the hue (0 red, 1/3 green, 2/3 blue) that most of its kind are near.
KINDS = (
    (_ball, 0.0),
    (_house, 0.07),
    (_tree, 0.33),
    (_car, 0.62),
    (_boat, 0.75),
    (_fish, 0.52),
    (_flower, 0.88),
    (_star, 0.16),
)
