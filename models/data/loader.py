"""Which sample comes next, and its arrays, loaded ahead in a background thread.

The order is that of the published data layers: sequential, or drawn with replacement by randint(0, n - 1) from a
generator seeded once; but each loader owns its generator.  A place in the order is one number, the position of the
next sample, so that a restart is exact.  Of several data-parallel workers each takes every size-th batch: together
they see what one worker alone would see.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from demitasse.layers.data.prefetch import Prefetcher
from demitasse.proto.errors import DataFault

Ticket = tuple[int, int]
Sample = tuple[np.ndarray, ...]


class Loader:
    """Batches of samples.  load(index, rng) gives one sample's arrays; rng is the sample's own random.Random."""

    def __init__(
        self,
        load: Callable[[int, random.Random], Sample],
        count: int,
        *,
        shuffle: bool,
        seed: int | None = None,
        batch: int = 1,
        padding: tuple[float, ...] = (),
        ahead: int = 2,
    ):
        if count < 1:
            raise DataFault("the data set has no samples")
        if batch < 1:
            raise DataFault(f"batch_size is {batch}: it must be at least 1")
        self.count, self.shuffle, self.batch, self.padding, self.ahead = count, shuffle, batch, padding, ahead
        self.seed = random.SystemRandom().getrandbits(32) if seed is None else seed
        self._load = load
        self.rank, self.size = 0, 1
        self._batches: Prefetcher | None = None
        self._seek(0)

    @property
    def indices(self) -> list[int]:
        """The data set's indices in the current batch."""
        return [index for _, index in self._batches.ticket]

    def current(self) -> Sample:
        """The current batch: each array with the batch as its first axis.  The same until advance()."""
        return self._batches.current()

    def advance(self) -> None:
        self._batches.advance()

    def shard(self, rank: int, size: int) -> None:
        """From the start, take only the batches rank, rank + size, ..."""
        self.rank, self.size = rank, size
        self._seek(0)

    def state(self) -> dict:
        return {"seed": self.seed, "count": self.count, "position": self._batches.ticket[0][0]}

    def load_state(self, state: dict) -> None:
        """Go to where another loader of the same data set was; raises DataFault where the set has changed."""
        if state["count"] != self.count:
            raise DataFault(
                f"the run that is resumed had {state['count']} samples, this data set has {self.count}: "
                "resume with the same data, or start anew from its weights"
            )
        self.seed = state["seed"]
        self._seek(state["position"] - self.rank * self.batch)

    def close(self) -> None:
        if self._batches:
            self._batches.close()

    def _seek(self, position: int) -> None:
        """Continue with the batch of this worker after `position` samples in the whole order."""
        self.close()
        order = _order(self.seed, self.count, self.shuffle)
        first = position + self.rank * self.batch
        tickets = _batches_of(order, first, self.batch, self.size)
        self._batches = Prefetcher(partial(_load_batch, self._load, self.seed, self.padding), tickets, self.ahead)


def _order(seed: int, count: int, shuffle: bool) -> Iterator[Ticket]:
    """(position in the order, index of the sample)."""
    generator = random.Random(seed)
    for position in itertools.count():
        yield position, generator.randint(0, count - 1) if shuffle else position % count


def _batches_of(order: Iterator[Ticket], first: int, batch: int, size: int) -> Iterator[list[Ticket]]:
    """From the position `first` on, every size-th batch."""
    order = itertools.islice(order, first, None)
    while True:
        yield list(itertools.islice(order, batch))
        next(itertools.islice(order, (size - 1) * batch, (size - 1) * batch), None)


def _load_batch(load, seed: int, padding: tuple[float, ...], tickets: list[Ticket]) -> Sample:
    samples = [load(index, random.Random(f"{seed} {position}")) for position, index in tickets]
    return tuple(
        stack(arrays, padding[i] if i < len(padding) else 0) for i, arrays in enumerate(zip(*samples, strict=True))
    )


def stack(arrays, padding: float = 0) -> np.ndarray:
    """Arrays with a new first axis; smaller ones are filled up to the largest at their right and lower ends."""
    if all(array.shape == arrays[0].shape for array in arrays):
        return np.stack(arrays)
    shape = tuple(map(max, zip(*(array.shape for array in arrays), strict=True)))
    batch = np.full((len(arrays), *shape), padding, arrays[0].dtype)
    for i, array in enumerate(arrays):
        batch[(i, *map(slice, array.shape))] = array
    return batch
