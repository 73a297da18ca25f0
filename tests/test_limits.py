"""How large a file, a function and a list of parameters may be; what is larger is listed here with its reason."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINES_OF_A_FILE, LINES_OF_A_FUNCTION, PARAMETERS = 300, 60, 10

HOT = "a Numba kernel's inner call: sizes and strides stay in registers, which a tuple of them would not"
PUBLIC = "what a user types, by keyword only; the rest of it has defaults"
CASES = "short cases about one subject, which are looked up side by side"

FILES = {
    "tests/test_gpu/test_images.py": CASES,
    "tests/test_layers/test_cpu_backend.py": CASES,
    "tests/test_layers/test_data_databases.py": CASES,
    "tests/test_layers/test_python_layer.py": CASES,
    "tests/test_models/test_commands.py": CASES,
    "tests/test_models/test_data_layers.py": CASES,
    "tests/test_netdef/test_net.py": CASES,
    "tests/test_proto/test_weights.py": CASES,
    "tests/test_proto/test_weights_faults.py": CASES,
    "tests/test_solver/test_command_line.py": CASES,
    "tests/test_solver/test_diagnostics.py": CASES,
}
FUNCTIONS: dict[str, str] = {}
SIGNATURES = {
    "benchmarks/gpu.py compare": "a table's columns: the options of one command",
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
