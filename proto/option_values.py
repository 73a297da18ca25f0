"""Values of a command's options: each checked, and where it is written as elsewhere, with what to write instead."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re

from demitasse.proto.value_hints import normalized, number

LARGEST_SIDE = 65535  # as in a JPEG


def whole_number(text: str) -> int:
    """An option's value: a whole number from 1."""
    return integer(text, least=1)


def integer(text: str, least: int = -(2**63)) -> int:
    """An option's value: a whole number."""
    if re.fullmatch("-?[0-9]{1,18}", text, re.ASCII) and int(text) >= least:
        return int(text)
    raise refused(text, "a whole number" + (f" from {least}" if least > -(2**63) else ""), number(text, whole=True))


def from_zero(text: str) -> int:
    """An option's value: a whole number from 0."""
    return integer(text, least=0)


def digits(text: str) -> int | None:
    """The number that a text of up to nine digits is; None for any other text."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text, re.ASCII) else None


def number_or_name(text: str) -> int | str:
    """An option's value: a number of up to nine digits, else a text as it stands."""
    count = digits(text)
    return text if count is None else count


def finite(text: str) -> float:
    """An option's value: a number, neither NaN nor infinite."""
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)):
            return value
    raise refused(text, "a finite number", number(text, whole=False))


def names(text: str) -> list[str]:
    """An option's value: one name or several joined by commas."""
    given = [name.strip() for name in text.split(",")]
    if not all(given):
        raise refused(text, "a name, or several joined by commas")
    return given


def refused(text: str, expected: str, meant: tuple[str, str] = ("", "")) -> argparse.ArgumentTypeError:
    """What to raise for an option's value; meant: (why, what to write in its place), as far as it can be told."""
    why, instead = meant
    if text.lower() in ("none", "null", "default", "auto"):
        why, instead = "leave the option out for its default", ""
    if instead == text:
        instead = ""
    advice = ": ".join(filter(None, (why, f"write {instead}" if instead else "")))
    return argparse.ArgumentTypeError(f"'{text}' is not {expected}{'; ' * bool(advice)}{advice}")


def thread_count(text: str) -> int:
    """An option's value: as many threads as a machine can use."""
    number, cores = whole_number(text), os.cpu_count() or 1
    if number > max(64, 4 * cores):
        raise argparse.ArgumentTypeError(f"{number} threads are too many: there are {cores} cores")
    return number


def size(text: str) -> tuple[int, int]:
    """(height, width)."""
    if not re.fullmatch("[1-9][0-9]*[xX][1-9][0-9]*", text, re.ASCII):
        sides = re.fullmatch(r"[(\[]?([1-9][0-9]*)(?: ?[xX*,; \u00d7] ?([1-9][0-9]*))?[)\]]?", normalized(text))
        meant = f"{sides[1]}x{sides[2] or sides[1]}" if sides else ""
        raise refused(text, "height x width, such as 360x480", ("", meant))
    height, width = map(int, text.lower().split("x"))
    if max(height, width) > LARGEST_SIDE:
        raise argparse.ArgumentTypeError(f"'{text}': no side of a picture can be above {LARGEST_SIDE} pixels")
    return height, width
