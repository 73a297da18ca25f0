"""The command line of python -m models: help for every command, one line for every mistake, the solver's words."""

import argparse
import re

import pytest

from demitasse.models import __main__ as command_line
from demitasse.models.__main__ import main
from demitasse.proto.cli import OneLineParser
from demitasse.solver.__main__ import main as solver


def parsers():
    """{name: parser} of every command and every task."""
    root = OneLineParser(prog="python -m models")
    commands = root.add_subparsers(metavar="COMMAND")
    command_line.add_commands(commands)
    found = dict(commands.choices)
    tasks = next(a for a in found["prepare"]._actions if isinstance(a, argparse._SubParsersAction))
    return {**found, **{f"prepare {name}": parser for name, parser in tasks.choices.items()}}


def helped(run, capsys, *words):
    with pytest.raises(SystemExit):
        run([*words, "--help"])
    return re.sub(r"\s+", " ", capsys.readouterr().out.partition("options:")[2])


@pytest.mark.parametrize("name", parsers())
def test_every_command_and_option_is_described(name, capsys):
    parser = parsers()[name]
    assert parser.description and not parser.description.startswith("`")
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        assert action.help and action.help != argparse.SUPPRESS, f"{name} {action.option_strings or action.dest}"
        if action.option_strings and action.nargs != 0 and not action.choices:
            assert action.metavar, f"{name} {action.option_strings}"
    with pytest.raises(SystemExit) as leave:
        main([*name.split(), "--help"])
    shown = capsys.readouterr().out
    assert (
        leave.value.code == 0
        and shown.startswith(f"usage: {parser.prog} ")
        and parser.prog.startswith("python -m models ")
    )
    assert re.sub(r"\s+", " ", parser.description.split("\n")[0]) in re.sub(r"\s+", " ", shown)


@pytest.mark.parametrize(
    "command, options",
    [
        ("train", ["--seed N", "--iterations N"]),
        ("score", ["--weights W,..."]),
        ("segment", ["--weights W,..."]),
        ("report", ["--weights W,...", "--log FILE"]),
    ],
)
def test_options_are_spelt_as_in_the_solver(command, options, capsys):
    theirs, ours = helped(solver, capsys, "train"), helped(main, capsys, command)
    for option in ("--device D", "--threads N", "--exact", "--precision {fp32,tf32,fp16}", *options):
        assert option in theirs and option in ours, option


@pytest.mark.parametrize(
    "words, fault",
    [
        (["segmnt"], "unknown command 'segmnt' (did you mean 'segment'?); known: list, write, prepare,"),
        (["prepare", "label", "a", "b"], "unknown task 'label' (did you mean 'labels'?); known: vgg16-fcn,"),
        (["write", "voc-fcn8s", "x", "--widht", "1"], "write knows no --widht (did you mean '--width'?)"),
        (["prepare", "classes", "a", "b", "c", "--take", "1", "--tkae", "1"], "prepare knows no --tkae"),
        (["write", "voc-fcn8s", "x", "--wid", "1"], "write knows no --wid (did you mean '--width'?)"),
        (["write", "voc-fcn8s", "x", "y"], "write knows no y"),
        (["write", "voc-fcn8s"], "the following arguments are required: OUT"),
        (["write", "voc-fcn8s", "x", "--width", "0"], "argument --width: '0' is not a number above 0"),
        (["train", "voc-fcn8s", "--iterations", "-3"], "argument --iterations"),
        (["score", "x", "--weights", "y", "--precision", "fp8"], "argument --precision: invalid choice: 'fp8'"),
        (["segment", "a", "--net", "n", "--weights", "w", "--size", "16"], "--size: '16' is not height x width"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_a_mistake_is_one_line(words, fault, capsys):
    with pytest.raises(SystemExit) as leave:
        main(words)
    shown = capsys.readouterr()
    assert leave.value.code == 2 and not shown.out
    assert shown.err.startswith("python -m models") and fault in shown.err and shown.err.count("\n") == 1
