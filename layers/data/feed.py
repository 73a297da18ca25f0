"""Batches of samples, made by a thread while the net computes; positions and randomness that restart exactly.

A stream counts its samples from 0 and has no end; sample n is a pure function of (seed, n): which item of the
data set it is, how it is cropped, whether it is mirrored.  So a position is one number, a restart gives the same
bits however far the thread had read ahead, and rank r of a parallel run takes every size-th sample.  Caffe's data
layers (FeedLayer) and data sets that are Python layers are fed by this alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from demitasse.layers.data.prefetch import THREADS, Prefetcher
from demitasse.layers.data.transform import Transformer
from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault


class Batch(NamedTuple):
    """What a net is fed at once."""

    arrays: list[np.ndarray]  # float32, one per top; the samples lie along the first axis
    names: list[str]  # of the samples


class Stream(NamedTuple):
    """How the samples of a data layer follow each other, and which settings draw something at random.

    count: samples until it begins again; None where that is not known.  order: of what draws which sample is next
    ("shuffle: true").  looks: of what draws how it is cut ("crop_size: 224", "mirror: true").  seed: where it was
    given, of what draws the order: two layers of one seed and count draw alike.
    """

    count: int | None
    order: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()
    seed: int | None = None


class Source:
    """Where samples come from.  A subclass says how to `find` a record, in order, and how to `load` it."""

    count: int | None = None  # samples until it begins again, where that is known
    shuffles = ""  # the setting that draws the order of samples, where one does
    transform: Transformer | None = None
    costly = True  # whether loading pays several threads: decoding does, copying does not
    draws = False  # whether `load` needs an rng
    padding: Sequence[float] | None = None  # per top, what fills up samples that are smaller than others of their batch
    shapes_vary = False  # from batch to batch: a sample does not tell those of its batch
    seed = 0
    folder = ""  # where files lie that are not in the working directory

    def __init__(self):
        self._pool, self._process = None, 0
        self._shuffled = None, None  # (seed, epoch) and its order

    def require_files(self) -> None:
        """MissingFile where a file is not there that will be needed: asked before anything runs."""

    def find(self, index: int):
        """The record of sample `index`: called in order, by one thread at a time."""
        raise NotImplementedError

    def data_origin(self) -> Iterable[str]:
        """A line for each sample, by which one data set is told from another; none where that is not known."""
        return ()

    def load(self, record, rng) -> tuple[list[np.ndarray], str]:
        """The sample's arrays, one per top in its shape without a batch axis, and its name for errors; any thread."""
        raise NotImplementedError

    def batch(self, indices) -> Batch:
        """The samples of these indices."""
        records = self.records(indices)
        rngs = [self.rng(index) if self.draws else None for index in indices]
        if self.costly and len(records) > 1:
            samples = list(self._threads().map(self.load, records, rngs))
        else:
            samples = [self.load(*pair) for pair in zip(records, rngs, strict=True)]
        return Batch(self.stack(samples), [name for _, name in samples])

    def stack(self, samples) -> list[np.ndarray]:
        """One array per top from the samples' arrays, of the shape (samples, ...)."""
        return stack(samples, self.uneven) if self.padding is None else stack_padded(samples, self.padding)

    def uneven(self, shape: tuple[int, ...], first: tuple[int, ...]) -> str:
        """What to do where samples of these two shapes meet in a batch."""
        return "resize or crop to one size, or use batch_size 1"

    def _threads(self) -> ThreadPoolExecutor:
        """What decodes; a process that was forked off has none of it."""
        if self._pool is None or self._process != os.getpid():
            self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix=THREADS[1])
            self._process = os.getpid()
        return self._pool

    def records(self, indices) -> list:
        """The records of a batch."""
        return [self.find(index) for index in indices]

    def rng(self, index: int) -> np.random.Generator:
        """What sample `index` draws from."""
        return np.random.default_rng((self.seed, index))

    def order(self, epoch: int, count: int) -> np.ndarray:
        """The shuffled order of an epoch's items: the shape is (count,)."""
        return np.random.default_rng((self.seed, epoch, count)).permutation(count)

    def shuffled(self, index: int) -> int:
        """Which of `count` items sample `index` is, where they come in another order in every epoch."""
        epoch, position = divmod(index, self.count)
        if self._shuffled[0] != (self.seed, epoch):
            self._shuffled = (self.seed, epoch), self.order(epoch, self.count)
        return int(self._shuffled[1][position])

    def close(self) -> None:
        """Release files."""
        if self._pool is not None and self._process == os.getpid():
            self._pool.shutdown(wait=False)
        self._pool = None


def stack(samples, uneven=None) -> list[np.ndarray]:
    """One array per top from the samples' arrays; ShapeFault where two differ in shape, with the remedy that
    uneven(shape, first shape) gives."""
    first, first_name = samples[0]
    tops = [np.empty((len(samples), *array.shape), np.float32) for array in first]
    for row, (arrays, name) in enumerate(samples):
        for top, array in zip(tops, arrays, strict=True):
            if array.shape != top.shape[1:]:
                raise ShapeFault(
                    f"{name} has shape {array.shape} but its batch began with {top.shape[1:]} of "
                    f"{first_name}; {(uneven or Source().uneven)(array.shape, top.shape[1:])}"
                )
            top[row] = array
    return tops


def stack_padded(samples, padding: Sequence[float]) -> list[np.ndarray]:
    """One array per top, (samples, ...), from the samples' arrays, of which smaller ones are filled up at their right
    and lower ends."""
    tops = []
    for arrays, fill in zip(zip(*(arrays for arrays, _ in samples), strict=True), padding, strict=True):
        largest = tuple(map(max, zip(*(array.shape for array in arrays), strict=True)))
        tops.append(np.full((len(arrays), *largest), fill, np.float32))
        for row, array in zip(tops[-1], arrays, strict=True):
            row[tuple(map(slice, array.shape))] = array
    return tops


class Feed:
    """The batches of a source from a position on, `ahead` of them made before they are asked for.

    It owns the source.  `close` ends the thread and closes the source.  Where the last reference is lost without it,
    the thread ends after the batch at hand, and the source is freed with it.
    """

    def __init__(self, source: Source, batch: int, ahead: int, first: int = 0):
        self.source, self.batch, self.ahead = source, batch, ahead
        self.item = first  # consumed so far, by all ranks together
        self.rank, self.size = 0, 1
        self._batches: Prefetcher | None = None  # from the first `next` on

    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the next batch.  Before the first batch is asked for, mostly one sample tells, and no thread
        runs."""
        if self._batches is None:
            first, count = self.item + self.rank, self.batch if self.source.shapes_vary else 1
            arrays = self.source.batch(range(first, first + count * self.size, self.size)).arrays
            return [array.shape if self.source.shapes_vary else (self.batch, *array.shape[1:]) for array in arrays]
        return [array.shape for array in self.current().arrays]

    def current(self) -> Batch:
        """The batch that `next` will give; what went wrong in the thread is raised here."""
        if self._batches is None:
            tickets = _strides(self.item + self.rank, self.batch, self.size)
            self._batches = Prefetcher(self.source.batch, tickets, self.ahead)
        return self._batches.current()

    def next(self) -> Batch:
        """The current batch; the one after it becomes current."""
        batch = self.current()
        self.item += self.batch * self.size
        self._batches.advance()
        return batch

    def restart(self, item: int, seed: int) -> None:
        """Go on from another position and seed."""
        self.stop()
        self.item, self.source.seed = item, seed

    def shard(self, rank: int, size: int) -> None:
        """Take every size-th sample from here on, the rank-th of each: all ranks with the same state together
        read every sample once."""
        self.stop()
        self.rank, self.size = rank, size

    def stop(self) -> None:
        """End the thread and wait for it; the next batch starts another."""
        if self._batches is not None:
            self._batches.close()
            self._batches = None

    def close(self) -> None:
        """End the thread that loads ahead."""
        self.stop()
        self.source.close()


def _strides(first: int, batch: int, size: int):
    """The samples of every batch, of which there is no last one."""
    while True:
        yield range(first, first + batch * size, size)
        first += batch * size


class FeedLayer(Layer):
    """A layer whose tops are the batches of a source; a subclass opens it in `open`."""

    bottoms = (0, 0)
    fields = ("transform_param", "data_param")  # the latter for its `prefetch`
    known: list[tuple[int, ...]] | None = None  # the tops' shapes, in a net that is only sized

    def open(self) -> tuple[Source, int, int]:
        """(source, batch size, rand_skip) as the fields say."""
        raise NotImplementedError

    def told_shapes(self) -> list[tuple[int, ...]] | None:
        """The tops' shapes as the fields tell them, for a net that is sized without its data being there; None where
        the data has to."""
        return None

    def setup(self, shapes):
        self.known = self.told_shapes() if self.be is None else None
        if self.known:
            self.known = self.known[: len(self.spec.top)]
            return []
        source, batch, rand_skip = self.open()
        if batch < 1:
            source.close()
            raise SchemaFault("batch_size is not given or 0; say how many samples make a batch")
        source.folder = self.folder
        if self.be is not None:
            source.require_files()
            source.seed = int(self.be.rng.integers(2**31))
        skip = int(np.random.default_rng(source.seed).integers(rand_skip)) if rand_skip else 0
        self.rand_skip = rand_skip
        self.feed = Feed(source, batch, self.spec.data_param.prefetch, skip)
        return []

    def advice(self, shapes):
        """Fields that moved to transform_param in 2014: Caffe, and so this layer, reads them in `layers { }` only."""
        lines = []
        for name in ("data_param", "image_data_param", "window_data_param"):
            old = {"scale", "mean_file", "crop_size", "mirror"} - ({"scale"} if name == "window_data_param" else set())
            for field, _ in getattr(self.spec, name).ListFields():
                if field.name in old:
                    lines.append(f"{name}.{field.name} has no effect; write it in transform_param")
        return lines

    def stream(self):
        if self.known:
            return None
        source = self.feed.source
        skips = f"rand_skip: {self.rand_skip}" if self.rand_skip else ""
        looks = source.transform.drawn if source.transform else ()
        return Stream(source.count, tuple(filter(None, (source.shuffles, skips))), looks)

    def data_origin(self):
        return self.feed.source.data_origin()

    def infer(self, shapes):
        return self.known or self.feed.shapes()

    def forward(self, xs):
        return [self.be.asarray(array) for array in self.feed.next().arrays]

    def shard(self, rank: int, size: int) -> None:
        """Take only every size-th batch, from number `rank` on."""
        self.feed.shard(rank, size)

    def state(self) -> dict:
        """{"seed", "item"}: the position of what was consumed, not of what was read ahead."""
        return {"seed": self.feed.source.seed, "item": self.feed.item}

    def load_state(self, state: dict) -> None:
        """Go on at the record where `state` was."""
        self.feed.restart(int(state["item"]), int(state["seed"]))

    def close(self) -> None:
        if hasattr(self, "feed"):
            self.feed.close()
