"""Recordings of what is launched: the kernels of a pass with their arguments, called one after the other.

For Python to call a kernel takes longer than many a small layer takes to compute.  What is recorded is called with the
same arguments again, packed once: it reads and writes memory of its own, where all lies that was made meanwhile, and
arrays that were there before, such as weights.  So nothing but kernels may take part.  Arrays made meanwhile, and those
that come in, refuse NumPy's arithmetic, and what is recorded runs twice: an array that a kernel takes and that is
neither made meanwhile nor the same one both times was computed by NumPy, from weights as they were then.

What follows another recording, a backward pass, runs no kernel while it is recorded, since that would add to gradients
once more.  Its memory is that of the forward pass: where it has read what that has left there for the last time, which
shows when it runs first, it puts arrays of its own.  Where numbers decide what is launched (of rows that repeat, fewer
are computed), recorded is what is done as a rule, and `holds` asks again after each launch.
"""

from __future__ import annotations

import ctypes
import itertools
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from demitasse.layers.backend.contract.memory import NotRecordable
from demitasse.layers.backend.cpu.allocator import (
    MAX_RECORDED_BYTES,
    MemoryPool,
    address_of,
    current,
    lease_of,
    unrecorded,
)
from demitasse.layers.backend.cpu.gemm_microkernel import fill
from demitasse.layers.backend.cpu.jit import kernel
from demitasse.layers.backend.cpu.threads.fork_join import call_all, enter
from demitasse.layers.backend.cpu.threads.work_stealing import MAILBOX


def _refuse(array, *args, **kwargs):
    if current.recorder is not None:
        raise NotRecordable("NumPy computes with what kernels have made")


class _NoNumpy:
    """In the place of the module, for layers."""

    def __getattr__(self, name):
        raise NotRecordable(f"NumPy computes ({name})")


class MadeArray(np.ndarray):
    """An array that is made while something is recorded: kernels may take it and NumPy make views of it, no more."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        _refuse(self)
        if "out" in kwargs:
            kwargs["out"] = tuple(map(_plain, kwargs["out"]))
        return getattr(ufunc, method)(*map(_plain, inputs), **kwargs)

    def __array_function__(self, function, kinds, args, kwargs):
        _refuse(self)
        return super().__array_function__(function, kinds, args, kwargs)

    def __getitem__(self, key):
        value = super().__getitem__(key)
        if not isinstance(value, np.ndarray):
            _refuse(self)
        return value

    def __setitem__(self, key, value):
        if current.recorder is None:
            super().__setitem__(key, value)
        elif key is Ellipsis and isinstance(value, int | float):
            current.recorder.pool.run(set_all, 1, self.reshape(-1), float(value), alone=True)
        else:
            _refuse(self)

    def reshape(self, *shape, order="C"):
        """A view of `shape`."""
        view = super().reshape(*shape, order=order)
        if address_of(view) != address_of(self):
            _refuse(self)
        return view

    def copy(self, order="C"):
        """A plain array of its shape."""
        _refuse(self)
        return np.array(self, order=order, subok=False)


def _plain(x):
    return x.view(np.ndarray) if isinstance(x, MadeArray) else x


def _refusing(name):
    def method(self, *args, **kwargs):
        _refuse(self)
        return getattr(self.view(np.ndarray), name)(*args, **kwargs)

    return method


for _name in (
    "argmax argmin argpartition argsort astype choose compress cumprod cumsum diagonal dot fill flatten item nonzero "
    "partition put ravel repeat round searchsorted sort take tobytes tolist trace "
    "__bool__ __float__ __int__ __index__ __iter__ __contains__"
).split():
    setattr(MadeArray, _name, _refusing(_name))


@kernel
def set_all(state, x, value):
    """x = value"""
    if enter(state) == 0:
        fill(x, 0, x.size, np.float32(value))


class _Launch(NamedTuple):
    """One call of a kernel."""

    function: Any
    supersteps: int
    args: tuple
    scratch: int  # floats for each thread
    alone: bool


class Recorder:
    """What a thread launches and allocates."""

    no_numpy = _NoNumpy()

    def __init__(self, be, after: KernelCalls | None = None, before: Recorder | None = None):
        """after: the recording that this one follows; before: the recorder that has taken in the same already."""
        self.pool, self.before, self.number = be.pool, before, after.number + 1 if after else 0
        self.memory = before.memory if before else after.memory if after else MemoryPool(waits=False)
        self.launches: list[_Launch] = []
        self.scratch = after.scratch if after else None  # as large as the last launch that needs more than others
        self.runs = after is None  # whether kernels run meanwhile: not what adds to gradients, which are there already
        self.last_uses: dict[int, int] = {}  # of the memory of what is recorded before: by which launch it is read last
        self.answers: list[tuple[Callable, weakref.ref, tuple]] = []  # of questions about numbers: (ask, array, args)

    def empty(self, shape, dtype) -> np.ndarray:
        """An array of that shape; MemoryError where that is too much to be worth it."""
        array = self.memory.cut(shape, dtype, 0)
        self.limit(self.memory.used)
        lease_of(array).maker = self.number
        return array.view(MadeArray)

    def ask(self, question, x: np.ndarray, *args) -> None:
        """NotRecordable where question(x, *args), asked of the numbers of x as they are, has an answer."""
        if unrecorded(question, x.view(np.ndarray), *args):
            raise NotRecordable("the numbers tell how they are computed with")
        self.answers.append((question, weakref.ref(x), args))

    @staticmethod
    def limit(size):
        """MemoryError for more bytes than are worth it."""
        if size > MAX_RECORDED_BYTES:
            raise MemoryError("too much to be worth a recording")

    def take(self, function, supersteps, args, scratch, alone) -> tuple:
        """Note a launch, and give its arguments, with `scratch` floats for each thread as the first one."""
        if scratch and (self.scratch is None or self.scratch.shape[1] < scratch):
            self.limit(4 * scratch * self.pool.threads)
            self.scratch = self.pool.scratch(scratch)
        earlier = [one for one in _leases(args) if one.block[0] is self.memory and one.maker < self.number]
        args = tuple(map(self._kept, args))
        self.launches.append(_Launch(function, supersteps, args, scratch, alone))
        for lease in earlier:
            self._note_use(lease)
        if self.before and not self._agrees(len(self.launches) - 1):
            raise NotRecordable("NumPy computes what a kernel takes")
        return (self.scratch, *args) if scratch else args

    def _note_use(self, lease) -> None:
        """Memory of what is recorded before is used: where for the last time, it is free from here on."""
        number = self.last_uses[id(lease)] = len(self.launches)
        if self.before and self.before.last_uses.get(id(lease)) == number:
            lease.give_back()

    def _kept(self, arg):
        """An argument to keep: of an array of this recording only where it lies, so that its memory is free again."""
        if isinstance(arg, np.ndarray):
            return np.asarray(_Place(arg)) if self.memory.owns(arg) else _plain(arg)
        if isinstance(arg, tuple):
            return type(arg)(*map(self._kept, arg)) if hasattr(arg, "_fields") else tuple(map(self._kept, arg))
        return arg

    def _agrees(self, number):
        """Whether a launch is that of the recorder before: the same numbers, and arrays that were there already."""
        if number >= len(self.before.launches):
            return False
        one, two = self.launches[number], self.before.launches[number]
        alike = one._replace(args=()) == two._replace(args=()) and len(one.args) == len(two.args)
        return alike and all(map(self._agree, one.args, two.args))

    def _agree(self, a, b):
        if isinstance(a, np.ndarray):
            same = a.shape == b.shape and a.dtype == b.dtype
            return same and (self.memory.owns(a) or address_of(a) == address_of(b))
        if isinstance(a, tuple):
            return len(a) == len(b) and all(map(self._agree, a, b))
        return a is b or a == b


def _leases(args):
    """The leases of all arrays among arguments."""
    for arg in args:
        if isinstance(arg, tuple):
            yield from _leases(arg)
        elif isinstance(arg, np.ndarray) and (lease := lease_of(arg)) is not None:
            yield lease


class _Place:
    """Where an array lies, and nothing that would keep its memory."""

    def __init__(self, array):
        self.__array_interface__ = array.__array_interface__ | {}


class KernelCalls:
    """contract.Recorded: the calls of what a recorder has taken in."""

    stale = False
    followed = False  # whether another recording may write to the memory of this one

    def __init__(self, recorder: Recorder):
        self.memory, self._pool, self._launches = recorder.memory, recorder.pool, recorder.launches
        self.number = recorder.number
        self.scratch, self._answers = recorder.scratch, recorder.answers
        states = [self._pool.new_state(launch.supersteps) for launch in self._launches]
        *starts, _ = itertools.accumulate(map(len, states), initial=0)
        self._fresh = np.concatenate(states)
        self._states = self._fresh.copy()
        placed = list(zip(starts, self._launches, strict=True))
        self._mailboxes = np.array([start + MAILBOX for start, launch in placed if not launch.alone], np.int64)
        address = self._states.ctypes.data
        calls = []
        for start, launch in placed:
            scratch = (recorder.scratch,) if launch.scratch else ()
            calls.append(launch.function.prepare(address + 8 * start, *scratch, *launch.args))
        self._words = [ctypes.create_string_buffer(words, len(words)) for _, words in calls]
        self._codes = np.array([ctypes.cast(code, ctypes.c_void_p).value for code, _ in calls], np.int64)
        self._addresses = np.array([ctypes.addressof(words) for words in self._words], np.int64)

    def nbytes(self) -> int:
        """Bytes of the arrays that were alive at once."""
        return self.memory.peak

    def holds(self) -> bool:
        """Whether questions about the numbers of now have no answer either, of arrays that are still there."""
        there = ((question, x(), args) for question, x, args in self._answers)
        return not any(x is not None and question(x.view(np.ndarray), *args) for question, x, args in there)

    def launch(self) -> None:
        """Call all of it once more."""
        self._states[:] = self._fresh
        self._states[self._mailboxes] = mailbox = self._pool.wake()
        call_all(self._codes, self._addresses, mailbox)


def has_room_to_record(be):
    return True


def record(be, run, after=None, give_way=None):
    if after is not None and after.followed:
        raise NotRecordable("what this follows has given its memory away")
    be.memory.trim()  # an ordinary pass of these sizes will hardly come again
    drawn, peak = be.random_state(), after.nbytes() if after else 0
    try:
        first = _taken_in(Recorder(be, after), run)
        first.memory.peak = peak  # the second time memory is used more than once
        if after is not None:
            after.followed = True
        last = _taken_in(Recorder(be, after, first), run)
    finally:
        be.set_random_state(drawn)
    last.before = None
    if not last.launches:
        raise NotRecordable("no kernel is called")
    return KernelCalls(last)


def recordable(be, x):
    Recorder.limit(x.nbytes)
    return x.copy().view(MadeArray)


def _taken_in(recorder, run):
    """The recorder, after it has taken in what run() does."""
    current.recorder = recorder
    try:
        run()
    finally:
        current.recorder = None
    return recorder
