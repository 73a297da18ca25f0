"""How messages and tables write counts, shapes and locations."""

from __future__ import annotations

from collections.abc import Iterable

from demitasse.proto.errors import Where


def shape_text(shape: Iterable[object]) -> str:
    """1x3x500x500; "one number" for a shape without axes."""
    return "x".join(str(size) for size in shape) or "one number"


def count_text(number: int, what: str) -> str:
    """1 bottom, 2 bottoms."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def times_text(number: int) -> str:
    """once, twice, 3 times."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def at(where: Where | None) -> str:
    """ " at net.prototxt:3:1", or nothing where the location is unknown."""
    return f" at {where}" if where and str(where) else ""


def some(names: Iterable[str], most: int = 6) -> str:
    """The first few names: a, b, c and 4 more."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
