"""What Demitasse needs of the Python that runs it: where that is missing one line says so, not an import's traceback.

Old Pythons read this file too.
"""

from __future__ import annotations

import importlib.util
import os
import sys

OLDEST = (3, 10)
NEEDED = ("numpy", "google.protobuf", "PIL")  # of those in setup.py, what nearly everything imports


def require(root: str) -> None:
    """ImportError where this Python is too old or lacks packages; a command ends with that line and exit status 2.

    root: the folder that the package `demitasse` is in.
    """
    text = _mistake(root)
    if not text:
        return
    if _is_command(root):
        print(text, file=sys.stderr)
        raise SystemExit(2)
    raise ImportError(text)


def _mistake(root: str) -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return f"Demitasse needs Python {oldest} or newer, but {sys.executable} is Python {version}; {_remedy(root)}"
    lacking = ", ".join(name for name in NEEDED if not _is_installed(name))
    return f"Demitasse needs {lacking}, which {sys.executable} does not have; {_remedy(root)}" if lacking else ""


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # not even the package that it is in
        return False


def _remedy(root: str) -> str:
    activate = os.path.join(root, ".venv", "bin", "activate")
    if os.path.exists(activate):
        return f"`make` has set up an environment: activate it by . {activate}"
    return f"`make` in {root} sets up an environment, which . {activate} activates; or: pip install {root}"


def _is_command(root: str) -> bool:
    """Whether this process runs one of our commands (python -m solver), not a program that imports us."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # Python is still looking for the module: it has begun to import its package
        words = getattr(sys, "orig_argv", ["-m", "demitasse"])
        return words[words.index("-m") + 1].split(".")[0] == "demitasse"
    return os.path.basename(program) == "__main__.py" and os.path.abspath(program).startswith(os.path.join(root, ""))
