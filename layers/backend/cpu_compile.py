"""How a CPU kernel is compiled, by Numba at its first call, and where its machine code is kept."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from pathlib import Path

import numba


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
