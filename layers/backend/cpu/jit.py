"""How a CPU kernel is compiled, by Numba at its first call, and where its machine code is kept."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

DIGEST = hashlib.sha256().digest_size


@functools.cache
def _tell(message: str) -> None:
    """On stderr, once: a cache that fails costs time, and nothing else."""
    print(f"demitasse: {message}", file=sys.stderr, flush=True)


@functools.cache
def _cache_folder() -> str | None:
    """Where compiled kernels are kept: one folder per state of these sources; None if no folder can be written.

    DEMITASSE_CACHE names another place than the user's cache folder.
    """
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py")))
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
    _tell("compiled kernels are not kept, no folder can be written: name one in DEMITASSE_CACHE")
    return None


class _Patience:
    """How long kernels have been compiling; a person who waits more than a second is told why."""

    def __init__(self):
        self.spent = 0.0  # seconds in kernels that are done
        self.begun: list[float] = []  # when those that are being compiled were, one inside the other

    def begin(self) -> None:
        now = time.perf_counter()
        self.begun.append(now)
        if self.spent + now - self.begun[0] > 1 and sys.stderr.isatty():
            _tell("compiling kernels for this machine, once: the first run takes some seconds longer")

    def end(self) -> None:
        begun = self.begun.pop() if self.begun else time.perf_counter()
        if not self.begun:
            self.spent += time.perf_counter() - begun


_patience = _Patience()


class _CacheFile(IndexDataCacheFile):
    """Files with a digest at their end: machine code that was cut off or changed is never run."""

    def _load_data(self, name):
        text = Path(self._data_path(name)).read_bytes()
        if hashlib.sha256(text[:-DIGEST]).digest() != text[-DIGEST:]:
            raise ValueError(f"{name} is damaged")
        return super()._load_data(name)  # which reads no further than its own end

    def _save_data(self, name, data):
        data = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(data + hashlib.sha256(data).digest())


class _Cache(FunctionCache):
    """A cache that can always be missing: what is damaged is compiled and written anew, what cannot be written is
    compiled in every process."""

    def __init__(self, function):
        super().__init__(function)
        own = self._cache_file
        self._cache_file = _CacheFile(own._cache_path, own._index_name.removesuffix(".nbi"), own._source_stamp)

    def load_overload(self, sig, target_context):
        try:
            found = super().load_overload(sig, target_context)
        except Exception as fault:  # whatever a damaged file leads to
            if not isinstance(fault, OSError):
                _tell(f"compiling kernels anew: files in {self._cache_path} are damaged")
            self._write(self.flush)
            found = None
        if found is None:
            _patience.begin()
        return found

    def save_overload(self, sig, data):
        self._write(super().save_overload, sig, data)
        _patience.end()

    def _write(self, function, *args):
        try:
            function(*args)
        except Exception as fault:
            reason = getattr(fault, "strerror", None) or type(fault).__name__
            _tell(
                f"compiled kernels are not kept, {self._cache_path} cannot be written ({reason}): make room there, "
                "or name another folder in DEMITASSE_CACHE"
            )


def _compiled(function, freedom, inner=False):
    # Without NRT there are no references to count, in every view of an array, and none that could be kept for ever.
    # Wrappers for callers in Python and C are a third of the compiler's work.
    options = {"nogil": True, "error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True}
    dispatcher = numba.njit(fastmath=freedom, no_cpython_wrapper=inner, **options)(function)
    folder, before = _cache_folder(), numba.config.CACHE_DIR
    if folder:
        try:
            numba.config.CACHE_DIR = folder
            dispatcher._cache = _Cache(function)
        finally:
            numba.config.CACHE_DIR = before
    return dispatcher


REAL, SUMS = {"contract", "nsz"}, {"contract", "nsz", "reassoc"}  # what may be changed about floating point


def kernel(function):
    """Compile at the first call, for the types of that call, and keep the machine code on disk."""
    return _compiled(function, REAL)


def exact_kernel(function):
    """A kernel whose floating point is NumPy's to the bit: for decisions that must not depend on the device."""
    return _compiled(function, False)


def inner_kernel(function):
    """A kernel that only other kernels call."""
    return _compiled(function, REAL, inner=True)


def kernel_of_sums(function):
    """A kernel whose sums may be regrouped into vectors: the same bits on every run, not on every processor."""
    return _compiled(function, SUMS)


def inner_kernel_of_sums(function):
    """A kernel_of_sums that only other kernels call."""
    return _compiled(function, SUMS, inner=True)
