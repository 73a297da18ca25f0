"""How the threads of a call share out its jobs.

A kernel is a Numba function without the GIL that every thread enters with the same arguments.  It takes jobs from
counters in `state`, the address of int64 words that are zero when the call begins:

    me = enter(state)                       0, 1, ... for the threads in order of arrival (fork_join)
    for j in work(state, me, p, n):         superstep p, of n jobs
        ... job j ...

Each thread begins with a share of its own, the same for the same number of jobs, so that what one layer has left in a
core's cache is mostly there for the next: writes to what another core has read (false sharing too) cost most
on many machines.  Then it helps others.
What lies between two barriers is a superstep (Valiant, "A bridging model for parallel computation", 1990).  It is over
when its jobs are done, not when all threads have come by: one that is late finds nothing to do, and nobody waits for
it.  Jobs may depend on the number of threads; results do not.

`state` is a number and not an array, since `work` is a generator: Numba's generators take a reference to each array
among their arguments and never give it back, so every call would leave its array behind.
"""

from __future__ import annotations

import os
import platform

from llvmlite import ir

from demitasse.layers.backend.cpu.jit import Intrinsic, cgutils, inlined, inner, types

I64 = ir.IntType(64)

LINE = 16  # words of two cache lines, which many processors fetch together: counters of different threads share none
# The state of a call: a line with these words; then for each superstep a line per thread, how many jobs of its share
# are taken, and one, how many of all are done.
MAILBOX, ENTERED, THREADS = 0, 1, 2
MAX_BANDS, MIN_BAND_PIXELS = 8, 1024  # of an image that is cut into bands


def state_words(supersteps: int, threads: int) -> int:
    """How many int64 words the state of a call has."""
    return (1 + supersteps * (threads + 1)) * LINE


def _word(builder, address, index):
    return builder.gep(builder.inttoptr(address, I64.as_pointer()), [index])


@Intrinsic
def add(typing, address, index, n):
    """Add n to word `index` at an address at once; the value before."""

    def generate(context, builder, signature, args):
        return builder.atomic_rmw("add", _word(builder, *args[:2]), args[2], "seq_cst")

    return types.int64(types.int64, types.int64, types.int64), generate


@Intrinsic
def read(typing, address, index):
    """Word `index` at an address, as other threads have left it."""

    def generate(context, builder, signature, args):
        return builder.load_atomic(_word(builder, *args), "seq_cst", 8)

    return types.int64(types.int64, types.int64), generate


def _call(context, builder, kind, name):
    function = ir.FunctionType(kind, [])
    builder.call(cgutils.get_or_insert_function(builder.module, function, name), [])
    return context.get_dummy_value()


@Intrinsic
def _pause(typing):
    """A moment's rest while waiting for another core."""

    def generate(context, builder, signature, args):
        if platform.machine().lower() in ("x86_64", "amd64"):
            _call(context, builder, ir.VoidType(), "llvm.x86.sse2.pause")
        return context.get_dummy_value()

    return types.void(), generate


@Intrinsic
def _yield(typing):
    """Let another thread have this core: the one that is waited for may have been put on it too."""

    def generate(context, builder, signature, args):
        if os.name == "posix":
            _call(context, builder, ir.IntType(32), "sched_yield")
        return context.get_dummy_value()

    return types.void(), generate


@inlined
def rest(spins):
    """After spin number `spins`."""
    _pause()
    if spins % 256 == 0:
        _yield()


@inner
def wait(state, superstep, jobs):
    """Until all jobs of a superstep are done."""
    threads = read(state, THREADS)
    spins, counter = 0, (1 + superstep * (threads + 1) + threads) * LINE
    while read(state, counter) < jobs:
        spins += 1
        rest(spins)


@inlined
def partition(n, i, parts):
    """(first, end) of part i when n things are shared out."""
    return n * i // parts, n * (i + 1) // parts


@inner
def work(state, me, superstep, jobs, ahead=False):
    """The jobs 0 ... jobs - 1 of a superstep, as far as they fall to thread `me`: its share, then what others left.

    Ends when the jobs of all threads are done; with `ahead`, when none is left to begin (see `wait`).
    """
    threads = read(state, THREADS)
    counters = (1 + superstep * (threads + 1)) * LINE
    done = 0
    for i in range(threads):
        whose = (me + i) % threads
        (first, end), counter = partition(jobs, whose, threads), counters + whose * LINE
        while read(state, counter) < end - first:
            job = first + add(state, counter, 1)
            if job < end:
                yield job
                done += 1
    add(state, counters + threads * LINE, done)
    if not ahead:
        wait(state, superstep, jobs)


@inlined
def band_count(state, rows, width):
    """Into how many bands to cut an image so that a thread has the same pixels in every layer; one where it is small,
    and threads rather have channels of their own.  More bands would leave little to read in line."""
    return max(1, min(rows, read(state, THREADS), MAX_BANDS, rows * width // MIN_BAND_PIXELS))
