"""Where the machine code of kernels is kept on disk: a file for each kernel and kinds of arguments; how it is loaded.

The name of a file tells of which sources it is, so that a kernel is made anew when one of them changes, and only then.
Some files come along for levels of processors (processor.py); what they lack is made once and kept in a cache.  Both
can always be missing: what is damaged is made and written anew, what cannot be written is made in every process.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from demitasse.layers.backend.cpu import processor

PACKAGE = Path(__file__).parent
SHIPPED = str(PACKAGE / "objects")
IMPORT = re.compile(r"^ *from demitasse\.layers\.backend\.cpu([.\w]*) import (\([^)]*\)|[^\n]*)", re.M)
NAME = re.compile(r"\w+")
DIGEST = hashlib.sha256().digest_size


@functools.cache
def _tell(message: str) -> None:
    """On stderr, once: a cache that fails costs time, and nothing else."""
    print(f"demitasse: {message}", file=sys.stderr, flush=True)


@functools.cache
def folder() -> str | None:
    """Where machine code is kept: a folder per compiler and processor; None if none can be written.

    DEMITASSE_CACHE names another place than the user's cache folder.
    """
    machine = llvmlite.__version__, *processor.name_and_features(), f"{object.__basicsize__}"
    name = hashlib.sha256(" ".join(machine).encode()).hexdigest()[:16]
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


@functools.cache
def _modules() -> dict[str, str]:
    """The files of this package, by the names that follow the package's own in imports: ".conv.plan"."""
    return {
        f"{folder[len(str(PACKAGE)) :]}/{name[:-3]}".replace(os.sep, ".").replace("/", "."): os.path.join(folder, name)
        for folder, _, names in os.walk(PACKAGE)
        for name in names
        if name.endswith(".py")
    }


@functools.cache
def _text_and_imports(file: str) -> tuple[bytes, tuple[str, ...]]:
    """The text of a module, and the files of this package that it imports."""
    text, found = Path(file).read_bytes(), []
    for parent, names in IMPORT.findall(text.decode()):
        found += [_modules().get(name) for name in (parent, *(f"{parent}.{each}" for each in NAME.findall(names)))]
    return text, tuple(each for each in found if each)


@functools.cache
def _sources(file: str) -> str:
    """A digest of what the machine code of a file's kernels depends on: its text, and that of all it imports."""
    found, todo = {}, [file]
    while todo:
        path = todo.pop()
        if path not in found:
            found[path], imports = _text_and_imports(path)
            todo += imports
    return hashlib.sha256(b"".join(found[path] for path in sorted(found))).hexdigest()[:16]


@functools.cache
def shipped() -> str | None:
    """The folder of what comes along for this processor's level, whether there is one or not.

    Machine code does not need the compiler that has made it, so any Numba's will do: it calls the C library, and reads
    array objects as NumPy's C interface has them, behind a head whose size is in the folder's name.
    """
    level = processor.level()
    return level and os.path.join(SHIPPED, f"{level}-{sys.platform}-{object.__basicsize__}")


_only_compiled: set[str] | None = None  # the names of the files that this process needs


def only_compile() -> None:
    """For the rest of this process: kernels are compiled into the folder of what is shipped, and compute nothing.

    ValueError where no level of processors is chosen.
    """
    global _only_compiled
    if processor.chosen() not in processor.LEVELS:
        raise ValueError("choose a level of processors by DEMITASSE_PROCESSOR")
    _only_compiled = set()
    os.makedirs(shipped(), exist_ok=True)


def remove_others() -> None:
    """After only_compile: remove the files that this process did not need, of what the sources were once."""
    for name in set(os.listdir(shipped())) - _only_compiled:
        os.remove(os.path.join(shipped(), name))


def address_of(kernel, kinds: tuple) -> int | None:
    """Where the machine code of a kernel for those kinds of arguments is, loaded or made; None after only_compile."""
    module = kernel.__module__.rpartition(".")[2]
    symbol = f"{module}.{kernel.__name__}-{hashlib.sha256(_text(kinds).encode()).hexdigest()[:16]}"
    name = f"{symbol}-{_sources(kernel.py_func.__code__.co_filename)}"
    code = _read(os.path.join(shipped(), name)) if shipped() else None
    if _only_compiled is not None:
        _only_compiled.add(name)
        if not code:
            _write(os.path.join(shipped(), name), _make(kernel, kinds, symbol))
            os.chmod(os.path.join(shipped(), name), 0o644)  # whoever installs it
        return None
    code = code or _kept(name) or _made(kernel, kinds, symbol, name)
    processor.require_chosen()
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine.get_function_address(symbol)


def _kept(name):
    return folder() and _read(os.path.join(folder(), name))


def _made(kernel, kinds, symbol, name):
    code = _make(kernel, kinds, symbol)
    if folder():
        _write(os.path.join(folder(), name), code)
    return code


def _text(kind) -> str:
    """A name for kinds of arguments which is the same in every process."""
    if isinstance(kind, tuple):
        return f"({', '.join(map(_text, kind))})"
    if isinstance(kind, type):
        return f"{kind.__module__}.{kind.__qualname__}{getattr(kind, '_fields', '')}"
    return repr(kind)


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


def _make(kernel, kinds, symbol):
    with _patience:
        from demitasse.layers.backend.cpu import compiler

        return compiler.object_code(kernel, kinds, symbol)


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
