"""One pool of threads for all CPU kernels.

A kernel is a Numba function without the GIL that every thread enters with the same arguments.  It takes jobs from
counters in `state`, an int64 array made for the call:

    me = enter(state)                       0, 1, ... for the threads in order of arrival
    for j in work(state, me, p, n):         a phase p with n jobs
        ... job j ...

Each thread begins with a share of its own, the same for the same number of jobs, so that what one layer has left in a
core's cache is mostly there for the next: fetching it from another core may cost more than computing it.  Then it helps
the others.  A phase is over when its jobs are done, not when all threads have come by: a thread that is late finds
nothing to do and nobody waits for it.  Jobs do not depend on the number of threads, nor do results.  There is no BLAS
and no OpenMP here, so nothing competes for the cores, and a forked process simply starts a pool of its own.

The thread that calls a kernel calls the others in from within, by `enter`: it leaves the kernel's address and arguments
in a mailbox, where they look for a while after each call before they fall asleep.  So they need no GIL to come, and
come in less than a microsecond: layers of a tenth of a millisecond still run on all cores.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import platform
import sys
import threading

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from layers.backend.cpu_compile import kernel

I64 = ir.IntType(64)
LINE = 8  # words of a cache line: counters of different threads share none
# The state of a call: for each phase a line per thread, how many jobs of its share are taken, and one, how many of all
# are done; then a last line with these, counted from its end.
MAILBOX, ENTERED, THREADS = -1, -2, -3


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


@numba.njit(nogil=True)
def wait(state, phase, jobs):
    """Until all jobs of a phase are done."""
    threads = state[state.size + THREADS]
    looks, counter = 0, (phase * (threads + 1) + threads) * LINE
    while _read(state, counter) < jobs:
        looks += 1
        _rest(looks)


@numba.njit(nogil=True, inline="always")
def part_of(n, i, parts):
    """(first, end) of part i when n things are shared out."""
    return n * i // parts, n * (i + 1) // parts


@numba.njit(nogil=True)
def work(state, me, phase, jobs, ahead=False):
    """The jobs 0 ... jobs - 1 of a phase, as far as they fall to thread `me`: its share, then what others have left.

    Ends when the jobs of all threads are done; with `ahead`, when none is left to begin (see `wait`).
    """
    threads = state[state.size + THREADS]
    counters = phase * (threads + 1) * LINE
    done = 0
    for i in range(threads):
        whose = (me + i) % threads
        (first, end), counter = part_of(jobs, whose, threads), counters + whose * LINE
        while _read(state, counter) < end - first:
            job = first + _add(state, counter, 1)
            if job < end:
                yield job
                done += 1
    _add(state, counters + threads * LINE, done)
    if not ahead:
        wait(state, phase, jobs)


MOST_PARTS, LEAST_PIXELS = 8, 1024


@numba.njit(nogil=True, inline="always")
def bands_of(state, rows, width):
    """Into how many bands to cut an image so that a thread has the same pixels in every layer; one where it is small,
    and threads rather have channels of their own.  More bands would leave little to read in line."""
    return max(1, min(rows, state[state.size + THREADS], MOST_PARTS, rows * width // LEAST_PIXELS))


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

        def in_state(i):
            return builder.gep(array.data, [builder.add(array.nitems, ir.Constant(I64, i))])

        number = builder.atomic_rmw("add", in_state(ENTERED), ir.Constant(I64, 1), "seq_cst")
        mailbox = builder.load(in_state(MAILBOX))
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


@intrinsic
def _hear(typing, bell):
    """Sleep until the bell rings: read a number from a file of rings."""

    def generate(context, builder, signature, args):
        address = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(I64, [ir.IntType(32), address, I64])
        function = cgutils.get_or_insert_function(builder.module, kind, "read")
        number = builder.bitcast(cgutils.alloca_once(builder, I64), address)
        file = context.cast(builder, args[0], signature.args[0], types.int32)
        builder.call(function, [file, number, ir.Constant(I64, 8)])
        return context.get_dummy_value()

    return types.void(bell), generate


@kernel
def _serve(mailbox, bell, looks):
    """Take part in every call; after so many looks without one sleep until the bell rings."""
    seen, left = 0, looks
    while True:
        call = _read(mailbox, CALL)
        if call < 0:
            return
        if call != seen:
            if call % 2 == 1:
                _add(mailbox, INSIDE, 1)
                if _read(mailbox, CALL) == call:
                    _go_in(mailbox)
                _add(mailbox, INSIDE, -1)
            seen, left = call, looks
        elif left > 0:
            left -= 1
            _rest(left)
        else:
            _add(mailbox, ASLEEP, 1)
            _hear(bell)
            _add(mailbox, ASLEEP, -1)
            left = looks


@kernel
def _close(mailbox):
    """Let nobody in any more, and wait until all have left."""
    if _read(mailbox, CALL) % 2 == 1:
        _add(mailbox, CALL, 1)
    looks = 0
    while _read(mailbox, INSIDE) > 0:
        looks += 1
        _rest(looks)


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
        self._scratch = np.empty((helpers + 1, 0), np.float32)
        if helpers:
            self._start(helpers)

    def _start(self, helpers):
        self._mailbox, self._bell = np.zeros(WORDS, np.int64), _Bell()
        self.address = self._mailbox.ctypes.data
        self._mailbox[CALL] = -1
        _serve(self._mailbox, self._bell.file, LOOKS)  # compiled before the threads need it
        self._mailbox[CALL] = 0
        self._threads = [
            threading.Thread(
                target=_serve, args=(self._mailbox, self._bell.file, LOOKS), name=f"demitasse-{i + 1}", daemon=True
            )
            for i in range(helpers)
        ]
        for thread in self._threads:
            thread.start()
        self._cores = os.sched_getaffinity(0) if _core else {0}
        self._away_from = -1
        atexit.register(self._stop)

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
        _close(self._mailbox)

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
        state = np.zeros((phases * (self.threads + 1) + 1) * LINE, np.int64)
        state[THREADS] = self.threads
        team = self._team
        if team is None or team.process != os.getpid():
            team = self._start()
        if not team.busy.acquire(blocking=False):  # with a call from another thread
            function(state, *([_scratch(self.threads, scratch)] if scratch else []), *args)
            return
        try:
            if scratch:
                args = team.scratch(scratch), *args
            if not team.address:
                function(state, *args)
                return
            state[MAILBOX] = team.address
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
