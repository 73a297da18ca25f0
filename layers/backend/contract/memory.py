"""Arrays, random numbers, products of matrices, and recordings of what is launched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from demitasse.layers.backend.reducer import Reducer

Array = Any  # numpy.ndarray, cupy.ndarray, or a device's tensor that to_nchw takes
Shape = Sequence[int]


class Arrays(Protocol):
    """Memory and transfers."""

    def asarray(self, host: Any, dtype: Any = None) -> Array:
        """A device array in the shape of a host array or a list; dtype None: the backend's float type.

        It may share memory with `host`: whoever writes into `host` again hands in a copy.
        """

    def to_host(self, x: Array) -> np.ndarray:
        """The NumPy array (N, C, spatial...) of a device array; it may share memory."""

    def to_host_async(self, x: Array) -> Callable[[], np.ndarray]:
        """A function that gives to_host (N, C, spatial...) of what x is now.  Work begun between the two need not be
        waited for."""

    def to_nchw(self, x: Array) -> Array:
        """x as an array (N, C, spatial...), where it is a channels-last tensor of the device, or an image without
        repeated lines; else x itself."""

    def empty(self, shape: Shape, dtype: Any = None) -> Array:
        """A new array of that shape, not initialized; dtype None: the backend's float type."""

    def zeros(self, shape: Shape, dtype: Any = None) -> Array:
        """A new array of that shape, of zeros; dtype None: the backend's float type."""

    def concatenate(self, xs: Sequence[Array], axis: int, out: Array | None = None) -> Array:
        """The arrays, whose shapes differ in `axis` at most, one after the other along it.

        out: a flat array of the result's size, in which the result may lie, and some of the arrays already, each where
        it belongs.
        """

    def interleave(self, x: Array, rows: int) -> Array:
        """(N, C, ...): x (N, C, ...) with its channels, seen as a matrix of so many rows, in the order of that matrix
        transposed."""

    def permute(self, x: Array, order: Sequence[int]) -> Array:
        """(x.shape[order[0]], x.shape[order[1]], ...): x with its axes, all of them, in that order."""

    def part(self, x: Array, axis: int, start: int, stop: int) -> Array:
        """x from `start` to `stop` (not included) along `axis`, in the shape that leaves; it may share x's memory."""

    def synchronize(self) -> None:
        """Wait until all that has been begun is done; errors that arise late on a device are raised here."""

    def describe(self) -> list[str]:
        """Lines for a user, such as "Threads: 4": what there is to compute on."""

    def reducer(self, rank: int, size: int, share: Callable[[bytes], bytes]) -> Reducer | None:
        """Sums over `size` processes, of which this one is number `rank`; None where the host is to do it.

        share: gives every process the first one's bytes.  SolverFault where the library for it is missing.
        """


class Random(Protocol):
    """Random numbers."""

    def seed(self, n: int | None) -> None:
        """Start the random numbers at seed n; None: anywhere."""

    def random_state(self) -> dict:
        """The state of every random number to come, as JSON values: `set_random_state` goes on with it to the bit."""

    def set_random_state(self, state: dict) -> None:
        """Go on with the random numbers of a `random_state` of a backend of this kind."""

    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> Array:
        """An array of that shape, of the backend's float type, uniform in [low, high)."""

    def bernoulli(self, shape: Shape, p: float) -> Array:
        """An array of that shape, bool, True with probability p."""


class Matmul(Protocol):
    """Products of matrices."""

    def matmul(
        self, a: Array, b: Array, out: Array | None = None, add: bool = False, ta: bool = False, tb: bool = False
    ) -> Array:
        """a @ b (M, N) of matrices (M, K) and (K, N); a is transposed first with `ta`, b with `tb`.

        Where `out` (M, N) is given the product is written into it, or with `add` added to it, and `out` returned.
        """

    def inner_product(self, x: Array, w: Array, b: Array | None, relu: float | None = None) -> Array:
        """x @ w.T + b (M, N) of x (M, K), weights w (N, K) and b (N,); relu: the slope of a ReLU to apply."""

    def products(self) -> int:
        """Begin some milliseconds of products, as dense as the device can make them: how many operations (flop) that
        is, a multiplication and an addition counted as two.  Beside the time it takes, this tells the device's peak."""


class NotRecordable(RuntimeError):
    """What is being recorded has done what cannot be: it has read numbers to the host, or brought some from there."""


class Recorded(Protocol):
    """What a function has launched, to be launched again as a whole.  It knows addresses, not arrays."""

    stale: bool  # what the function has chosen by the numbers of then is no longer the best choice

    def nbytes(self) -> int:
        """Bytes of memory that it, and what was recorded after it, have taken."""

    def holds(self) -> bool:
        """Whether the function would have launched the same for the numbers of the last launch, as far as what was made
        for a backward pass tells."""

    def launch(self) -> None:
        """Do it all once more, after what has been launched before: read the same arrays, write the same arrays, and
        draw the random numbers that come next."""


class Recording(Protocol):
    """Launching as one piece what was launched in many."""

    def has_room_to_record(self) -> bool:
        """Whether so much of the device's memory is free that nobody will miss what a recording keeps."""

    def record(
        self, run: Callable[[], None], after: Recorded | None = None, give_way: Callable[[], None] | None = None
    ) -> Recorded | None:
        """What run() launches, which is not done yet; None on a device that cannot record.

        Arrays made meanwhile get their values when it is launched, and keep their addresses.  after: another recording
        that is always launched before this one; what was made in that one may be read in this one, which may write
        over it then.  give_way: a method to be called where memory runs short, which forgets the recording.
        NotRecordable, or what else run() raises: then nothing has been launched, and no random number drawn.
        """

    def recordable(self, x: Array) -> Array:
        """A copy of x for run() to read, which gets other numbers before each launch, so that what the host computes
        with those of now is refused where it would stay.  MemoryError where that is too much to be worth it."""
