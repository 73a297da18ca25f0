"""Machine code that comes along: made for a level of processors on any machine, used where that level is."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from demitasse.layers.backend.cpu import code_cache, processor
from demitasse.models import precompile
from demitasse.proto.errors import SolverFault

ROOT = Path(__file__).resolve().parents[2]
USE = """
import sys
import numpy as np
from demitasse.layers.backend.cpu import CpuBackend, code_cache
code_cache.SHIPPED = sys.argv[1]
if "compile" in sys.argv:
    code_cache.only_compile()
y = CpuBackend(threads=1).relu_forward(np.full(4, -2, np.float32), 0.5)
if "compile" not in sys.argv:
    assert y.tolist() == [-1] * 4
print("numba" in sys.modules)
"""
HERE = processor.level()
THERE = next(name for name in processor.LEVELS if name != HERE)  # code that is made here and never run


def use(shipped, cache, *args, level=""):
    """(whether Numba was needed, what was said on stderr)"""
    places = {"DEMITASSE_CACHE": str(cache), "DEMITASSE_PROCESSOR": level}
    done = subprocess.run(
        [sys.executable, "-c", USE, str(shipped), *args],
        cwd=ROOT,
        env=os.environ | places,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split() == ["True"], done.stderr


@pytest.mark.skipif(HERE is None, reason="this processor is of no level of x86-64")
def test_what_is_shipped_needs_neither_cache_nor_compiler(tmp_path):
    shipped, cache = tmp_path / "shipped", tmp_path / "cache"
    assert use(shipped, cache, "compile", level=HERE) == (True, "")
    assert use(shipped, cache, "compile", level=THERE) == (True, "")
    assert not cache.exists()
    (one, other) = shipped.iterdir()
    names = [path.name for path in one.iterdir()]
    assert names == [path.name for path in other.iterdir()] and "relu_forward" in names[0]
    assert use(shipped, cache) == (False, "")
    assert not list(cache.rglob("*relu*"))
    for path in shipped.rglob("*relu*"):
        path.write_bytes(path.read_bytes()[:-1])
    compiled, said = use(shipped, cache)
    assert compiled and "damaged" in said and len(list(cache.rglob("*relu*"))) == 1


@pytest.mark.skipif(HERE is None, reason="this processor is of no level of x86-64")
def test_what_the_repository_has_is_made_of_these_sources(tmp_path):
    use(tmp_path, tmp_path, "compile", level=HERE)
    (made,) = tmp_path.rglob("*relu_forward*")
    kept = Path(code_cache.SHIPPED, made.relative_to(tmp_path))
    versions = Path(code_cache.SHIPPED, "made-with.txt")
    if not kept.exists() or versions.read_text() != precompile.versions():
        pytest.skip("layers/backend/cpu/objects is of other sources or compilers: `make objects` makes it anew")
    assert made.read_bytes() == kept.read_bytes()


def test_a_kernel_depends_on_all_that_its_module_imports():
    package = "demitasse.layers.backend.cpu"
    for path in code_cache.PACKAGE.rglob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level)
            assert not isinstance(node, ast.Import) or all(package not in alias.name for alias in node.names)
            if isinstance(node, ast.ImportFrom) and node.module.startswith(package):
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        expected = {code_cache.PACKAGE / f"{name[len(package) + 1 :].replace('.', '/')}.py" for name in names}
        _, imports = code_cache._text_and_imports(str(path))
        assert set(imports) == {str(file) for file in expected if file.is_file()}


@pytest.mark.parametrize(
    "features, level",
    [
        ({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}, "x86-64-v4"),
        ({"avx512f"}, "x86-64-v3"),
        (set(), "x86-64-v3"),
    ],
)
def test_the_level_is_the_highest_of_which_nothing_is_missing(features, level, monkeypatch):
    monkeypatch.delenv("DEMITASSE_PROCESSOR", raising=False)
    has = processor.LEVELS["x86-64-v3"] | features
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: dict.fromkeys(has, True))
    assert processor.level.__wrapped__() == level
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: dict.fromkeys(has - {"fma"}, True))
    assert processor.level.__wrapped__() is None


def test_a_level_that_is_none_or_not_here(monkeypatch):
    monkeypatch.setenv("DEMITASSE_PROCESSOR", "znver9")
    with pytest.raises(SolverFault, match="=znver9: unset it, or name one of x86-64-v4, x86-64-v3, native"):
        processor.chosen.__wrapped__()
    monkeypatch.setattr(processor, "chosen", lambda: "native")
    assert processor.level.__wrapped__() is None
    processor.require_chosen()
    monkeypatch.setattr(processor, "chosen", lambda: "x86-64-v4")
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: dict.fromkeys(processor.LEVELS["x86-64-v3"], True))
    with pytest.raises(SolverFault, match="x86-64-v4: this processor lacks avx512bw, avx512cd, .*: unset it"):
        processor.require_chosen()
