"""Where facade nets compute and how they begin: set_mode_cpu, set_mode_gpu, set_device, set_random_seed.

pycaffe has one mode for the whole process, so the facade has one too: the backend that every net built from here on
is given.  The engine itself knows no mode.

On the CPU convolutions use tile transforms, as the engine's own nets do: two to three times as fast, and on real nets
within 1e-5 of the largest number of a blob.  set_exact(), or DEMITASSE_EXACT=1 in the environment, has them computed
directly, for Caffe's numbers to the last rounding.
"""

from __future__ import annotations

import functools
import os

from demitasse.layers.backend import make_backend
from demitasse.proto.errors import SolverFault
from demitasse.proto.warning import warn


class _Mode:
    gpu = False
    exact = os.environ.get("DEMITASSE_EXACT", "0") not in ("", "0")
    device = 0
    seed: int | None = None  # of set_random_seed


_mode = _Mode()


def set_mode_cpu(exact: bool | None = None) -> None:
    """Let the nets to come compute on the CPU (the default); exact: as set_exact, None: as that was said last."""
    _mode.gpu = False
    if exact is not None:
        set_exact(exact)


def set_exact(exact: bool = True) -> None:
    """Let convolutions of the nets to come be computed directly on the CPU, or again by tile transforms (False)."""
    _mode.exact = bool(exact)


def set_mode_gpu() -> None:
    """Let the nets to come compute on the GPU; where there is none, on the CPU with a warning."""
    _mode.gpu = True


def set_device(device_id: int) -> None:
    """Choose the GPU for set_mode_gpu, by its number from 0; nets that are there already stay where they are."""
    _mode.device = _whole("set_device", device_id)


def _whole(function: str, number) -> int:
    try:
        return int(number)
    except (TypeError, ValueError):
        raise TypeError(f"{function} takes a whole number, not {number!r}") from None


def set_random_seed(seed: int) -> None:
    """Start the random numbers of fillers and dropout at this seed; of solvers to come without random_seed, too."""
    _mode.seed = _whole("set_random_seed", seed)
    backend().seed(_mode.seed)


def random_seed() -> int | None:
    """What set_random_seed was given last."""
    return _mode.seed


def backend():
    """The backend of the present mode, one for all nets of a device."""
    return _gpu(_mode.device) if _mode.gpu else _cpu(_mode.exact)


@functools.cache
def _cpu(exact: bool):
    return make_backend("cpu", exact=exact)


@functools.cache
def _gpu(device: int):
    try:
        return make_backend(f"gpu:{device}")
    except SolverFault as fault:
        warn(f"set_mode_gpu: {fault}; computing on the CPU")
        return _cpu(_mode.exact)
