"""`demitasse COMMAND` knows every command of the packages, and passes their exit status on."""

import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import demitasse
from demitasse import __version__
from demitasse.__main__ import COMMANDS, ELSEWHERE, caffe, main

ROOT = Path(__file__).resolve().parents[1]


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


@pytest.mark.parametrize(
    "run, word, told",
    [
        (caffe, "convert_imageset", "a command of demitasse: demitasse convert_imageset"),
        (caffe, "draw_net", "a command of demitasse: demitasse draw"),
        (main, "upgrade_net_proto_text", "is called upgrade here"),
        (main, "export", "demitasse convert"),
    ],
)
def test_a_name_from_elsewhere(run, word, told, capsys):
    assert run([word, "x"]) == 2
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1


def test_names_from_elsewhere_lead_to_commands():
    assert set(ELSEWHERE.values()) <= set(COMMANDS) and not set(ELSEWHERE) & set(COMMANDS)


@pytest.mark.parametrize(
    "option, told",
    [
        ("--lr=0.1", "Caffe's word is base_lr, --set base_lr=VALUE"),
        ("--weight-decay", "a field of the solver, --set weight_decay=VALUE"),
        ("--epochs", "max_iter is the epochs times the images by the batch"),
        ("--batch-size", "belongs to the net's data layer"),
    ],
)
def test_an_option_that_the_solver_s_file_has(option, told, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "solver.prototxt", option, "3"])
    assert stop.value.code == 2 and told in capsys.readouterr().err


def test_what_is_looked_for_first_is_there():
    from demitasse import Net, Solver, make_backend  # noqa: F401 (that they are found is what is tested)

    with pytest.raises(AttributeError, match="demitasse has no 'train'; in Python it has L, Net, .*; commands:"):
        demitasse.train  # noqa: B018 (as above)


def test_unknown_command(capsys):
    assert main(["trian", "x"]) == 2
    err = capsys.readouterr().err
    assert "unknown command 'trian'" in err and "did you mean 'train'" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["write"], ["recipe"], ["prepare", "labels"], ["show"], ["train"], ["test", "--nte"]]
)
def test_a_mistake_names_the_command_as_it_was_typed(words, capsys):
    try:
        assert main(words) == 2
    except SystemExit as leave:
        assert leave.code == 2
    err = capsys.readouterr().err
    assert err.count(f"demitasse {words[0]}") + err.count(f"demitasse: {words[0]}") == 1 and "python" not in err
    assert caffe(["train"]) == 2
    assert "give a solver: caffe train SOLVER" in capsys.readouterr().err


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name}" in out for name in COMMANDS)


@pytest.mark.parametrize("words", [["help", "show"], ["show", "--help"]])
def test_help_of_a_command(words, capsys):
    with pytest.raises(SystemExit) as leave:
        main(words)
    assert leave.value.code == 0 and capsys.readouterr().out.startswith("usage: demitasse show ")


def test_a_reader_that_takes_a_part_only_is_no_mistake():
    """`demitasse --help | head`"""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "demitasse", "--help"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_command_runs(capsys):
    assert main(["types"]) == 0
    assert "Deconvolution" in capsys.readouterr().out


def completed(script, *words):
    """What bash offers for the last word."""
    line = " ".join(f"'{word}'" for word in words)
    program = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _shtab_{words[0]}; echo ${{COMPREPLY[@]}}"
    return subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=30).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_shell_completes_commands_options_and_choices(capsys):
    pytest.importorskip("shtab")
    assert main(["--print-completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert completed(script, "demitasse", "rec") == ["recipe"]
    assert completed(script, "demitasse", "segment", "--wei") == ["--weights"]
    assert completed(script, "demitasse", "train", "--precision", "tf") == ["tf32"]
    assert caffe(["--print-completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert completed(script, "caffe", "tr") == ["train"] and completed(script, "caffe", "seg") == []
    assert completed(script, "caffe", "train", "-sol") == ["-solver"]


def test_an_unknown_shell(capsys):
    assert main(["--print-completion", "fish"]) == 2
    assert capsys.readouterr().err == "--print-completion fish: the shells are bash, zsh, tcsh\n"
