"""`demitasse COMMAND` knows every command of the packages, and passes their exit status on."""

import re
from importlib import import_module

import pytest

from demitasse import __version__
from demitasse.__main__ import COMMANDS, main


def names_of(parser):
    """The commands that a package's parser lists in its --help."""
    return set(re.findall(r"^    ([a-z]\w*)(?: |$)", parser, re.MULTILINE))


@pytest.mark.parametrize("package", ["solver", "netdef", "models"])
def test_every_command_is_reached(package, capsys):
    with pytest.raises(SystemExit):
        import_module(f"demitasse.{package}.__main__").main(["--help"])
    listed = names_of(capsys.readouterr().out.partition("COMMAND\n")[2])
    assert listed == {command for owner, command, _ in COMMANDS.values() if owner == package}


@pytest.mark.parametrize("word", ["--version", "-V", "version"])
def test_version(word, capsys):
    assert main([word]) == 0
    assert capsys.readouterr().out == f"demitasse {__version__}\n"


def test_unknown_command(capsys):
    assert main(["trian", "x"]) == 2
    err = capsys.readouterr().err
    assert "unknown command 'trian'" in err and "did you mean 'train'" in err and err.count("\n") == 1


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name}" in out for name in COMMANDS)


def test_a_command_runs(capsys):
    assert main(["types"]) == 0
    assert "Deconvolution" in capsys.readouterr().out
