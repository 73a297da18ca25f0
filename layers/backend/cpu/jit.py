"""Kernels: functions of which Python calls the machine code.

compiler.py makes machine code, for each combination of types that a kernel is called with; code_cache.py keeps it on
disk.  Making it takes Numba, which alone takes longer to import than a small net to load: it is imported when
something is missing.

The machine code of a kernel takes the address of its arguments, packed into words of 64 bits: numbers themselves; an
array as the address of its object, which has its fields where NumPy's C interface says; what is Packed as the address
of its words.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import struct
import threading
from typing import Any, NamedTuple

import numpy as np

from demitasse.layers.backend.cpu import code_cache

lock = threading.RLock()  # held while machine code is made or loaded

FORMATS = {int: "q", bool: "q", np.int64: "q", float: "d", np.float32: "f4x"}  # of the words of numbers

REAL, SUMS = {"contract", "nsz"}, {"contract", "nsz", "reassoc"}  # what may be changed about floating point


class Late:
    """A module that is imported when it is first asked for something."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)


types, cgutils = Late("numba.core.types"), Late("numba.core.cgutils")  # for intrinsics


class Function:
    """What kernels may call.  options: Numba's, beside those that all have in common."""

    def __init__(self, function, **options):
        functools.update_wrapper(self, function)
        self.py_func, self.options = function, options


class Intrinsic:
    """What kernels may call, too: a function that writes LLVM instructions, as numba.extending.intrinsic has it."""

    def __init__(self, function):
        self.py_func = function


class Kernel(Function):
    """What Python may call, with numbers, C-contiguous arrays, tuples and NamedTuples.  It returns nothing."""

    def __init__(self, function, **options):
        super().__init__(function, **options)
        self._codes: dict[tuple, tuple] = {}  # by the kinds of arguments: how they are packed, machine code

    def __call__(self, *args):
        code, words = self.prepare(*args)
        wrong = code(words)
        if wrong:
            raise ValueError(f"{self.__name__}: argument {wrong - 1} is an array that is not C-contiguous")

    def prepare(self, *args) -> tuple[Any, bytes]:
        """(machine code, its argument) of a call; the arrays among `args` are to stay until it has run."""
        words: list = []
        kinds = tuple([kind_of(arg, words) for arg in args])  # in microseconds: for every layer of every net
        pack, code = self._codes.get(kinds) or self._code(kinds)
        return code, pack(*words)

    def _code(self, kinds):
        with lock:
            if kinds not in self._codes:
                layout = "".join(formats_of(kind) for kind in kinds)
                address = code_cache.address_of(self, kinds)
                self._codes[kinds] = struct.Struct(layout).pack, _signature(address) if address else _nothing
            return self._codes[kinds]


_signature = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p)  # calls without the GIL
_nothing = _signature(lambda words: 0)  # in the place of machine code that is made and not run


class PackedKind(NamedTuple):
    """The kind of what is Packed: one object for equal kinds, so that it is found fast."""

    kind: tuple

    def __hash__(self):
        return id(self)


_packed_kind = functools.cache(PackedKind)


class Packed:
    """A NamedTuple of numbers and of such NamedTuples, looked through once for many calls."""

    def __init__(self, value: tuple):
        words: list = []
        self.kind = _packed_kind(kind_of(value, words))
        self._words = np.frombuffer(struct.pack(formats_of(self.kind.kind), *words), np.int64)
        self.address = self._words.ctypes.data


def kind_of(arg: Any, words: list) -> Any:
    """What the type of machine code for an argument depends on; its words are appended to `words`.

    TypeError for any other.
    """
    cls = type(arg)
    if cls is np.ndarray:
        words.append(id(arg))
        return arg.dtype.char, arg.ndim
    if cls in FORMATS:
        words.append(arg)
        return cls
    if cls is Packed:
        words.append(arg.address)
        return arg.kind
    if isinstance(arg, np.ndarray):  # a MadeArray that a layer has saved
        words.append(id(arg))
        return arg.dtype.char, arg.ndim
    if not isinstance(arg, tuple):
        raise TypeError(f"a kernel takes no {cls.__name__}")
    return cls, *[kind_of(item, words) for item in arg]


def formats_of(kind: Any) -> str:
    """How the words of an argument are packed, as for `struct`."""
    if isinstance(kind, type):
        return FORMATS[kind]
    if isinstance(kind, PackedKind) or isinstance(kind[0], str):
        return "q"
    return "".join(formats_of(item) for item in kind[1:])


def kernel(function):
    """Compile for the types of each call, and keep the machine code."""
    return Kernel(function, fastmath=REAL)


def exact_kernel(function):
    """A kernel whose floating point is NumPy's to the bit: for decisions that must not depend on the device."""
    return Kernel(function)


def inner_kernel(function):
    """What only kernels call."""
    return Function(function, fastmath=REAL)


def inner_kernel_of_sums(function):
    """What only kernels call, with sums regrouped into vectors: the same bits on every run, not on every processor."""
    return Function(function, fastmath=SUMS)


def inner(function):
    """What only kernels call, with Python's floating point."""
    return Function(function)


def inlined(function):
    """What is copied into kernels before it is compiled."""
    return Function(function, inline="always")
