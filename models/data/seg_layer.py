"""The Python layer that all data sets share: options in, batches out.

A data set's class names its options and says how one sample is loaded; prefetch, restart, batches and data-parallel
sharding are those of all data layers (layers/data/feed.py), the order is Samples'.  As in the published layers
`randomize` holds only for splits with 'train' in their name, and the first sample is already loaded when the net is
built, since it gives the shapes.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import caffe
from demitasse.layers.data.feed import Feed, Source, Stream
from demitasse.models.data import options
from demitasse.proto.errors import DataFault, GraphFault
from demitasse.proto.input_paths import located

COMMON = {
    "randomize": options.flag(True),
    "seed": options.whole(None, 0, 2**63),
    "batch_size": options.whole(1, 1, 1 << 16),
}
AHEAD = 2  # batches that are loaded before they are asked for


class Samples(Source):
    """A data set's samples, by their names: one after the other, or drawn with replacement.

    Draws are those of the published data layers, randint(0, n - 1) from a generator that is seeded once; but each
    source owns its generator.
    """

    draws = True

    def __init__(self, names: Sequence[str], load: Callable[[str, np.random.Generator], tuple[np.ndarray, ...]]):
        super().__init__()
        if not names:
            raise DataFault("the data set has no samples")
        self.names, self._load, self.shuffle = names, load, False
        self._draws = self._seed = None  # of the sample `_at`
        self._at = 0

    def find(self, index):
        if not self.shuffle:
            return self.names[index % len(self.names)]
        if self._seed != self.seed or index < self._at:
            self._draws, self._seed, self._at = random.Random(self.seed), self.seed, 0
        for _ in range(self._at, index + 1):
            drawn = self._draws.randint(0, len(self.names) - 1)
        self._at = index + 1
        return self.names[drawn]

    def load(self, record, rng):
        return self._load(record, rng), record


class SegDataLayer(caffe.Layer):
    """Images and labels, one sample or batch a forward pass.

    Options of every data set beside its own: `randomize` (True), `seed` (None: another order each run) and
    `batch_size` (1; images of different sizes are filled up with the mean colour, labels with 255).
    """

    options: dict[str, options.Option] = {}
    paths: tuple[str, ...] = ()  # options that are files or folders: found as the files of a solver are
    top_names: tuple[str, ...] = ("data", "label")  # what load() returns
    about = ""  # what the data set is, where it is to be had and how it is laid out: for a fault
    net_folder = ""  # of the prototxt; set before setup

    def open(self, options: dict[str, Any]) -> list[str]:
        """Take the data set's own options; returns the ids of its samples."""
        raise NotImplementedError

    def load(self, name: str, rng) -> tuple[np.ndarray, ...]:
        """The arrays of sample `name`, one a top, in shapes without the batch axis; any thread calls it.  rng, a
        numpy Generator, is the sample's own: for whatever is random in it."""
        raise NotImplementedError

    def setup(self, bottom, top):
        given = options.parse_options(self.param_str, {**COMMON, **self.options})
        for name in self.paths:
            if isinstance(given[name], str) and given[name]:
                given[name] = located(given[name], self.net_folder)
        self.split = given.get("split", "")
        self.folders = [
            Path(value) for value in given.values() if isinstance(value, str) and value and Path(value).is_dir()
        ]
        try:
            self.indices = self.open(given)
        except DataFault as fault:
            missing = [name for name in given if name.endswith("_dir") and not Path(given[name]).is_dir()]
            if self.about and missing:
                fault.what += f"; {missing[0]}: {self.about} (docs/sources.md, Data sets)"
            raise
        if len(bottom):
            raise GraphFault("a data layer takes no bottoms")
        if len(top) != len(self.top_names):
            raise GraphFault(f"has {len(top)} tops but gives {len(self.top_names)}: {', '.join(self.top_names)}")
        self.random = bool(given["randomize"]) and "train" in Path(self.split).name
        self.delivered: list[str] = []  # ids of the batch of the last forward pass
        source = Samples(self.indices, self.load_sample)
        source.padding = [255.0 if name in ("label", "sem", "geo") else 0.0 for name in self.top_names]
        source.shuffle = self.random
        self.seed = given["seed"]
        source.seed = secrets.randbits(32) if self.seed is None else self.seed
        self.feed = Feed(source, given["batch_size"], AHEAD)

    def looks(self) -> tuple[str, ...]:
        """The options that draw how a sample is cut, as they are written."""
        return ()

    def data_stream(self) -> Stream:
        """How the samples follow each other, for the check that those of two layers belong together."""
        order = ("randomize: True",) if self.random else ()
        return Stream(len(self.indices), order, self.looks() if self.random else (), self.seed)

    def in_order(self) -> None:
        """From now on, from the first: one sample after the other, each once and in its own size, nothing random in it
        (for scoring, a training split too)."""
        self.random = self.feed.source.shuffle = False
        self.feed.shard(0, 1)
        self.feed.batch = 1
        self.feed.restart(0, self.feed.source.seed)

    def mean_of(self, top: str) -> tuple[float, ...]:
        """The BGR mean that was subtracted from a top of images; () where that is not what was done."""
        return tuple(getattr(self, "mean", ()))

    def names_of(self, top: str) -> Sequence[str]:
        """The names of a label top's classes, where they are known."""
        return ()

    def load_sample(self, name: str, rng) -> tuple[np.ndarray, ...]:
        """`load`, with its arrays checked to have one size.  DataFault where they have not."""
        arrays = self.load(name, rng)
        sizes = {array.shape[-2:] for array in arrays}
        if len(sizes) > 1:
            found = ", ".join(
                f"{top} {h}x{w}"
                for top, (h, w) in zip(self.top_names, (array.shape[-2:] for array in arrays), strict=True)
            )
            raise DataFault(f"{name}: image and label differ in size: {found}")
        return arrays

    def data_origin(self) -> Iterable[str]:
        """A line for each sample, by which the data set is told from another."""
        return self.indices

    def reshape(self, bottom, top):
        """Take the sizes of the current batch."""
        for blob, array in zip(top, self.feed.current().arrays, strict=True):
            blob.reshape(*array.shape)

    def forward(self, bottom, top):
        """Give the current batch, and go on to the next."""
        arrays, self.delivered = self.feed.next()
        for blob, array in zip(top, arrays, strict=True):
            blob.data[...] = array

    def backward(self, top, propagate_down, bottom):
        """Nothing: data have no gradient."""
        pass

    def state(self) -> dict:
        """The position in the data, as JSON values."""
        return {"seed": self.feed.source.seed, "count": len(self.indices), "position": self.feed.item}

    def load_state(self, state: dict) -> None:
        """Go to where another layer of the same data set was; DataFault where the set has changed."""
        if state["count"] != len(self.indices):
            raise DataFault(
                f"the run that is resumed had {state['count']} samples, this data set has {len(self.indices)}: "
                "resume with the same data, or start anew from its weights"
            )
        self.feed.restart(state["position"], state["seed"])

    def shard(self, rank: int, size: int) -> None:
        """Take only every size-th batch, from number `rank` on."""
        self.feed.shard(rank, size)

    def close(self) -> None:
        """End the threads that load ahead."""
        if hasattr(self, "feed"):  # it is not where setup has failed
            self.feed.close()
