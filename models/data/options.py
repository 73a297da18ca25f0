"""The options in a data layer's param_str, checked like the fields of a prototxt: SchemaFault with the remedy."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from demitasse.proto.errors import SchemaFault, did_you_mean

REQUIRED = object()


@dataclass(frozen=True)
class Option:
    """An option's default (or REQUIRED), what it may hold, and whether a value (other than the default) is that."""

    default: Any
    what: str
    fits: Callable[[Any], bool]


def flag(default: bool) -> Option:
    """True or False."""
    return Option(default, "True or False, without quotes", lambda value: isinstance(value, bool))


def whole(default, least: int, most: int) -> Option:
    """A whole number from `least` to `most`."""
    return Option(default, f"a whole number from {least} to {most}", lambda value: _whole(value, least, most))


def share(default: float) -> Option:
    """A number above 0 and at most 1."""
    return Option(default, "a number above 0 and at most 1", lambda value: _number(value) and 0 < value <= 1)


def largest(default: float, most: float) -> Option:
    """A number from 0 to `most`."""
    return Option(default, f"a number from 0 to {most:g}", lambda value: _number(value) and 0 <= value <= most)


def limits(default, least: float, most: float) -> Option:
    """(low, high), two numbers from `least` to `most`."""

    def fits(value) -> bool:
        pair = _several(value) and len(value) == 2 and all(map(_number, value))
        return pair and least <= value[0] <= value[1] <= most

    return Option(default, f"(low, high), from {least:g} to {most:g}, such as (0.8, 1.25)", fits)


def text(default) -> Option:
    """A string."""
    return Option(default, "a text in quotes", lambda value: isinstance(value, str) and "\0" not in value)


def texts(default) -> Option:
    """A list of strings."""
    return Option(
        default, "a list of texts", lambda value: bool(_several(value)) and all(isinstance(one, str) for one in value)
    )


def colour(default) -> Option:
    """A mean or a colour, (blue, green, red)."""
    return Option(
        default,
        "three numbers, (blue, green, red)",
        lambda value: _several(value) and len(value) == 3 and all(map(_number, value)),
    )


def size(default) -> Option:
    """(height, width) in pixels."""
    return Option(default, f"(height, width), whole numbers from 1 to {LARGEST}", _is_size)


def side_or_size(default) -> Option:
    """(height, width), or the shorter side, in pixels."""
    return Option(
        default,
        f"(height, width), or one number for the shorter side, from 1 to {LARGEST}",
        lambda value: _is_size(value) or _whole(value, 1, LARGEST),
    )


def classes(default) -> Option:
    """How many classes, their names, or a file of those."""
    return Option(
        default,
        "a whole number from 1 to 255, a list of names, or the path of a file with a name a line",
        lambda value: _whole(value, 1, 255) or (isinstance(value, str) and bool(value)) or texts(None).fits(value),
    )


LARGEST = 1 << 15  # rows or columns of an image
_JSON = r":\s*(true|false|null)\b"


def parse_options(param_str: str, known: Mapping[str, Option]) -> dict[str, Any]:
    """The values that the dict literal in param_str gives, completed by the defaults of `known`."""
    try:
        given = ast.literal_eval(param_str)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        json = "; JSON's true, false and null are True, False and None" * bool(re.search(_JSON, param_str))
        raise SchemaFault(
            f"param_str is no dict of Python, with numbers, True, False, None and texts in quotes, such as "
            f"{{'seed': 1}}: {_short(param_str)}{json}"
        ) from None
    if not isinstance(given, dict):
        raise SchemaFault(f"param_str holds a {type(given).__name__}, not a dict: {_short(param_str)}")
    for name, value in given.items():
        if name not in known:
            raise SchemaFault(
                f"param_str has no option {name!r}{did_you_mean(str(name), known)}; "
                f"there are {', '.join(sorted(known))}"
            )
        option = known[name]
        if not option.fits(value) and (value != option.default or type(value) is not type(option.default)):
            raise SchemaFault(f"param_str: {name!r} is {_short(value)}: give {option.what}{_remedy(value, option)}")
    missing = [name for name, option in known.items() if option.default is REQUIRED and name not in given]
    if missing:
        remedy = "; ".join(f"{name!r} is {known[name].what}" for name in missing)
        raise SchemaFault(f"param_str lacks {', '.join(missing)}: {remedy}")
    return {**{name: option.default for name, option in known.items()}, **given}


def _remedy(value, option: Option) -> str:
    """For a value of the wrong type that can only mean one thing: that."""
    meant = None
    if isinstance(value, str):
        word = value.strip().lower()
        meant = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}.get(word)
        if meant is None and word.isdecimal():
            meant = int(word)
    elif isinstance(value, float) and value.is_integer():
        meant = int(value)
    elif isinstance(value, int) and value in (0, 1):
        meant = bool(value)
    return f", such as {meant}" if meant is not None and option.fits(meant) else ""


def _short(value) -> str:
    written = repr(value)
    return written if len(written) <= 200 else f"{written[:200]}..."


def _whole(value, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(value) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _several(value) -> bool:
    return isinstance(value, list | tuple) and bool(value)


def _is_size(value) -> bool:
    return _several(value) and len(value) == 2 and all(_whole(side, 1, LARGEST) for side in value)
