"""The Python layer that all data sets share: options in, batches out.

A data set's class names its options and says how one sample is loaded; order, prefetch, restart, batches and
data-parallel sharding are the loader's (loader.py).  As in the published layers `randomize` holds only for splits
with 'train' in their name, and the first sample is already loaded when the net is built, since it gives the shapes.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import caffe
from demitasse.models.data.loader import Loader
from demitasse.proto.errors import DataFault, GraphFault, SchemaFault, did_you_mean

REQUIRED = object()
COMMON = {"randomize": True, "seed": None, "batch_size": 1}


def parse_options(param_str: str, known: dict[str, Any]) -> dict[str, Any]:
    """The dict literal in param_str, completed by the defaults in `known`."""
    try:
        given = ast.literal_eval(param_str)
    except (ValueError, SyntaxError) as error:
        raise SchemaFault(f"param_str is not a Python dict literal ({error}): {param_str!r}") from error
    if not isinstance(given, dict):
        raise SchemaFault(f"param_str holds a {type(given).__name__}, not a dict: {param_str!r}")
    for name in given:
        if name not in known:
            raise SchemaFault(
                f"param_str has no option {name!r}{did_you_mean(str(name), known)}; "
                f"there are {', '.join(sorted(known))}"
            )
    missing = [name for name, default in known.items() if default is REQUIRED and name not in given]
    if missing:
        raise SchemaFault(f"param_str lacks {', '.join(missing)}")
    return {**known, **given}


class SegDataLayer(caffe.Layer):
    """Images and labels, one sample or batch a forward pass.

    Options of every data set beside its own: `randomize` (True), `seed` (None: another order each run) and
    `batch_size` (1; images of different sizes are filled up with the mean colour, labels with 255).
    """

    options: dict[str, Any] = {}  # name -> default, or REQUIRED
    top_names: tuple[str, ...] = ("data", "label")  # what load() returns

    def open(self, options: dict[str, Any]) -> list[str]:
        """Take the data set's own options; returns the ids of its samples."""
        raise NotImplementedError

    def load(self, name: str, rng) -> tuple[np.ndarray, ...]:
        """The arrays of sample `name`, one a top, without the batch axis; rng for whatever is random in it."""
        raise NotImplementedError

    def setup(self, bottom, top):
        options = parse_options(self.param_str, {**COMMON, **self.options})
        self.split = options.get("split", "")
        self.folders = [
            Path(value) for value in options.values() if isinstance(value, str) and value and Path(value).is_dir()
        ]
        self.indices = self.open(options)
        if len(bottom):
            raise GraphFault("a data layer takes no bottoms")
        if len(top) != len(self.top_names):
            raise GraphFault(f"has {len(top)} tops but gives {len(self.top_names)}: {', '.join(self.top_names)}")
        self.random = bool(options["randomize"]) and "train" in Path(self.split).name
        labels = [255.0 if name in ("label", "sem", "geo") else 0.0 for name in self.top_names]
        self.delivered: list[str] = []  # ids of the batch of the last forward pass
        self.loader = Loader(
            lambda index, rng: self.load_sample(self.indices[index], rng),
            len(self.indices),
            shuffle=self.random,
            seed=options["seed"],
            batch=options["batch_size"],
            padding=tuple(labels),
        )

    def in_order(self) -> None:
        """From now on, from the first: one sample after the other, each once and in its own size, nothing random in it
        (for scoring, a training split too)."""
        self.random = self.loader.shuffle = False
        self.loader.batch = 1
        self.loader.shard(0, 1)

    def mean_of(self, top: str) -> tuple[float, ...]:
        """The BGR mean that was subtracted from a top of images; () where that is not what was done."""
        return tuple(getattr(self, "mean", ()))

    def names_of(self, top: str) -> Sequence[str]:
        """The names of a label top's classes, where they are known."""
        return ()

    def load_sample(self, name: str, rng) -> tuple[np.ndarray, ...]:
        arrays = self.load(name, rng)
        sizes = {array.shape[-2:] for array in arrays}
        if len(sizes) > 1:
            found = ", ".join(
                f"{top} {h}x{w}"
                for top, (h, w) in zip(self.top_names, (array.shape[-2:] for array in arrays), strict=True)
            )
            raise DataFault(f"{name}: image and label differ in size: {found}")
        return arrays

    def reshape(self, bottom, top):
        for blob, array in zip(top, self.loader.current(), strict=True):
            blob.reshape(*array.shape)

    def forward(self, bottom, top):
        for blob, array in zip(top, self.loader.current(), strict=True):
            blob.data[...] = array
        self.delivered = [self.indices[i] for i in self.loader.indices]
        self.loader.advance()

    def backward(self, top, propagate_down, bottom):
        pass

    def state(self) -> dict:
        return self.loader.state()

    def load_state(self, state: dict) -> None:
        self.loader.load_state(state)

    def shard(self, rank: int, size: int) -> None:
        self.loader.shard(rank, size)

    def close(self) -> None:
        self.loader.close()
