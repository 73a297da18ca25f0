"""Copies between the host and a device, through page-locked memory.  CuPy is given, or asked for here."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np

THREADS = 4  # that fill page-locked memory: one alone brings half of what the bus takes
PART = 1 << 20  # bytes for which another thread pays


class PinnedBuffer:
    """A page-locked buffer that grows and never shrinks, and the event of its last copy."""

    def __init__(self, cupy):
        self.cupy = cupy
        self.bytes = np.empty(0, np.uint8)  # the buffer, which lives as long as this view of it
        self.done = cupy.cuda.Event(disable_timing=True)

    def upload(self, host, stream):
        """A device array of the C-contiguous host array, copied on that stream; the current one waits for it."""
        cupy = self.cupy
        device = cupy.empty(host.shape, host.dtype)
        if host.nbytes == 0:
            return device
        self.done.synchronize()  # the copy before last has left this buffer
        if self.bytes.nbytes < host.nbytes:
            self.bytes = np.frombuffer(cupy.cuda.alloc_pinned_memory(host.nbytes), np.uint8, host.nbytes)
        staged = self.bytes[: host.nbytes].view(host.dtype).reshape(host.shape)
        _copy(host.reshape(-1), staged.reshape(-1))
        current = cupy.cuda.get_current_stream()
        stream.wait_event(current.record())  # the block may still be in use by what ran before it was freed
        device.set(staged, stream=stream)
        self.done.record(stream)
        current.wait_event(self.done)
        return device


class Download:
    """A copy to the host on its way: `ready`, or called, the array."""

    def __init__(self, cupy, x, stream):
        import cupyx

        self.source = x  # its memory is not to be reused before the copy is done
        self.host = cupyx.empty_pinned(x.shape, x.dtype)
        stream.wait_event(cupy.cuda.get_current_stream().record())
        x.get(stream=stream, out=self.host, blocking=False)
        self.done = stream.record()

    @property
    def ready(self) -> bool:
        """Whether the copy is there."""
        return self.done.done

    def __call__(self) -> np.ndarray:
        self.done.synchronize()
        return np.array(self.host)


def _copy(source, target) -> None:
    """target[:] = source, vectors, by several threads where they are long."""
    count = min(THREADS, source.nbytes // PART)
    if count < 2:
        target[...] = source
        return
    bounds = [len(source) * i // count for i in range(count + 1)]
    parts = [slice(*ends) for ends in zip(bounds, bounds[1:], strict=False)]
    list(_threads().map(lambda part: np.copyto(target[part], source[part]), parts))


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "upload")
