"""Several processes that train one net: `mpirun -n N python -m solver train SOLVER`.

Each rank runs its own images through its own copy of the net; the gradients are summed over the ranks while
backward is still running, and every rank makes the same update.  N ranks equal one process with iter_size N:
rank r takes samples r, r + N, ... of the data.  The sums are the same numbers added in another order, so weights
agree to rounding, not to the bit.  The first rank alone logs, tests and writes snapshots.

Data layers divide their samples by `shard(rank, size)`; so does the class of a Python layer if it has one.
Random numbers (dropout, the global generators of `random` and NumPy) start from seed + rank.
BatchNorm's running averages are those of the first rank.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from demitasse.layers.backend.contract import Backend
from demitasse.layers.backend.contract.memory import Array
from demitasse.netdef.net import Net
from demitasse.proto.errors import SolverFault

BUCKET_BYTES = 32 << 20  # gradients that are summed in one go: large enough to pay, small enough to overlap
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
LOCAL_SIZES = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "MV2_COMM_WORLD_LOCAL_SIZE")
LOCAL_RANKS = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "MV2_COMM_WORLD_LOCAL_RANK")


def launched_ranks() -> Alone:
    """The ranks that a launcher has started (its environment variables tell), or Alone."""
    size = _environment(SIZES, 1)
    return Ranks(size) if size > 1 else Alone()


def _environment(names, default: int) -> int:
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), default)


class Alone:
    """One process: nothing to agree on."""

    rank, size = 0, 1

    def device(self, device: str) -> str:
        """The device of this rank."""
        return device

    def threads(self) -> int | None:
        """How many threads each process on this machine should use; None: all."""
        return None

    def common_seed(self, seed: int | None) -> int | None:
        """A seed that all ranks have."""
        return seed

    def join(self, net: Net, backend: Backend, say: Callable[[str], None]) -> None:
        """Divide the data, and make the random numbers of each rank its own.  `say` takes warnings."""

    def reseed(self, backend: Backend) -> None:
        """Start this rank's random numbers anew, different from those of other ranks."""

    def broadcast(self, arrays: Iterable[Array]) -> None:
        """Make the device arrays what they are on the first rank."""

    def start(self) -> None:
        """The next backward is the last before the update: sum the gradients as they come."""

    def finish(self) -> None:
        """Wait until all gradients are sums over the ranks."""

    def agree(self, loss: float, request: int) -> tuple[float, int]:
        """(mean loss, strongest request) of all ranks."""
        return loss, request

    def gather(self, text: str) -> list[str]:
        """The texts of all ranks, on the first."""
        return [text]

    def abort(self, code: int) -> None:
        """End all ranks; returns where there is only one."""


class Ranks(Alone):
    """The processes of an MPI launch."""

    def __init__(self, expected: int):
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise SolverFault(
                f"{expected} processes were launched, but mpi4py does not work ({error}): pip install mpi4py mpich"
            ) from None
        self.mpi, self.comm = MPI, MPI.COMM_WORLD
        self.rank, self.size = self.comm.rank, self.comm.size
        if self.size != expected:
            raise SolverFault(
                f"{expected} processes were launched, but MPI sees {self.size}: use the mpirun of the "
                "MPI that mpi4py uses (python -m mpi4py --mpi-lib-version)"
            )
        self.seed = 0  # until common_seed agrees on one
        self.active = False

    def device(self, device: str) -> str:
        return f"gpu:{_environment(LOCAL_RANKS, self.rank)}" if device == "gpu" else device

    def threads(self) -> int | None:
        return max(1, (os.cpu_count() or 1) // _environment(LOCAL_SIZES, self.size))

    def common_seed(self, seed: int | None) -> int | None:
        own = np.array([random.SystemRandom().randrange(2**31) if seed is None else seed], np.int64)
        self.comm.Bcast(own)
        self.seed = int(own[0])
        return self.seed

    def join(self, net: Net, backend: Backend, say: Callable[[str], None]) -> None:
        for step in net.plan.steps:
            # A Python layer passes on what its class offers.
            owner: Any = step.layer if hasattr(step.layer, "shard") else getattr(step.layer, "user", None)
            if hasattr(owner, "shard"):
                owner.shard(self.rank, self.size)
            elif not step.bottoms and step.cls.runs_user_code:
                say(
                    f"layer {step.label} has no shard(rank, size): every rank reads the same samples, unless it draws "
                    "them from the global random generators"
                )
        self.reseed(backend)
        self.reducer = _reducer(self, backend)
        self.buckets = Buckets(net, backend)
        net.after_backward.append(self._after_backward)

    def reseed(self, backend: Backend) -> None:
        if self.rank:
            backend.seed(self.seed + self.rank)
            random.seed(self.seed + self.rank)
            np.random.seed((self.seed + self.rank) % 2**32)

    def broadcast(self, arrays: Iterable[Array]) -> None:
        for array in arrays:
            self.reducer.broadcast(array)

    def start(self) -> None:
        self.active = True

    def _after_backward(self, index: int) -> None:
        if self.active:
            for bucket in self.buckets.ready_at.get(index, ()):
                self.reducer.start(bucket)

    def finish(self) -> None:
        self.active = False
        self.reducer.finish()

    def agree(self, loss: float, request: int) -> tuple[float, int]:
        everyone = np.empty((self.size, 2))
        self.comm.Allgather(np.array([loss, request], float), everyone)
        return float(everyone[:, 0].mean()), int(everyone[:, 1].max())

    def gather(self, text: str) -> list[str]:
        own = np.frombuffer(text.encode(), np.uint8)
        lengths = np.empty(self.size, np.int64)
        self.comm.Allgather(np.array([own.size], np.int64), lengths)
        everyone = np.empty(int(lengths.sum()) if self.rank == 0 else 0, np.uint8)
        self.comm.Gatherv(own, (everyone, lengths) if self.rank == 0 else None)
        if self.rank:
            return []
        return [part.tobytes().decode() for part in np.split(everyone, np.cumsum(lengths)[:-1])]

    def abort(self, code: int) -> None:
        self.comm.Abort(code)


class Buckets:
    """All gradients of a net in one array, in the order in which backward completes them.

    Each param's grad becomes a view of it, so that summing a stretch of the array sums the gradients in place.
    ready_at: {layer index: [stretches that are complete when that layer's backward is done]}.
    """

    def __init__(self, net, backend):
        users: dict = {}  # owner -> [(layer index, param)] of all that share its gradient
        for step in net.plan.steps:
            for p in step.layer.params:
                if p.grad is not None:
                    users.setdefault(net.plan.shared.get(p, p), []).append((step.index, p))
        groups = sorted(users.values(), key=lambda group: -group[0][0])  # by the last layer to add to it
        self.arena = backend.zeros((sum(group[0][1].count for group in groups),))
        self.ready_at: dict[int, list] = {}
        begin = end = 0
        for number, group in enumerate(groups):
            index, first = group[0]
            for _, p in group:
                p.grad = self.arena[end : end + first.count].reshape(p.shape)
            end += first.count
            if 4 * (end - begin) >= BUCKET_BYTES or number == len(groups) - 1:
                self.ready_at.setdefault(index, []).append(self.arena[begin:end])
                begin = end


class HostReducer:
    """Sums host arrays in place over the ranks, through MPI."""

    def __init__(self, ranks: Ranks):
        self.mpi, self.comm = ranks.mpi, ranks.comm
        self.requests: list = []

    def broadcast(self, array: Array) -> None:
        """Make the array what it is on the first rank."""
        self.comm.Bcast(array)

    def start(self, array: Array) -> None:
        """Begin to sum the array over the ranks."""
        self.requests.append(self.comm.Iallreduce(self.mpi.IN_PLACE, array))
        self.mpi.Request.Testall(self.requests)  # MPI moves on only while it is called

    def finish(self) -> None:
        """Wait for all sums that were begun."""
        self.mpi.Request.Waitall(self.requests)
        self.requests.clear()


def _reducer(ranks: Ranks, backend):
    def share(own: bytes) -> bytes:
        """The first rank's bytes."""
        buffer = np.frombuffer(own, np.uint8).copy()
        ranks.comm.Bcast(buffer)
        return buffer.tobytes()

    return backend.reducer(ranks.rank, ranks.size, share) or HostReducer(ranks)
