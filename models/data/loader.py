"""Which sample comes next, and its arrays, loaded ahead in a background thread.

The order is that of the published data layers: sequential, or drawn with replacement by randint(0, n - 1) from a
generator seeded once; but each loader owns its generator.  A place in the order is one number, the position of the
next sample, so that a restart is exact.  Of several data-parallel workers each takes every size-th batch: together
they see what one worker alone would see.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from demitasse.proto.errors import DataFault

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
        self._load, self._pool = load, None
        self.rank, self.size = 0, 1
        self._queue: deque[tuple[list[tuple[int, int]], Future]] = deque()
        self._seek(0)

    @property
    def indices(self) -> list[int]:
        """The data set's indices in the current batch."""
        return [index for _, index in self._queue[0][0]]

    def current(self) -> Sample:
        """The current batch: each array with the batch as its first axis.  The same until advance()."""
        return self._queue[0][1].result()

    def advance(self) -> None:
        self._queue.popleft()
        self._fill()

    def shard(self, rank: int, size: int) -> None:
        """From the start, take only the batches rank, rank + size, ..."""
        self.rank, self.size = rank, size
        self._seek(0)

    def state(self) -> dict:
        return {"seed": self.seed, "count": self.count, "position": self._queue[0][0][0][0]}

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
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _seek(self, position: int) -> None:
        """Continue with the batch of this worker after `position` samples in the whole order."""
        self._random = random.Random(self.seed)
        self._next = 0
        self._skip(position + self.rank * self.batch)
        for _, future in self._queue:
            future.cancel()
        self._queue.clear()
        self._fill()

    def _fill(self) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="loader")
        while len(self._queue) <= self.ahead:
            tickets = [self._draw() for _ in range(self.batch)]
            self._skip((self.size - 1) * self.batch)
            self._queue.append((tickets, self._pool.submit(self._load_batch, tickets)))

    def _draw(self) -> tuple[int, int]:
        """(position in the order, index of the sample)."""
        position = self._next
        self._next += 1
        return position, self._random.randint(0, self.count - 1) if self.shuffle else position % self.count

    def _skip(self, samples: int) -> None:
        for _ in range(samples):
            self._draw()

    def _load_batch(self, tickets: list[tuple[int, int]]) -> Sample:
        samples = [self._load(index, random.Random(f"{self.seed} {position}")) for position, index in tickets]
        return tuple(
            stack(arrays, self.padding[i] if i < len(self.padding) else 0)
            for i, arrays in enumerate(zip(*samples, strict=True))
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
