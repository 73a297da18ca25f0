"""How large a file, a function and a list of parameters may be; what is larger is listed here with its reason."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINES_OF_A_FILE, LINES_OF_A_FUNCTION, PARAMETERS = 300, 60, 10

HOT = "an intrinsic of ten arguments, as Numba calls it: with its typing context"
PUBLIC = "what a user types, by keyword only; the rest of it has defaults"

FILES: dict[str, str] = {}
FUNCTIONS: dict[str, str] = {}
SIGNATURES = {
    "layers/backend/cpu/simd_pooling.py max_tile": HOT,
    "models/commands/convert_imageset.py convert_imageset": PUBLIC,
    "models/fcn.py fcn": PUBLIC,
    "netdef/net.py __init__": PUBLIC,
    "solver/solver.py __init__": PUBLIC,
}


def _python_files():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"], cwd=ROOT, capture_output=True, text=True
    )
    files = [ROOT / name for name in listed.stdout.split("\n") if name]
    if listed.returncode:  # a copy without git
        files = [path for path in ROOT.rglob("*.py") if not any(part.startswith(".") for part in path.parts)]
    return [path for path in files if path.is_file()]


def _parameters(arguments: ast.arguments) -> int:
    named = [*arguments.posonlyargs, *arguments.args]
    count = len(named) + len(arguments.kwonlyargs) + bool(arguments.vararg) + bool(arguments.kwarg)
    return count - (bool(named) and named[0].arg in ("self", "cls"))


@pytest.fixture(scope="module")
def sizes():
    """({file: lines}, {file and function: lines}, {file and function: parameters})."""
    files, functions, signatures = {}, {}, {}
    for path in _python_files():
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        files[name] = text.count("\n")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                key = f"{name} {node.name}"
                functions[key] = max(functions.get(key, 0), node.end_lineno - node.lineno + 1)
                signatures[key] = max(signatures.get(key, 0), _parameters(node.args))
    return files, functions, signatures


@pytest.mark.parametrize(
    "kind, limit, exceptions",
    [(0, LINES_OF_A_FILE, FILES), (1, LINES_OF_A_FUNCTION, FUNCTIONS), (2, PARAMETERS, SIGNATURES)],
    ids=["lines of a file", "lines of a function", "parameters"],
)
def test_nothing_is_too_large(sizes, kind, limit, exceptions):
    above = {name: size for name, size in sizes[kind].items() if size > limit}
    new = {name: size for name, size in above.items() if name not in exceptions}
    assert not new, f"above {limit}: split it where that reads better, or list it with a reason"
    stale = sorted(set(exceptions) - set(above))
    assert not stale, f"not above {limit}, or not there any more: strike it off the list"
