"""Where the machine code of kernels is kept on disk: a file for each kernel and kinds of arguments; how it is loaded.

A wheel may bring files for levels of processors (processor.py); what it lacks is made once and kept in a cache.  Both
can always be missing: what is damaged is made and written anew, what cannot be written is made in every process.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from demitasse.layers.backend.cpu import processor

SHIPPED = os.path.join(os.path.dirname(__file__), "objects")
DIGEST = hashlib.sha256().digest_size


@functools.cache
def _tell(message: str) -> None:
    """On stderr, once: a cache that fails costs time, and nothing else."""
    print(f"demitasse: {message}", file=sys.stderr, flush=True)


@functools.cache
def folder() -> str | None:
    """Where machine code is kept: a folder per state of these sources and processor; None if none can be written.

    DEMITASSE_CACHE names another place than the user's cache folder.
    """
    name = _name(llvmlite.__version__, *processor.name_and_features())
    places = [
        os.environ.get("DEMITASSE_CACHE"),
        os.environ.get("XDG_CACHE_HOME"),
        os.path.expanduser("~/.cache"),
        os.path.join(tempfile.gettempdir(), f"demitasse-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"),
    ]
    for place in places:
        if not place:
            continue
        path = os.path.join(place, "demitasse", name)
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            if hasattr(os, "getuid") and any(os.stat(part).st_uid != os.getuid() for part in (place, path)):
                continue  # what is loaded from there is run
            with tempfile.TemporaryFile(dir=path):
                return path
        except OSError:
            continue
    _tell("compiled kernels are not kept, no folder can be written: name one in DEMITASSE_CACHE")
    return None


def _name(*machine: str) -> str:
    """Of a folder: these sources and what else the machine code depends on."""
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py")))
    return hashlib.sha256(sources + " ".join(machine).encode()).hexdigest()[:16]


@functools.cache
def shipped() -> str | None:
    """The folder that wheels have for this processor's level, whether there is one or not.

    Machine code does not need the compiler that has made it: only what it finds in memory, Python's objects, counts.
    """
    level = processor.level()
    return level and os.path.join(SHIPPED, _name(level, sys.platform, f"{object.__basicsize__}"))


_only_compiled_into: str | None = None


def only_compile() -> None:
    """For the rest of this process: kernels are compiled into the folder of what is shipped, and compute nothing.

    ValueError where no level of processors is chosen.
    """
    global _only_compiled_into
    if processor.chosen() is None:
        raise ValueError("choose a level of processors by DEMITASSE_PROCESSOR")
    _only_compiled_into = shipped()
    os.makedirs(_only_compiled_into, exist_ok=True)


def address_of(kernel, kinds: tuple) -> int | None:
    """Where the machine code of a kernel for those kinds of arguments is, loaded or made; None after only_compile."""
    module = kernel.__module__.rpartition(".")[2]
    name = f"{module}.{kernel.__name__}-{hashlib.sha256(_text(kinds).encode()).hexdigest()[:16]}"
    if _only_compiled_into:
        path = Path(_only_compiled_into, name)
        if not path.exists():
            path.write_bytes(_sealed(_make(kernel, kinds, name)))
        return None
    code = _read(os.path.join(shipped(), name)) if shipped() else None
    if not code:
        code = _kept(name) or _made(kernel, kinds, name)
    processor.require_chosen()
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine.get_function_address(name)


def _kept(name):
    return folder() and _read(os.path.join(folder(), name))


def _made(kernel, kinds, name):
    code = _make(kernel, kinds, name)
    if folder():
        _write(os.path.join(folder(), name), code)
    return code


def _text(kind) -> str:
    """A name for kinds of arguments which is the same in every process."""
    if isinstance(kind, tuple):
        return f"({', '.join(map(_text, kind))})"
    return f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else repr(kind)


@functools.cache
def target_machine():
    """LLVM's description of this processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = processor.name_and_features()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=name, features=features, opt=3, jit=True
    )


@functools.cache
def _engine():
    """What brings machine code into memory and links it with the C library."""
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), target_machine())


class _Patience:
    """Tells a person who waits for more than a second why."""

    def __init__(self):
        self.spent = 0.0  # seconds

    def __enter__(self):
        self.begun = time.perf_counter()
        if self.spent > 1 and sys.stderr.isatty():
            _tell("compiling kernels for this machine, once: the first run takes some seconds longer")

    def __exit__(self, *_):
        self.spent += time.perf_counter() - self.begun


_patience = _Patience()


def _make(kernel, kinds, name):
    with _patience:
        from demitasse.layers.backend.cpu import compiler

        return compiler.object_code(kernel, kinds, name)


def _read(path):
    """The code that was sealed and written there; None where it is missing or damaged."""
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as fault:
        return _tell(f"compiling kernels anew: files in {os.path.dirname(path)} cannot be read ({fault.strerror})")
    if hashlib.sha256(text[:-DIGEST]).digest() != text[-DIGEST:]:
        return _tell(f"compiling kernels anew: files in {os.path.dirname(path)} are damaged")
    return text[:-DIGEST]


def _sealed(code: bytes) -> bytes:
    """With a digest at the end: machine code that was cut off or changed is never run."""
    return code + hashlib.sha256(code).digest()


def _write(path, code):
    try:
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), delete=False) as file:
            file.write(_sealed(code))
        os.replace(file.name, path)
    except OSError as fault:
        _tell(
            f"compiled kernels are not kept, {os.path.dirname(path)} cannot be written ({fault.strerror}): make room "
            "there, or name another folder in DEMITASSE_CACHE"
        )
