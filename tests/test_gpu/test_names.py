"""Every name that the code for both devices takes from `xp` exists in CuPy, also in lines that no test runs.

The names that tests run through are checked as they run (device_array.py).
"""

import importlib
import re
from pathlib import Path

import pytest

from tests.test_gpu.device_array import cupy_names

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    *ROOT.glob("layers/*.py"),
    *ROOT.glob("layers/backend/reference/*.py"),
    *ROOT.glob("layers/backend/gpu/*.py"),
    *ROOT.glob("netdef/*.py"),
    ROOT / "solver/diagnostics.py",
]
USED = re.compile(r"\bxp\.((?:lib\.stride_tricks\.)?\w+)")


def used():
    return {(path.name, name) for path in SOURCES for name in USED.findall(path.read_text())}


def test_names_are_in_cupy():
    assert len(used()) > 40
    known = cupy_names()
    for file, name in sorted(used()):
        module, _, last = name.rpartition(".")
        assert last in known[f"cupy.{module}" if module else "cupy"], f"{file}: cupy has no {name}"


DEVICE_SOURCES = [*ROOT.glob("layers/backend/gpu/*.py"), ROOT / "benchmarks/gpu.py", ROOT / "solver/timing.py"]
DOTTED = re.compile(r"\b(?:cupy|xp)\.(cuda(?:\.[a-z]\w*)*)\.(\w+)|(?<!\.)\b(cublas|nccl)\.(?!py\b)(\w+)")


def test_what_the_runtime_asks_of_cuda_is_in_cupy():
    """cublas and nccl are also local names of cupy.cuda's modules."""
    known, found = cupy_names(), set()
    for path in DEVICE_SOURCES:
        for module, name, local, member in DOTTED.findall(path.read_text()):
            module = f"cupy.{module or f'cuda.{local}'}"
            found.add((module, name or member))
            assert (name or member) in known.get(module, set()), f"{path.name}: {module} has no {name or member}"
    assert len(found) > 12


def test_the_list_is_that_of_the_installed_cupy():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    importlib.import_module("cupy.cuda.nccl")
    for prefix, names in cupy_names().items():
        thing = importlib.import_module("cupyx") if prefix == "cupyx" else cupy
        for part in prefix.split(".")[1:]:
            thing = getattr(thing, part)
        if "." not in prefix or prefix in ("cupy.ndarray", "cupy.lib.stride_tricks"):
            names = {name.rpartition(".")[2] for _, name in used()} & names
        instance = {"ptr"} if prefix == "cupy.cuda.Stream" else set()  # what an object has, its class has not
        if prefix == "cupy.cuda.nccl" and not thing.available:
            continue
        assert [name for name in names - instance if not hasattr(thing, name)] == [], prefix
