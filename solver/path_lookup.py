"""Where the files named in a solver or net are: in the working directory, as Caffe has it, or else beside that file.

A path that begins with ./ or ../ is looked for beside the file first, so that a folder of nets can be copied and moved.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable

from demitasse.proto.errors import SolverFault
from demitasse.proto.files import ZERO_BYTE, near_file
from demitasse.proto.input_paths import from_above, from_file


class Finder:
    """Finds the files that a solver names; `say` is called where one is not simply in the working directory."""

    def __init__(self, solver_file: str, say: Callable[[str], None] = lambda text: None):
        self.folder = os.path.dirname(solver_file)
        self.say = say
        self.said: set[str] = set()

    def __call__(self, path: str, what: str) -> str:
        """The path that exists; SolverFault names both paths where neither does."""
        if not path:
            raise SolverFault(f'{what} is "": give a file')
        beside = os.path.join(self.folder, path)
        if os.path.isabs(path) or beside == path:
            if os.path.exists(path):
                return path
            hint = from_above(path, self.folder) or near_file(path)
            raise SolverFault(f"{what}: Could not open file {path}: no such file{hint}")
        if from_file(path) and os.path.exists(beside):
            return os.path.normpath(beside)
        if os.path.exists(path):
            if os.path.exists(beside) and not os.path.samefile(path, beside):
                self._say_once(f"{what}: {path} is taken from the working directory, not from {self.folder}")
            return path
        if os.path.exists(beside):
            self._say_once(f"{what}: {path} is taken from the solver's folder: {beside}")
            return beside
        raise SolverFault(
            f"{what}: Could not open file {path}: neither in the working directory ({os.getcwd()}) "
            f"nor beside the solver ({self.folder})"
            f"{from_above(path, self.folder) or near_file(path) or near_file(beside)}"
        )

    def _say_once(self, text: str) -> None:
        if text not in self.said:
            self.said.add(text)
            self.say(text)

    def for_writing(self, prefix: str) -> str:
        """The prefix of files to be written: in the first of the two folders that is there already;
        a folder that neither has is made in the working directory (for ./folder/..., beside the solver)."""
        folder, beside = os.path.dirname(prefix), os.path.join(self.folder, prefix)
        if from_file(prefix) and os.path.normpath(folder) != ".":
            if os.path.isdir(os.path.dirname(beside)) or not os.path.isdir(folder):
                return os.path.normpath(beside)
        if not folder or os.path.isabs(prefix) or os.path.isdir(folder) or not os.path.isdir(os.path.dirname(beside)):
            return prefix
        self._say_once(f"snapshot_prefix: {prefix} is taken from the solver's folder: {beside}")
        return beside


def require_writable(prefix: str) -> None:
    """Make the folder of a prefix if it is missing; SolverFault unless files can be written there."""
    folder = os.path.dirname(prefix) or "."
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
        with contextlib.suppress(FileNotFoundError):
            os.stat(f"{prefix}_iter_1000000.solverstate.h5.json")  # refuses what is too long for a name
    except (OSError, ValueError) as error:
        reason = "not a directory" if isinstance(error, FileExistsError) else getattr(error, "strerror", ZERO_BYTE)
        raise SolverFault(
            f"snapshot_prefix: cannot write to {os.path.abspath(folder)!r}: {reason}; set another "
            "snapshot_prefix, or snapshot_after_train: false without snapshot"
        ) from None
