"""One pool of threads for all CPU kernels: when they sleep, when they wake, and what memory they work with.

There is no BLAS and no OpenMP here, so nothing competes for the cores, and a forked process simply starts a pool of its
own.  How threads come into a kernel is fork_join's, how they share out its jobs work_stealing's.

DEMITASSE_THREADING=serial computes every kernel on the thread that calls it: the same bits, and none of the above.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import logging  # see the end of this file  # noqa: F401
import os
import threading
import weakref

import numpy as np
from llvmlite.binding import ffi

from demitasse.layers.backend.cpu import jit
from demitasse.layers.backend.cpu.allocator import current
from demitasse.layers.backend.cpu.threads.fork_join import (
    ASLEEP,
    CALL,
    INSIDE,
    WORDS,
    call_all,
    prepare,
    retire,
    serve,
    wake_all,
)
from demitasse.layers.backend.cpu.threads.work_stealing import MAILBOX, THREADS, state_words
from demitasse.proto.errors import SolverFault

SPINS_BEFORE_SLEEP = 20_000  # into the mailbox before a thread sleeps: about half a millisecond

# The number of the core that the caller is on, where the system tells it.
_core = getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None


def usable_cores() -> int:
    """How many cores the calling thread may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Team:
    """The threads of one process beside those that call.  address: of their mailbox."""

    def __init__(self, helpers):
        self._mailbox = np.zeros(WORDS, np.int64)
        self.address = self._mailbox.ctypes.data
        prepare(self.address)
        wake_all(self.address)  # compiled before they are needed, as are these:
        call_all(self._mailbox[:0], self._mailbox[:0], self.address)
        self._mailbox[CALL] = -1
        serve(self.address, SPINS_BEFORE_SLEEP)
        self._mailbox[CALL] = 0
        self._threads, self._placed = [], None
        atexit.register(self.stop)
        for i in range(helpers):
            self._threads.append(threading.Thread(target=self._serve, name=f"demitasse-{i + 1}", daemon=True))
            self._threads[-1].start()

    def _serve(self):  # a method: the mailbox stays as long as one of its threads
        serve(self.address, SPINS_BEFORE_SLEEP)

    def wake(self) -> bool:
        """Have those who sleep look into the mailbox; False where they had better not, on the caller's only core.

        One who goes to sleep at this moment misses a call: no harm.
        """
        if _core and not self._pin_away_from_caller(os.sched_getaffinity(0)):
            return False
        if self._mailbox[ASLEEP]:
            wake_all(self.address)
        return True

    def _pin_away_from_caller(self, cores):
        """Have the others work on the cores that the caller may use, but its own.  The system often puts one that it
        wakes on the core of the one who woke it, or the caller on that of another, and it is long until it sees that
        both are busy.  False where there are no other cores."""
        here = _core() if len(cores) > 1 else None
        if (here, cores) != self._placed:
            self._placed = here, cores
            for thread in self._threads:
                with contextlib.suppress(OSError):  # cores that were taken from the process meanwhile
                    os.sched_setaffinity(thread.native_id, cores - {here})
        return len(cores) > 1

    def lose_threads(self):
        """In a forked process, which has none of them: nobody waits for one."""
        self._mailbox[INSIDE] = 0
        atexit.unregister(self.stop)

    def stop(self):
        """At the interpreter's end no thread may be left in compiled code, which goes too."""
        atexit.unregister(self.stop)
        retire(self.address)
        for thread in self._threads:
            if thread.ident:
                thread.join(1)


class Pool:
    """Shares out jobs for `threads` threads, of which the caller is one.

    helpers: how many other threads are started, by default all; with fewer the results are the same.
    """

    def __init__(self, threads: int, helpers: int | None = None):
        self.threads = max(1, int(threads))
        self._helpers = self.threads - 1 if helpers is None else helpers
        self._team: _Team | None = None
        self._lock = threading.Lock()
        self._own = threading.local()
        _pools.add(self)

    def run(self, function, supersteps: int, *args, scratch: int = 0, alone: bool = False):
        """function(state, *args) on all threads; back when every job is done and every thread has left.

        Any thread may call at any time: one whose call meets another's computes alone.
        scratch: floats for each thread, which come as another argument after `state`: an array (threads, n >= scratch).
        alone: on the calling thread only, for what takes less time than others need to come.
        """
        state, address = self._state(state_words(supersteps, self.threads))
        if not alone:
            state[MAILBOX] = self.wake()
        if current.recorder is not None:
            args = current.recorder.take(function, supersteps, args, scratch, alone)
            if not current.recorder.runs:
                return
        elif scratch:
            args = self._scratch(scratch), *args
        function(address, *args)

    def _state(self, words):
        """(zeros but for the number of threads, their address): the same memory in every call of a thread."""
        own = getattr(self._own, "state", None)
        if own is None or len(own[0]) < words:
            memory = np.empty(words, np.int64)
            own = self._own.state = memory, memory.ctypes.data
        own[0][:words] = 0
        own[0][THREADS] = self.threads
        return own

    def new_state(self, supersteps: int) -> np.ndarray:
        """(state_words,) int64: the state of a call of one thread, until it names a mailbox (see work_stealing)."""
        state = np.zeros(state_words(supersteps, self.threads), np.int64)
        state[THREADS] = self.threads
        return state

    def wake(self) -> int:
        """The address of the mailbox of the other threads, which are awake now; 0 where there are none."""
        if not self._helpers:
            return 0
        team = self._team or self._start()
        return team.address if team.wake() else 0

    def _start(self):
        with self._lock:
            if self._team is None:
                self._team = _Team(self._helpers)
            return self._team

    def _scratch(self, floats):
        """(threads, `floats` or more): the same memory in every call of a thread, so that each row stays in its core's
        cache.  Rows begin with a page; nothing is touched yet."""
        rows = getattr(self._own, "scratch", None)
        if rows is None or rows.shape[1] < floats:
            rows = self._own.scratch = self.scratch(floats)
        return rows

    def scratch(self, floats: int) -> np.ndarray:
        """(threads, n), n >= floats, float32, not initialized."""
        row = -(-floats // 1024) * 1024
        memory = np.empty((self.threads * row + 1024) * 4, np.uint8)
        start = -memory.ctypes.data % 4096
        return memory[start : start + self.threads * row * 4].view(np.float32).reshape(self.threads, row)

    def forked(self):
        """In a forked process: begin anew."""
        if self._team:
            self._team.lose_threads()
        self._team = None


@functools.cache
def shared_pool(threads: int | None = None) -> Pool:
    """The pool that all backends with this number of threads share.  More threads than cores only get in each other's
    way, so no more are started; None: as many as cores that the caller may use."""
    cores = usable_cores()
    threads = max(1, int(threads or cores))
    return Pool(threads, 0 if _serial() else min(threads, cores) - 1)


def _serial():
    mode = os.environ.get("DEMITASSE_THREADING", "")
    if mode not in ("", "serial"):
        raise SolverFault(f"DEMITASSE_THREADING={mode}: leave it unset to compute on all cores, or set it to serial")
    return mode == "serial"


# -- processes that fork -----------------------------------------------------------------------------------------------
# A lock that another thread holds stays locked in the child for good.  So a fork waits until no thread makes or loads
# machine code (LLVM has a lock of its own) or starts a pool's threads, and the child starts threads of its own.

_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_held: list = []


def _before_fork():
    locks = [pool._lock for pool in list(_pools)] + [jit.lock, ffi.lib._lock._lock]
    for lock in locks:
        lock.acquire()
    _held.append(locks)


def _after_fork():
    for lock in reversed(_held.pop()):
        lock.release()


def _after_fork_in_child():
    _after_fork()
    for pool in list(_pools):
        pool.forked()


if hasattr(os, "register_at_fork"):  # later than logging, which then is locked after us: Numba's import takes that lock
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
