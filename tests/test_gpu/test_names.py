"""Every name that the code for both devices takes from `xp` exists in CuPy, also in lines that no test runs.

The names that tests run through are checked as they run (device_array.py).
"""

import re
from pathlib import Path

import pytest

from tests.test_gpu.device_array import cupy_names

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*ROOT.glob("layers/*.py"), ROOT / "layers/backend/base.py", ROOT / "layers/backend/gpu.py",
           *ROOT.glob("layers/backend/gpu_conv*.py"), *ROOT.glob("netdef/*.py"), ROOT / "solver/updates.py",
           ROOT / "solver/watch.py"]  # fmt: skip
USED = re.compile(r"\bxp\.((?:lib\.stride_tricks\.)?\w+)")


def used():
    return {(path.name, name) for path in SOURCES for name in USED.findall(path.read_text())}


def test_names_are_in_cupy():
    assert len(used()) > 40
    known = cupy_names()
    for file, name in sorted(used()):
        module, _, last = name.rpartition(".")
        assert last in known[f"cupy.{module}" if module else "cupy"], f"{file}: cupy has no {name}"


def test_the_list_is_that_of_the_installed_cupy():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    for prefix, names in cupy_names().items():
        thing = cupy
        for part in prefix.split(".")[1:]:
            thing = getattr(thing, part)
        used_here = {name.rpartition(".")[2] for _, name in used()} & names
        assert [name for name in used_here if not hasattr(thing, name)] == []
