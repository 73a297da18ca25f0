"""The Python layer that all data sets share: options in, batches out.

A data set's class names its options and says how one sample is loaded; order, prefetch, restart, batches and
data-parallel sharding are the loader's (loader.py).  As in the published layers `randomize` holds only for splits
with 'train' in their name, and the first sample is already loaded when the net is built, since it gives the shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import caffe
from demitasse.models.data import options
from demitasse.models.data.loader import Loader
from demitasse.proto.errors import DataFault, GraphFault
from demitasse.solver.path_lookup import located

COMMON = {
    "randomize": options.flag(True),
    "seed": options.whole(None, 0, 2**63),
    "batch_size": options.whole(1, 1, 1 << 16),
}


class SegDataLayer(caffe.Layer):
    """Images and labels, one sample or batch a forward pass.

    Options of every data set beside its own: `randomize` (True), `seed` (None: another order each run) and
    `batch_size` (1; images of different sizes are filled up with the mean colour, labels with 255).
    """

    options: dict[str, options.Option] = {}
    paths: tuple[str, ...] = ()  # options that are files or folders: found as the files of a solver are
    top_names: tuple[str, ...] = ("data", "label")  # what load() returns
    about = ""  # what the data set is, where it is to be had and how it is laid out: told where its folder is missing
    net_folder = ""  # of the prototxt; set before setup

    def open(self, options: dict[str, Any]) -> list[str]:
        """Take the data set's own options; returns the ids of its samples."""
        raise NotImplementedError

    def load(self, name: str, rng) -> tuple[np.ndarray, ...]:
        """The arrays of sample `name`, one a top, without the batch axis; rng for whatever is random in it."""
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
                fault.what += f"; {missing[0]}: {self.about} (docs/fcn.md, Where the data go)"
            raise
        if len(bottom):
            raise GraphFault("a data layer takes no bottoms")
        if len(top) != len(self.top_names):
            raise GraphFault(f"has {len(top)} tops but gives {len(self.top_names)}: {', '.join(self.top_names)}")
        self.random = bool(given["randomize"]) and "train" in Path(self.split).name
        labels = [255.0 if name in ("label", "sem", "geo") else 0.0 for name in self.top_names]
        self.delivered: list[str] = []  # ids of the batch of the last forward pass
        self.loader = Loader(
            lambda index, rng: self.load_sample(self.indices[index], rng),
            len(self.indices),
            shuffle=self.random,
            seed=given["seed"],
            batch=given["batch_size"],
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
        if hasattr(self, "loader"):  # it is not where setup has failed
            self.loader.close()
