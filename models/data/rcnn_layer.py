"""What the Python layers of Faster R-CNN's and R-FCN's nets share: their options and their random numbers.

The nets name them by the modules of their authors' programs (rpn.proposal_layer, roi_data_layer.layer, ...).  Ours, in
folders of these names, are written from the papers and from the blobs that the nets wire; they are used where no
module of that name is found on the user's path.
"""

from __future__ import annotations

import ast
import math
import random
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

import caffe
from demitasse.models.data import options
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.warning import warn

PAIR = re.compile(r"""\s*(?P<quote>['"]?)(?P<name>\w+)(?P=quote)\s*:\s*(?P<value>.*?)\s*$""")
WORDS = {"true": True, "yes": True, "false": False, "no": False, "null": None, "~": None}


def numbers(default) -> options.Option:
    """A list of numbers above 0."""
    return options.Option(
        default,
        "a list of numbers above 0",
        lambda value: isinstance(value, list | tuple) and bool(value) and all(_is_number(n) and n > 0 for n in value),
    )


def number(default, least: float = float("-inf"), most: float = float("inf")) -> options.Option:
    """A number between two others, these included."""
    return options.Option(
        default, f"a number from {least:g} to {most:g}", lambda value: _is_number(value) and least <= value <= most
    )


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_param_str(text: str) -> dict[str, Any]:
    """The options in a param_str: a Python dict, or lines `name: value` of YAML whose values are literals; a published
    line may go on with a comma and more of them.

    Nothing in it is run: of YAML's tags only !!python/tuple is known, and stands for its list.
    SchemaFault for anything else.
    """
    text = re.sub(r"!!python/tuple\s*", "", text).strip()
    if not text or text.startswith("{"):
        found = _literal(text or "{}")
        if not isinstance(found, dict):
            raise SchemaFault(f"param_str holds no options by name: {text!r}")
        return found
    given = {}
    for line in filter(str.strip, text.splitlines()):
        pair = PAIR.match(line)
        if not pair:
            raise SchemaFault(f"param_str: {line.strip()!r} is no line `name: value`, such as 'feat_stride': 16")
        value = pair["value"]
        try:  # of several on a line, as in a dict without its braces
            given.update(_literal(f"{{{line.strip()}}}"))
        except (SchemaFault, TypeError, ValueError):
            given[pair["name"]] = WORDS[value.lower()] if value.lower() in WORDS else _literal(value)
    return given


def _literal(text: str):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise SchemaFault(f"param_str: {text[:200]!r} is no literal: give numbers, lists and quoted texts") from None


class RCNNLayer(caffe.Layer):
    """Options from param_str; `seed` (None: other numbers each run) for what a layer draws at random."""

    options: Mapping[str, options.Option] = {}
    without_effect: tuple[str, ...] = ()  # options of the published nets that say nothing here
    net_folder = ""  # of the prototxt; set before setup

    def setup(self, bottom, top):
        known = {**self.options, "seed": options.whole(None, 0, 2**63)}
        given = {name: value for name, value in read_param_str(self.param_str).items()}
        for name in [name for name in given if name not in known]:
            del given[name]
            if name not in self.without_effect:
                warn(
                    f"param_str has '{name}', which {type(self).__name__} does not know: it counts nothing (known are "
                    f"{', '.join(sorted(known))})"
                )
        self.given = options.parse_options(repr(given), known)
        seed = self.given["seed"]
        self.rng = np.random.default_rng(random.SystemRandom().getrandbits(32) if seed is None else seed)

    def setting(self, name: str, train, test):
        """An option, or what it is in this phase by default."""
        value = self.given[name]
        return value if value is not None else train if self.phase == caffe.TRAIN else test

    def reshape(self, bottom, top):
        """Nothing: tops get their sizes in setup, and anew in forward."""

    def backward(self, top, propagate_down, bottom):
        """Nothing: no gradient passes."""

    def state(self) -> dict:
        """What an exact restart needs, as JSON values."""
        return {"random": self.rng.bit_generator.state}

    def load_state(self, state: dict) -> None:
        """Go on from there."""
        self.rng.bit_generator.state = state["random"]


def fill(blob, values) -> None:
    """Give a top these values, and their size."""
    blob.reshape(*values.shape)
    blob.data[...] = values


def require_bottoms(bottom, names: tuple[str, ...], top, tops: tuple[int, int]) -> None:
    """ShapeFault unless a layer has these bottoms, or more, and from tops[0] to tops[1] tops."""
    if len(bottom) < len(names):
        raise ShapeFault(f"{len(bottom)} bottoms, but it takes {len(names)}: {', '.join(names)}")
    if not tops[0] <= len(top) <= tops[1]:
        raise ShapeFault(f"{len(top)} tops, but it gives {tops[0]} to {tops[1]}")


def one_image(blob) -> None:
    """ShapeFault where a bottom holds a batch of other than one image."""
    if blob.shape[0] != 1:
        raise ShapeFault(f"a batch of {blob.shape[0]} images: this layer takes one image at a time")


def rows(blob) -> np.ndarray:
    """A bottom (R, ...) as rows (R, numbers), also where it has none or axes of 1."""
    return blob.data.reshape(blob.shape[0], math.prod(blob.shape[1:]))
