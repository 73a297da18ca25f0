"""One pool of threads for all CPU kernels, and how a kernel is compiled and cached.

A kernel is a Numba function without the GIL that every thread enters with the same arguments.  It takes jobs from
counters in `state`, an int64 array made for the call:

    me = enter(state)                       0, 1, ... for the threads in order of arrival
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

The thread that calls a kernel calls the others in from within, by `enter`: it leaves the kernel's address and arguments
in a mailbox, where they look for a while after each call before they fall asleep.  So they need no GIL to come, and
come in less than a microsecond: layers of a tenth of a millisecond still run on all cores.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import platform
import tempfile
import threading
import time
from pathlib import Path

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
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


def _place(context, builder, signature, args):
    """The address of arguments (array, index)."""
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.gep(array.data, [context.cast(builder, args[1], signature.args[1], types.int64)])


@intrinsic
def _add(typing, array, index, n):
    def generate(context, builder, signature, args):
        amount = context.cast(builder, args[2], signature.args[2], types.int64)
        return builder.atomic_rmw("add", _place(context, builder, signature, args), amount, "seq_cst")

    return types.int64(array, index, n), generate


@intrinsic
def _read(typing, array, index):
    def generate(context, builder, signature, args):
        return builder.load_atomic(_place(context, builder, signature, args), "seq_cst", 8)

    return types.int64(array, index), generate


def _call(context, builder, kind, name):
    function = ir.FunctionType(kind, [])
    builder.call(cgutils.get_or_insert_function(builder.module, function, name), [])
    return context.get_dummy_value()


@intrinsic
def _pause(typing):
    """A moment's rest while waiting for another core."""

    def generate(context, builder, signature, args):
        if platform.machine().lower() in ("x86_64", "amd64"):
            _call(context, builder, ir.VoidType(), "llvm.x86.sse2.pause")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _yield(typing):
    """Let another thread have this core: the one that is waited for may have been put on it too."""

    def generate(context, builder, signature, args):
        if os.name == "posix":
            _call(context, builder, ir.IntType(32), "sched_yield")
        return context.get_dummy_value()

    return types.void(), generate


@numba.njit(nogil=True, inline="always")
def _rest(looks):
    """After look number `looks` in vain."""
    _pause()
    if looks % 256 == 0:
        _yield()


@numba.njit(nogil=True, inline="always")
def take(state, phase):
    """The next job of a phase."""
    return _add(state, 2 * phase, 1)


@numba.njit(nogil=True, inline="always")
def finish(state, phase):
    """Count a job as done."""
    _add(state, 2 * phase + 1, 1)


@numba.njit(nogil=True, inline="always")
def wait(state, phase, jobs):
    """Until all jobs of a phase are done."""
    looks = 0
    while _read(state, 2 * phase + 1) < jobs:
        looks += 1
        _rest(looks)


# -- the pool ------------------------------------------------------------------------------------------------------

# Words of a mailbox.  CALL: how often it was opened and closed, so odd while threads may come in; negative at the end.
# INSIDE: threads that are in a call, or about to look whether they may; FUNCTION, BLOCK: what they call, and with what.
CALL, INSIDE, ASLEEP, FUNCTION, BLOCK, WORDS = 0, 8, 16, 24, 32, 544
LOOKS = 20_000  # into the mailbox before a thread falls asleep: about half a millisecond


def _entrance(function):
    """The LLVM function block -> None that calls `function` with the arguments in the block."""
    module, types_ = function.module, [arg.type for arg in function.args]
    if 8 * (WORDS - BLOCK) < 8 * len(types_):
        raise ValueError(f"{function.name} has more arguments than a mailbox holds")
    entrance = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64.as_pointer()]), f"{function.name}.entrance")
    entrance.linkage = "internal"
    builder = ir.IRBuilder(entrance.append_basic_block())
    args = []
    for i, kind in enumerate(types_):
        if i < 2:  # where Numba's functions leave their value and their exception: nobody looks there
            args.append(builder.bitcast(builder.alloca(I64, 8), kind))
        else:
            place = builder.gep(entrance.args[0], [ir.Constant(I64, i)])
            args.append(builder.load(builder.bitcast(place, kind.as_pointer())))
    builder.call(function, args)
    builder.ret_void()
    return entrance


def _counts_references(args, i) -> bool:
    """Whether an argument is where Numba counts the references to an array: the first of two addresses of bytes in a
    row (the second is the array's Python object).

    The others get none to count with: one that comes in while the caller is on its way out would write to a count that
    is freed already.  The arrays themselves stay until all have left; see Pool.run.
    """
    byte_address = ir.IntType(8).as_pointer()
    return i > 1 and [arg.type for arg in args[i : i + 2]] == [byte_address, byte_address]


@intrinsic
def enter(typing, state):
    """0, 1, ... for the threads of a call in order of arrival; the first calls the others into the function that this
    stands in.  A kernel does this before anything else."""

    def generate(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        last = builder.sub(array.nitems, ir.Constant(I64, 1))
        number = builder.atomic_rmw(
            "add", builder.gep(array.data, [builder.sub(last, ir.Constant(I64, 1))]), ir.Constant(I64, 1), "seq_cst"
        )
        mailbox = builder.load(builder.gep(array.data, [last]))
        nothing = ir.Constant(I64, 0)
        opens = builder.and_(builder.icmp_signed("==", number, nothing), builder.icmp_signed("!=", mailbox, nothing))
        with builder.if_then(opens):
            words = builder.inttoptr(mailbox, I64.as_pointer())

            def word(i):
                return builder.gep(words, [ir.Constant(I64, i)])

            for i, arg in enumerate(builder.function.args):
                lent = ir.Constant(arg.type, None) if _counts_references(builder.function.args, i) else arg
                builder.store(lent, builder.bitcast(word(BLOCK + i), arg.type.as_pointer()))
            builder.store(builder.ptrtoint(_entrance(builder.function), I64), word(FUNCTION))
            builder.atomic_rmw("add", word(CALL), ir.Constant(I64, 1), "seq_cst")
        return number

    return types.int64(state), generate


@intrinsic
def _go_in(typing, mailbox):
    """Call what the mailbox names."""

    def generate(context, builder, signature, args):
        words = context.make_array(signature.args[0])(context, builder, args[0]).data
        kind = ir.FunctionType(ir.VoidType(), [I64.as_pointer()])
        function = builder.load(builder.gep(words, [ir.Constant(I64, FUNCTION)]))
        block = builder.gep(words, [ir.Constant(I64, BLOCK)])
        builder.call(builder.inttoptr(function, kind.as_pointer()), [block])
        return context.get_dummy_value()

    return types.void(mailbox), generate


@kernel
def _serve(mailbox, seen, looks):
    """Take part in each call but number `seen`, until there was none for so many looks; the number of the last."""
    _add(mailbox, ASLEEP, -1)
    left = looks
    while left > 0:
        call = _read(mailbox, CALL)
        if call < 0:
            return call
        if call == seen:
            left -= 1
            _rest(left)
            continue
        if call % 2 == 1:
            _add(mailbox, INSIDE, 1)
            if _read(mailbox, CALL) == call:
                _go_in(mailbox)
            _add(mailbox, INSIDE, -1)
        seen, left = call, looks
    _add(mailbox, ASLEEP, 1)
    return seen


@kernel
def _close(mailbox):
    """Let nobody in any more, and wait until all have left."""
    if _read(mailbox, CALL) % 2 == 1:
        _add(mailbox, CALL, 1)
    looks = 0
    while _read(mailbox, INSIDE) > 0:
        looks += 1
        _rest(looks)


class _Team:
    """The threads of one process beside the one that calls."""

    def __init__(self, helpers):
        self.process, self.busy = os.getpid(), threading.Lock()
        self._mailbox, self._alarm = np.zeros(WORDS, np.int64), threading.Event()
        self.address = self._mailbox.ctypes.data
        self._mailbox[ASLEEP] = helpers + 1
        _serve(self._mailbox, 0, 0)  # compiled before the threads need it
        self._mailbox[ASLEEP] = helpers
        self._threads = [
            threading.Thread(target=self._work, name=f"demitasse-{i + 1}", daemon=True) for i in range(helpers)
        ]
        for thread in self._threads:
            thread.start()
        atexit.register(self._stop)

    def _work(self):
        seen = 0
        while True:
            self._alarm.clear()
            seen = _serve(self._mailbox, seen, LOOKS)
            if seen < 0:
                return
            self._alarm.wait()

    def wake(self):
        """Have those who sleep look into the mailbox.  One who falls asleep at this moment misses a call: no harm."""
        if self._mailbox[ASLEEP]:
            self._alarm.set()

    def close(self):
        """Wait until nobody is in the call any more."""
        _close(self._mailbox)

    def _stop(self):
        """At the interpreter's end no thread may be left in compiled code, which goes too."""
        if self.process == os.getpid():
            self._mailbox[CALL] = -1
            self._alarm.set()
            for thread in self._threads:
                thread.join(1)


class Pool:
    """`threads` threads, of which the caller is one."""

    def __init__(self, threads: int | None = None):
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = max(1, int(threads or available))
        self._team: _Team | None = None
        self._lock = threading.Lock()

    def run(self, function, phases: int, *args):
        """function(state, *args) on all threads; back when every job is done and every thread has left."""
        state = np.zeros(2 * phases + 2, np.int64)
        team = self._team
        if self.threads > 1 and (team is None or team.process != os.getpid()):
            team = self._start()
        if team is None or not team.busy.acquire(blocking=False):  # busy: with a call from another thread
            function(state, *args)
            return
        try:
            state[-1] = team.address
            team.wake()
            function(state, *args)
        finally:
            team.close()
            team.busy.release()

    def _start(self):
        with self._lock:
            if self._team is None or self._team.process != os.getpid():
                self._team = _Team(self.threads - 1)
            return self._team


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
