"""One pool of threads for all CPU kernels, and how a kernel is compiled and cached.

A kernel is a Numba function without the GIL that every thread enters with the same arguments.  It takes jobs from
counters in `state`, an int64 array of zeros made for the call:

    for a phase p with n jobs:
        while True:
            j = take(state, p)
            if j >= n: break
            ... job j ...
            finish(state, p)
        wait(state, p, n)

A phase is over when its jobs are done, not when all threads have come by: a thread that is late finds nothing to do
and nobody waits for it.  Jobs do not depend on the number of threads, nor do results.  There is no BLAS and no OpenMP
here, so nothing competes for the cores, and a forked process simply starts a pool of its own.
"""

from __future__ import annotations

import functools
import hashlib
import os
import queue
import tempfile
import threading
import time
from pathlib import Path

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

I64 = ir.IntType(64)


# -- compiling -----------------------------------------------------------------------------------------------------


@functools.cache
def _cache_folder() -> str | None:
    """Where compiled kernels are kept: one folder per state of these sources; None if no folder can be written.

    DEMITASSE_CACHE names another place than the user's cache folder.
    """
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("cpu_*.py")))
    name = hashlib.sha256(sources).hexdigest()[:16]
    places = [
        os.environ.get("DEMITASSE_CACHE"),
        os.environ.get("XDG_CACHE_HOME"),
        os.path.expanduser("~/.cache"),
        os.path.join(tempfile.gettempdir(), f"demitasse-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"),
    ]
    for place in places:
        if not place:
            continue
        folder = os.path.join(place, "demitasse", name)
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if hasattr(os, "getuid") and any(os.stat(path).st_uid != os.getuid() for path in (place, folder)):
                continue  # what is loaded from there is run
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


def _compiled(function, freedom):
    folder, before = _cache_folder(), numba.config.CACHE_DIR
    try:
        if folder:
            numba.config.CACHE_DIR = folder
        return numba.njit(nogil=True, cache=folder is not None, error_model="numpy", fastmath=freedom)(function)
    finally:
        numba.config.CACHE_DIR = before


def kernel(function):
    """Compile at the first call, for the types of that call, and keep the machine code on disk."""
    return _compiled(function, {"contract", "nsz"})


def kernel_of_sums(function):
    """A kernel whose sums may be regrouped into vectors: the same bits on every run, not on every processor."""
    return _compiled(function, {"contract", "nsz", "reassoc"})


# -- counters ------------------------------------------------------------------------------------------------------


def _counter(context, builder, signature, args):
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.gep(array.data, [context.cast(builder, args[1], signature.args[1], types.int64)])


@intrinsic
def _add_one(typing, state, index):
    def generate(context, builder, signature, args):
        return builder.atomic_rmw("add", _counter(context, builder, signature, args), ir.Constant(I64, 1), "seq_cst")

    return types.int64(state, index), generate


@intrinsic
def _read(typing, state, index):
    def generate(context, builder, signature, args):
        return builder.load_atomic(_counter(context, builder, signature, args), "acquire", 8)

    return types.int64(state, index), generate


@numba.njit(nogil=True, inline="always")
def take(state, phase):
    """The next job of a phase."""
    return _add_one(state, 2 * phase)


@numba.njit(nogil=True, inline="always")
def finish(state, phase):
    """Count a job as done."""
    _add_one(state, 2 * phase + 1)


@numba.njit(nogil=True, inline="always")
def wait(state, phase, jobs):
    """Until all jobs of a phase are done."""
    while _read(state, 2 * phase + 1) < jobs:
        pass


@numba.njit(nogil=True, inline="always")
def my_number(state):
    """0, 1, ... for the threads of a call in order of arrival; its counter is the last of `state`."""
    return _add_one(state, state.size - 1)


# -- the pool ------------------------------------------------------------------------------------------------------


class Pool:
    """`threads` threads, of which the caller is one."""

    def __init__(self, threads: int | None = None):
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = max(1, int(threads or available))
        self._process = None
        self._tasks: queue.SimpleQueue | None = None
        self._lock = threading.Lock()

    def _start(self):
        with self._lock:
            if self._process == os.getpid():
                return
            tasks = queue.SimpleQueue()
            for i in range(self.threads - 1):
                threading.Thread(target=_serve, args=(tasks,), name=f"demitasse-{i + 1}", daemon=True).start()
            self._tasks, self._process = tasks, os.getpid()

    def run(self, function, phases: int, *args, threads: int | None = None):
        """function(state, *args) on all threads (or at most `threads`); back when every job is done."""
        state = np.zeros(2 * phases + 1, np.int64)
        helpers = min(self.threads, threads or self.threads) - 1
        if helpers > 0:
            if self._process != os.getpid():
                self._start()
            task = (function, state, args)
            for _ in range(helpers):
                self._tasks.put(task)
        function(state, *args)


def _serve(tasks):
    while True:
        task = tasks.get()
        if task is None:
            return
        function, state, args = task
        try:
            function(state, *args)
        except Exception:  # did not compile: the caller gets the same exception
            pass
        del task, function, state, args


@functools.cache
def shared_pool(threads: int | None = None) -> Pool:
    """The pool that all backends with this number of threads share."""
    return Pool(threads)


# -- what the machine can do -------------------------------------------------------------------------------------------


def peak_gflops(threads: int | None = None, seconds: float = 0.2) -> float:
    """Measured peak of the float32 multiply-add kernel, in 10^9 operations (a multiply-add is two) per second."""
    from layers.backend.cpu_gemm import gemm_probe

    pool = shared_pool(threads)
    rounds, best = 64, 0.0
    gemm_probe(pool, 1)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not best:
        start = time.perf_counter()
        operations = gemm_probe(pool, rounds)
        best = max(best, operations / (time.perf_counter() - start) / 1e9)
    return best


def bandwidth_gbytes(seconds: float = 0.2) -> float:
    """Measured speed of copying memory on one thread, in 10^9 bytes read or written per second."""
    a = np.ones(1 << 25, np.float32)
    b = a.copy()
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end or not best:
        start = time.perf_counter()
        b[:] = a
        best = max(best, 2 * a.nbytes / (time.perf_counter() - start) / 1e9)
    return best
