"""Whether a Deconvolution's weights are diagonal, as FCN's for upsampling are: then each channel is computed alone."""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.backend.contract.memory import NotRecordable
from demitasse.layers.backend.gpu.launch import launch


class DiagonalCache:
    """What the host last heard of each array of weights: whether it is diagonal.

    Only the first question about an array waits for the device.  A wrong answer costs time, not truth: the kernels
    look themselves.
    """

    def __init__(self):
        self._known: dict[int, bool] = {}  # by address
        self._coming: dict = {}  # by address: the answer on its way
        self._fresh = None, None  # (address, flag) of the newest question

    def look_up(self, be, w) -> bool:
        """What was last known of w; and ask again."""
        address, flag = w.data.ptr, _off_diagonal(be, w)
        self._fresh = address, flag
        if be.recording is not None:
            return self._recorded(be.recording, w)
        coming = self._coming.pop(address, None) or be.runtime.download_async(flag)
        if address not in self._known or coming.ready:
            self._known[address] = not bool(coming())
        else:
            self._coming[address] = coming
        return self._known[address]

    def _recorded(self, recording, w) -> bool:
        """What was last known of w, which the recording will ask about again."""
        if w.data.ptr not in self._known:
            raise NotRecordable("whether weights are diagonal is not known yet")
        recording.diagonals.append((w, self._known[w.data.ptr]))
        return self._known[w.data.ptr]

    def forget_flag(self) -> None:
        """The newest question was one of a recording, whose answer is nobody else's."""
        self._fresh = None, None

    def flag(self, be, w):
        """The flag on the device that `look_up` has just asked w for, or a new one."""
        (address, flag), self._fresh = self._fresh, (None, None)
        return flag if address == w.data.ptr else _off_diagonal(be, w)


def _off_diagonal(be, w):
    """A flag on the device: whether w has elements other than 0 off the diagonal w[i, i]."""
    flag = be.zeros((), np.int32)
    launch(
        be,
        "convolution",
        "off_diagonal",
        w.size,
        w,
        flag,
        np.int64(w.size),
        np.int32(w.shape[1]),
        np.int32(math.prod(w.shape[2:])),
    )
    return flag
