"""What layers, nets and solvers may ask of a device: the primitives with their shapes and errors, and its capabilities.

All arrays are C-contiguous, of the backend's float type (`dtype`) where no other is named; images are
(N, C, spatial...).  No primitive writes its inputs, except where its docstring says "adds to".  The first of `shape`
axes may be 0 throughout.  How each is computed is in reference/; which of them a device computes otherwise is in the
modules of the same names in its package (dispatch.py has the rule).

memory.py     arrays, random numbers, products of matrices, recordings
windows.py    convolution, pooling, regions: what looks at a window of an image at a time
elements.py   elementwise, normalization, losses, updates
boxes.py      which of many boxes to keep
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from demitasse.layers.backend.contract.boxes import Suppression
from demitasse.layers.backend.contract.elements import Elementwise, Loss, Norm, Update
from demitasse.layers.backend.contract.memory import Arrays, Matmul, Random, Recording
from demitasse.layers.backend.contract.windows import Convolution, Pooling, Regions


class Capabilities(NamedTuple):
    """What a device does differently from plain NumPy; who needs to know asks for these, never for its name."""

    host_memory: bool = True  # arrays lie in the machine's own memory, which nets must fit into
    writes_into_out: bool = False  # convolutions and concatenate use `out`
    composes: bool = False  # layers that follow each other may be computed as one: faster than each, and not exactly so
    nhwc: bool = False  # primitives take and give channels-last tensors (to_nchw) among themselves
    repeats: bool = False  # conv_forward and max_pool take and, where asked to, give images without repeated lines
    records: bool = False  # `record` gives something
    recorded_bytes: float = math.inf  # that a recording may take
    records_training: bool = False  # and what layers have saved in it may be read by the host


class Backend(
    Arrays,
    Random,
    Matmul,
    Convolution,
    Pooling,
    Regions,
    Suppression,
    Elementwise,
    Norm,
    Loss,
    Update,
    Recording,
    Protocol,
):
    """Arrays and primitives on a device."""

    name: str
    xp: Any  # numpy, or a module that computes as it does
    dtype: np.dtype  # of floats
    rng: np.random.Generator  # on the host
    capabilities: Capabilities
