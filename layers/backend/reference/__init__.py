"""The meaning of every primitive in plain code, generic over xp (NumPy or CuPy): slow, exact, of any float type.

It is a backend of its own, "generic"; a device's package has modules of the same names for what it accelerates
(dispatch.py).  What a primitive takes and gives is written in contract/.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.backend.contract import Capabilities
from demitasse.layers.backend.dispatch import provides


@provides()
class ReferenceBackend:
    """NumPy arrays of any float type."""

    name = "generic"
    xp = np
    capabilities = Capabilities()

    def __init__(self, dtype: str = "float32"):
        self.dtype = np.dtype(dtype)
        self.seed(None)
