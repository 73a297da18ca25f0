"""One pool of threads for all CPU kernels: when they sleep, when they wake, and what memory they work with.

There is no BLAS and no OpenMP here, so nothing competes for the cores, and a forked process simply starts a pool of its
own.  How threads come into a kernel is cpu_mailbox's, how they share out its jobs cpu_work's.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import sys
import threading

import numpy as np

from demitasse.layers.backend.cpu_mailbox import ASLEEP, CALL, WORDS, close, serve
from demitasse.layers.backend.cpu_work import MAILBOX, THREADS, state_words

LOOKS = 20_000  # into the mailbox before a thread falls asleep: about half a millisecond


class _Bell:
    """Wakes threads that sleep in compiled code, where no GIL is needed to wake up.  Each ring wakes one, or waits."""

    def __init__(self):
        self._counts = hasattr(os, "eventfd")
        if self._counts:
            self.file = self._write = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_SEMAPHORE)
        else:
            self.file, self._write = os.pipe()

    def ring(self, times: int) -> None:
        os.write(self._write, times.to_bytes(8, sys.byteorder) if self._counts else bytes(8 * times))


# The number of the core that the caller is on, where the system tells it.
_core = getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None


class _Team:
    """The threads of one process beside the one that calls, and what they work with.

    busy: held during a call.  address: of the mailbox; 0 where there are no helpers.
    """

    def __init__(self, helpers):
        self.process, self.busy, self.address = os.getpid(), threading.Lock(), 0
        self._scratch, self._state = np.empty((helpers + 1, 0), np.float32), np.empty(0, np.int64)
        if helpers:
            self._start(helpers)

    def _start(self, helpers):
        self._mailbox, self._bell = np.zeros(WORDS, np.int64), _Bell()
        self.address = self._mailbox.ctypes.data
        self._mailbox[CALL] = -1
        serve(self.address, self._bell.file, LOOKS)  # compiled before the threads need it
        self._mailbox[CALL] = 0
        self._threads = [
            threading.Thread(
                target=serve, args=(self.address, self._bell.file, LOOKS), name=f"demitasse-{i + 1}", daemon=True
            )
            for i in range(helpers)
        ]
        for thread in self._threads:
            thread.start()
        self._cores = os.sched_getaffinity(0) if _core else {0}
        self._away_from = -1
        atexit.register(self._stop)

    def state(self, phases):
        """The state of a call: the same memory in every call."""
        words = state_words(phases, len(self._scratch))
        if self._state.size < words:
            self._state = np.empty(2 * words, np.int64)
        return _begin(self._state[:words], len(self._scratch), self.address)

    def scratch(self, floats):
        """(threads, `floats` or more): the same memory in every call, so that each row stays in its core's cache."""
        if self._scratch.shape[1] < floats:
            self._scratch = _scratch(len(self._scratch), floats)
        return self._scratch

    def wake(self):
        """Have those who sleep look into the mailbox.  One who falls asleep at this moment misses a call: no harm."""
        self._keep_away()
        asleep = int(self._mailbox[ASLEEP])
        if asleep:
            self._bell.ring(asleep)

    def _keep_away(self):
        """Have the others work on other cores than the caller's.  The system often puts one that it wakes on the core
        of the one who woke it, or the caller on that of another, and it is long until it sees that both are busy."""
        here = _core() if len(self._cores) > 1 else self._away_from
        if here != self._away_from:
            self._away_from = here
            with contextlib.suppress(OSError):  # cores that were taken from the process meanwhile
                for thread in self._threads:
                    os.sched_setaffinity(thread.native_id, self._cores - {here})

    def close(self):
        """Wait until nobody is in the call any more."""
        close(self.address)

    def _stop(self):
        """At the interpreter's end no thread may be left in compiled code, which goes too."""
        if self.process == os.getpid():
            self._mailbox[CALL] = -1
            self._bell.ring(len(self._threads))
            for thread in self._threads:
                thread.join(1)


class Pool:
    """`threads` threads, of which the caller is one."""

    def __init__(self, threads: int | None = None):
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = max(1, int(threads or available))
        self._team: _Team | None = None
        self._lock = threading.Lock()

    def run(self, function, phases: int, *args, scratch: int = 0):
        """function(state, *args) on all threads; back when every job is done and every thread has left.

        scratch: floats for each thread, which come as another argument after `state`: an array (threads, n >= scratch).
        """
        team = self._team
        if team is None or team.process != os.getpid():
            team = self._start()
        if not team.busy.acquire(blocking=False):  # with a call from another thread
            state = _begin(np.empty(state_words(phases, self.threads), np.int64), self.threads, 0)
            function(state.ctypes.data, *([_scratch(self.threads, scratch)] if scratch else []), *args)
            return
        try:
            state = team.state(phases).ctypes.data
            if scratch:
                args = team.scratch(scratch), *args
            if not team.address:
                function(state, *args)
                return
            team.wake()
            try:
                function(state, *args)
            finally:
                team.close()
        finally:
            team.busy.release()

    def _start(self):
        with self._lock:
            if self._team is None or self._team.process != os.getpid():
                self._team = _Team(self.threads - 1)
            return self._team


def _begin(state, threads, mailbox):
    """`state`, as a call of so many threads finds it; mailbox: the address of the one that calls the others in."""
    state[...] = 0
    state[THREADS], state[MAILBOX] = threads, mailbox
    return state


def _scratch(threads, floats):
    """(threads, floats or some more), rows beginning with a page; nothing is touched yet."""
    row = -(-floats // 1024) * 1024
    memory = np.empty((threads * row + 1024) * 4, np.uint8)
    start = -memory.ctypes.data % 4096
    return memory[start : start + threads * row * 4].view(np.float32).reshape(threads, row)


@functools.cache
def shared_pool(threads: int | None = None) -> Pool:
    """The pool that all backends with this number of threads share."""
    return Pool(threads)
