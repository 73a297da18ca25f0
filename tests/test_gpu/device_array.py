"""A pretend device: arrays that live in host memory but refuse to meet host arrays, as CuPy's do.

`xp` stands in for the cupy module.  Whatever mixes a DeviceArray with a NumPy array (NumPy scalars may), or turns
one into the other without be.asarray and be.to_host, raises TypeError.  A Tape records what is done with them, as
capturing a stream does.
"""

from __future__ import annotations

import functools
import operator
import re
import types
from pathlib import Path

import numpy as np

PRODUCTS = (np.matmul, np.dot, np.vdot, np.tensordot, np.einsum)
COPIES = (np.array, np.asarray, np.lib.stride_tricks.sliding_window_view)  # CuPy's view copies its shape to the device
NUMPY_ONLY = {"initial", "where"}  # of reductions


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """Behaves like a cupy.ndarray; reductions give arrays of shape (), as there."""

    __array_priority__ = 1000
    waits = 0  # how often the host would have waited for the device, all arrays together

    def __init__(self, host: np.ndarray):
        self._host = host

    def __array__(self, dtype=None, copy=None):
        raise TypeError("a device array was turned into a host array without be.to_host")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        inputs = [_bare(value) for value in inputs]
        if out is not None:
            options["out"] = tuple(_bare(value) for value in out)
        result = _do(getattr(ufunc, method), inputs, options)
        return out[0] if out is not None else _wrapped(result)

    def __array_function__(self, function, kinds, args, options):
        return _wrapped(_do(function, _bare(args), _bare(options)))

    def __getattr__(self, name):
        if name not in cupy_names()["cupy.ndarray"]:
            raise AttributeError(f"a cupy.ndarray has no {name}")
        found = getattr(self._host, name)
        return _calling(found, self._host) if callable(found) else _wrapped(found)

    def __getitem__(self, key):
        if any(isinstance(part, DeviceArray) and part.dtype == bool for part in _parts(key)):
            _waits()  # how many it picks decides the answer's shape
        return DeviceArray(np.asarray(_do(operator.getitem, [self._host, _bare_key(key)])))

    def __setitem__(self, key, value):
        _do(operator.setitem, [self._host, _bare_key(key), _bare(value)])

    @property
    def data(self):
        """As cupy's: an object whose `ptr` is the address."""
        return types.SimpleNamespace(ptr=self._host.ctypes.data)

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return bool(_waits(self._host))

    def __float__(self):
        return float(_waits(self._host))

    def __int__(self):
        return int(_waits(self._host))

    def item(self):
        return _waits(self._host).item()

    def tolist(self):
        return _waits(self._host).tolist()

    def get(self):
        return _waits(self._host).copy()

    def __repr__(self):
        return f"DeviceArray({self._host!r})"


def _bare(value):
    """The host array inside; TypeError for an array that is on the host already."""
    if isinstance(value, DeviceArray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"a host array of shape {value.shape} met a device array")
    if isinstance(value, (list, tuple)):
        return type(value)(_bare(item) for item in value)
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items()}
    return value


def _waits(host=None):
    """What it is given; on a device the host would wait for it."""
    refuse_to_record("a wait for the device")
    DeviceArray.waits += 1
    return host


def _parts(key):
    return key if isinstance(key, tuple) else (key,)


def _bare_key(key):
    if any(isinstance(part, list) for part in _parts(key)):
        refuse_to_record("an index from the host")
    return tuple(map(_bare, key)) if isinstance(key, tuple) else _bare(key)


def _wrapped(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return DeviceArray(np.asarray(value))
    if isinstance(value, (tuple, list)) and any(isinstance(item, np.ndarray) for item in value):
        return type(value)(_wrapped(item) for item in value)
    return value


def _calling(function, owner=None):
    def call(*args, **options):
        if unknown := NUMPY_ONLY & options.keys():
            raise TypeError(f"CuPy's {function.__name__} has no {', '.join(unknown)}")
        if function in PRODUCTS:
            refuse_to_record("cuBLAS")
        if function in COPIES and not (args and isinstance(args[0], DeviceArray) and function is not COPIES[2]):
            refuse_to_record("a copy from the host")
        return _wrapped(_do(function, _bare(args), _bare(options), owner))

    for method in ("at", "reduce", "accumulate"):  # of the ufuncs: xp.add.at
        if isinstance(function, np.ufunc):
            setattr(call, method, _calling(getattr(function, method)))
    return call


class Tape:
    """Notes what is done with pretend arrays, to do it again.  What is done while it runs counts as not done: at the
    end, arrays that were there before are as they were, and those made meanwhile hold rubbish."""

    running: Tape | None = None

    def record(self, work):
        """(work(), a function that does it again, in the same arrays)."""
        self.jobs, self.before, self.made = [], {}, {}
        Tape.running = self
        try:
            with np.errstate(all="ignore"):  # some of what is computed now is of rubbish
                result = work()
        finally:
            Tape.running = None
            for array, content in self.before.values():
                array[...] = content
            for array in self.made.values():
                array.view(np.uint8).fill(0xDB) if array.flags.c_contiguous and array.ndim else array.fill(77)
        jobs, alive = self.jobs, self.made

        def again():
            assert alive is not None  # the memory of everything made
            for job in jobs:
                job()

        return result, again

    def touch(self, arrays) -> None:
        """These arrays, which are there already, may be about to change."""
        for array in map(_owner, arrays):
            if array.flags.writeable and id(array) not in self.made and id(array) not in self.before:
                self.before[id(array)] = array, array.copy()

    def do(self, function, args, options, owner):
        known = list(_arrays([args, options, owner]))
        self.touch(known)
        result = _no_scalars(function(*args, **options))
        places = [
            i
            for i, array in enumerate(_arrays(result))
            if not any(np.may_share_memory(array, there) for there in known)
        ]  # others are views
        made = [array for i, array in enumerate(_arrays(result)) if i in places]
        self.made |= {id(_owner(array)): _owner(array) for array in made}

        def again():
            results = list(_arrays(_no_scalars(function(*args, **options))))
            for array, place in zip(made, places, strict=True):
                array[...] = results[place]

        self.jobs.append(again)
        return result


def refuse_to_record(what: str) -> None:
    """As CuPy, which raises where a stream that captures meets what cannot be captured."""
    if Tape.running is not None:
        raise RuntimeError(f"the current stream is capturing: {what}")


def _do(function, args, options=None, owner=None):
    """function(*args, **options), noted if something is being recorded; all arrays bare."""
    if Tape.running is None:
        return function(*args, **options or {})
    return Tape.running.do(function, args, options or {}, owner)


def _no_scalars(value):
    """The same with arrays of shape () for NumPy's scalars."""
    if isinstance(value, tuple):
        return tuple(map(_no_scalars, value))
    return np.asarray(value) if isinstance(value, np.generic) else value


def _arrays(value):
    """All host arrays in it."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        yield from _arrays(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _arrays(item)


def _owner(array):
    """The array that has the memory of this one."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


@functools.cache
def cupy_names() -> dict[str, set[str]]:
    """{"cupy", "cupy.ndarray", "cupy.lib.stride_tricks": the public names there} of cupy_names.txt."""
    names: dict[str, set[str]] = {}
    for word in re.sub("(?m)^#.*", "", Path(__file__).with_name("cupy_names.txt").read_text()).split():
        if word.endswith(":"):
            here = names.setdefault(word[:-1], set())
        else:
            here.add(word)
    return names


class _Namespace:
    """numpy's functions on device arrays, those that cupy has too; asarray and array take host arrays in, as there."""

    def __init__(self, module, name="cupy"):
        self._module, self._name = module, name

    def __getattr__(self, name):
        if name not in cupy_names().get(self._name, {name}):
            raise AttributeError(f"{self._name} has no {name}")
        found = getattr(self._module, name)
        if isinstance(found, types.ModuleType):
            return _Namespace(found, f"{self._name}.{name}")
        if isinstance(found, type) or not callable(found):
            return found
        return _calling(found)

    ndarray = DeviceArray
    cuda = types.SimpleNamespace(get_current_stream=lambda: types.SimpleNamespace(ptr=0))

    @staticmethod
    def asarray(value, dtype=None):
        if not isinstance(value, DeviceArray):
            refuse_to_record("an array from the host")
            return DeviceArray(np.asarray(value, dtype=dtype))
        return DeviceArray(_do(np.asarray, [value._host], {"dtype": dtype}))

    @staticmethod
    def array(value, dtype=None, copy=True, order="K"):
        if not isinstance(value, DeviceArray):
            refuse_to_record("an array from the host")
            return DeviceArray(np.array(value, dtype=dtype, order=order))
        return DeviceArray(_do(np.array, [value._host], {"dtype": dtype, "copy": copy, "order": order}))


xp = _Namespace(np)
