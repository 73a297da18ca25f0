"""What Demitasse needs of the Python that runs it: where that is missing one line says so, not an import's traceback.

Old Pythons read this file too, down to 2.7: no annotations and no f-strings here.
"""

import os
import sys

OLDEST = (3, 10)
NEEDED = ("numpy", "scipy", "google.protobuf", "PIL")  # of those in setup.py, what nearly everything imports
LATER = ("numba", "llvmlite", "tqdm")  # the rest, imported where it is first needed
OURS = ("demitasse", "caffe", "solver", "netdef", "models", "benchmarks")  # what `python -m` may be asked for
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the folder that the package is in


def require(root=ROOT):
    """ImportError where this Python is too old or lacks packages; a command ends with that line and exit status 2.

    root: the folder that the package `demitasse` is in.
    """
    text = _mistake(root)
    if not text:
        return
    if _is_command(root):
        sys.stderr.write(text + "\n")
        raise SystemExit(2)
    raise ImportError(text)


def _mistake(root):
    if sys.version_info < OLDEST:
        version, oldest = (".".join(map(str, numbers)) for numbers in (sys.version_info[:3], OLDEST))
        needs = "Python " + oldest + " or newer, but " + sys.executable + " is Python " + version
        return "Demitasse needs " + needs + "; " + _remedy(root)
    lacking = [name for name in NEEDED if not _is_installed(name)]
    return lack_of(lacking, root) if lacking else ""


def lack_of(names, root=ROOT):
    """The line that says which packages (a list of names) are missing, and what to do."""
    named = ", ".join(names).replace("llvmlite", "numba")  # which brings it along
    return "Demitasse needs " + named + ", which " + sys.executable + " does not have; " + _remedy(root)


def _is_installed(name):
    from importlib.util import find_spec  # here: Python 2 has none

    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # not even the package that it is in
        return False


def _remedy(root):
    activate = os.path.join(root, ".venv", "bin", "activate")
    if os.path.exists(activate):
        return "`make` has set up an environment: activate it by . " + activate
    if not os.path.exists(os.path.join(root, "setup.py")):  # installed, without what it needs
        return "install Demitasse anew by pip, without --no-deps"
    return "`make` in " + root + " sets up an environment, which . " + activate + " activates; or: pip install " + root


def _is_command(root):
    """Whether this process runs one of our commands (python -m solver), not a program that imports us."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # Python is still looking for the module: it has begun to import its package
        words = getattr(sys, "orig_argv", ["-m", "demitasse"])
        return words[words.index("-m") + 1].split(".")[0] in OURS
    name = os.path.basename(program)
    inside = os.path.abspath(program).startswith(os.path.join(root, ""))
    return name in ("demitasse", "caffe") or name == "__main__.py" and inside
