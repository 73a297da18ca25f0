"""The type checker has nothing to say of the packages that everything else stands on."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")
ROOT = Path(__file__).resolve().parents[1]
CHECKED = ["demitasse.proto", "demitasse.netdef", "demitasse.solver", "demitasse.layers.backend.contract"]
SELF = ("self", "cls")


@pytest.fixture
def installed(tmp_path):
    """A folder that looks like an installation: the packages below `demitasse`, as links to those of the checkout."""
    package = tmp_path / "demitasse"
    package.mkdir()
    for path in (ROOT / "demitasse").iterdir():
        (package / path.name).symlink_to(path)
    for name in ("proto", "layers", "netdef", "solver", "models"):
        (package / name).symlink_to(ROOT / name)
    (tmp_path / "caffe").symlink_to(ROOT / "caffe")
    return tmp_path


def checked(folder, *words):
    """What mypy says in a folder."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        ROOT / "pyproject.toml",
        "--cache-dir",
        ROOT / ".mypy_cache",
    ]
    environment = {**os.environ, "MYPYPATH": ""}
    return subprocess.run(
        [*command, *words], cwd=folder, capture_output=True, text=True, timeout=300, env=environment
    ).stdout


def test_types(installed):
    packages = [word for package in CHECKED for word in ("-p", package)]
    assert checked(installed, *packages).startswith("Success")


def test_a_user_s_mistakes_in_a_net_are_seen_before_it_runs(installed):
    (installed / "user.py").write_text(
        "from demitasse.netdef.spec import L, NetSpec, P\n"
        "import caffe\n"
        "n = NetSpec()\n"
        "n.data = L.Input(shape=dict(dim=[1, 3, 8, 8]))\n"
        "n.conv = L.Convolution(n.data, num_output=3, kernel_size=3, bias_filler=dict(type='xavier'))\n"
        "n.pool = caffe.layers.Pooling(n.conv, pool=P.Pooling.MAX, stride=2)\n"
        "n.a = caffe.layers.Convolution(n.data, num_outptu=3)\n"
        "n.b = L.Convoluton(n.data)\n"
        "n.c = P.Pooling.MXA\n"
    )
    lines = [line for line in checked(installed, "user.py").splitlines() if ": error:" in line]
    assert [line.split(":")[1] for line in lines] == ["7", "8", "9"], lines
    assert 'did you mean "num_output"?' in lines[0]


def unannotated(path):
    """The public functions and methods of a file that leave out the type of a parameter or of what they return."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module) or isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for function in node.body:
                if isinstance(function, ast.FunctionDef) and not function.name.startswith("_"):
                    given = function.args
                    words = [a for a in (*given.posonlyargs, *given.args, *given.kwonlyargs) if a.arg not in SELF]
                    if function.returns is None or any(word.annotation is None for word in words):
                        yield f"{path.relative_to(ROOT)}:{function.lineno}: {function.name}"


@pytest.mark.parametrize("package", CHECKED)
def test_public_functions_say_what_they_take_and_give(package):
    folder = ROOT.joinpath(*package.split(".")[1:])
    assert [line for path in sorted(folder.rglob("*.py")) for line in unannotated(path)] == []
