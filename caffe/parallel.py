"""Several solvers at once: pycaffe's process-wide counters, and NCCL.

Here processes are started by MPI (`mpirun -n 4 python -m solver train solver.prototxt`, see solver/distributed.py),
so NCCL objects of a script's own have nothing to hold on to; the counters are kept for scripts that ask.
"""

from __future__ import annotations

from demitasse.proto.errors import SolverFault


class _Ranks:
    count, rank, multiprocess = 1, 0, False


def solver_count() -> int:
    """What set_solver_count was given; 1."""
    return _Ranks.count


def set_solver_count(count: int) -> None:
    """Kept, and without effect: mpirun starts the processes."""
    _Ranks.count = int(count)


def solver_rank() -> int:
    """What set_solver_rank was given; 0."""
    return _Ranks.rank


def set_solver_rank(rank: int) -> None:
    """Kept, and without effect."""
    _Ranks.rank = int(rank)


def set_multiprocess(multiprocess: bool) -> None:
    """Kept, and without effect."""
    _Ranks.multiprocess = bool(multiprocess)


def has_nccl() -> bool:
    """Whether caffe.NCCL can be used: no; mpirun starts the processes that train together."""
    return False


class NCCL:
    """pycaffe's way to train on several GPUs."""

    def __init__(self, solver, uid):
        raise SolverFault(_INSTEAD)

    @staticmethod
    def new_uid() -> str:
        """Refused, with what to type in its place."""
        raise SolverFault(_INSTEAD)


_INSTEAD = (
    "caffe.NCCL is not available: several GPUs train together by `mpirun -n 4 python -m solver train "
    "solver.prototxt --device gpu`"
)
