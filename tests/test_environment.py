"""A Python that is too old, or that lacks what Demitasse needs, is told so in one line that names the remedy."""

import sys

import pytest

from demitasse import environment


@pytest.fixture
def root(tmp_path):
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


@pytest.mark.parametrize("words", [["{root}/solver/__main__.py"], ["-m"]])
def test_a_command_ends_with_that_line(root, monkeypatch, capsys, words):
    monkeypatch.setattr(environment, "NEEDED", ("not_there",))
    monkeypatch.setattr(sys, "argv", [word.format(root=root) for word in words])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "demitasse", "train"])
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
