"""Scripts that make a shell complete the commands `demitasse` and `caffe`, their options and files (by shtab).

demitasse --print-completion bash > ~/.local/share/bash-completion/completions/demitasse
caffe --print-completion zsh > ~/.zfunc/_caffe
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from demitasse.proto.cli import OneLineParser
from demitasse.proto.errors import SolverFault

SHELLS = ("bash", "zsh", "tcsh")


class _Named:
    """A group of commands in which one package's commands have other names, or are left out."""

    def __init__(self, commands, names: Mapping[str, str]):
        self.commands, self.names, self.choices = commands, names, {}

    def add_parser(self, name: str, **options):
        """The parser of a command under its name here."""
        if name not in self.names:
            return OneLineParser(prog=name)
        options.pop("aliases", None)  # another package's command may have that name
        self.choices[name] = self.commands.add_parser(self.names[name], **options)
        return self.choices[name]


def parser_of(program: str, commands: Mapping[str, tuple[str, str, str]]) -> OneLineParser:
    """A parser of all commands; commands: {name: (package, the package's name for it, what it does)}."""
    parser = OneLineParser(prog=program)
    group = parser.add_subparsers(dest="command", metavar="COMMAND")
    for package, module in (("solver", "flags"), ("netdef", "cli"), ("models", "__main__")):
        names = {own: name for name, (owner, own, _) in commands.items() if owner == package}
        if names:
            importlib.import_module(f"demitasse.{package}.{module}").add_commands(_Named(group, names))
    return parser


def script(program: str, commands: Mapping[str, tuple[str, str, str]], shell: str) -> str:
    """What the shell is to read; SolverFault for an unknown shell, or without shtab."""
    if shell not in SHELLS:
        raise SolverFault(f"--print-completion {shell}: the shells are {', '.join(SHELLS)}")
    try:
        import shtab
    except ImportError:
        raise SolverFault("--print-completion needs shtab: pip install shtab") from None
    parser = parser_of(program, commands)
    for action in _actions(parser):
        if action.nargs != 0 and not action.choices and action.type in (None, Path):
            action.complete = shtab.FILE  # most are files or folders, and none of them is another list of words
    return shtab.complete(parser, shell=shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
        else:
            yield action
