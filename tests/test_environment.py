"""A Python that is too old, or that lacks what Demitasse needs, is told so in one line that names the remedy."""

import ast
import builtins
import sys
from pathlib import Path

import pytest

from demitasse import environment
from demitasse.layers.backend import make_backend
from demitasse.proto.cli import error_line

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout/setup.py").touch()
    return str(tmp_path / "checkout")


def test_what_is_missing_is_named_with_the_remedy(root, monkeypatch):
    monkeypatch.setattr(environment, "NEEDED", ("numpy", "not_there", "google.not_there", "not_there.below"))
    with pytest.raises(ImportError) as told:
        environment.require(root)
    said = str(told.value)
    assert said.startswith(f"Demitasse needs not_there, google.not_there, not_there.below, which {sys.executable} ")
    assert f"`make` in {root} sets up" in said and f"pip install {root}" in said and "\n" not in said


def test_an_environment_that_is_there_is_to_be_activated(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "NEEDED", ("not_there",))
    activate = tmp_path / ".venv/bin/activate"
    activate.parent.mkdir(parents=True)
    activate.write_text("")
    with pytest.raises(ImportError, match=f"activate it by . {activate}"):
        environment.require(str(tmp_path))


def test_a_python_that_is_too_old_is_named(root, monkeypatch):
    monkeypatch.setattr(environment, "OLDEST", (99, 1))
    with pytest.raises(ImportError, match="needs Python 99.1 or newer, but .* is Python 3"):
        environment.require(root)


def test_an_installation_has_no_make(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "NEEDED", ("not_there",))
    with pytest.raises(ImportError, match="not_there, which .* does not have; install Demitasse anew by pip"):
        environment.require(str(tmp_path))


@pytest.mark.parametrize("package", ["demitasse", "caffe", "solver"])
@pytest.mark.parametrize("words", [["{root}/solver/__main__.py"], ["-m"], ["/usr/bin/caffe"]])
def test_a_command_ends_with_that_line(root, monkeypatch, capsys, words, package):
    monkeypatch.setattr(environment, "NEEDED", ("not_there",))
    monkeypatch.setattr(sys, "argv", [word.format(root=root) for word in words])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", package, "train"])
    with pytest.raises(SystemExit) as stop:
        environment.require(root)
    err = capsys.readouterr().err
    assert stop.value.code == 2 and err.startswith("Demitasse needs not_there") and err.count("\n") == 1


def test_a_program_that_imports_us_gets_an_import_error(root, monkeypatch):
    monkeypatch.setattr(environment, "NEEDED", ("not_there",))
    monkeypatch.setattr(sys, "argv", ["-m"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "theirs"])
    with pytest.raises(ImportError):
        environment.require(root)


def test_the_cpu_without_numba(monkeypatch):
    def find(name, *given, found=builtins.__import__):
        if name.startswith("demitasse.layers.backend.cpu"):
            raise ModuleNotFoundError("No module named 'llvmlite'", name="llvmlite")
        return found(name, *given)

    monkeypatch.setattr(builtins, "__import__", find)
    with pytest.raises(ImportError, match=f"^Demitasse needs numba, which {sys.executable} does not have; ") as told:
        make_backend("cpu")
    assert error_line(told.value) == str(told.value)  # so a command tells it, too
    assert error_line(ImportError("another's", name="another")) is None


@pytest.mark.parametrize("name", ["demitasse/environment.py", "demitasse/__init__.py", "solver/__init__.py"])
def test_what_an_old_python_reads_has_no_new_syntax(name):
    """Python 2.7 and 3.6 get as far as the line that says what is needed."""
    for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
        assert not isinstance(node, (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr)), f"line {node.lineno}"
        assert getattr(node, "annotation", None) is None and getattr(node, "returns", None) is None, node.name
        assert not isinstance(node, ast.ImportFrom) or node.module not in ("__future__", "pathlib"), node.module
