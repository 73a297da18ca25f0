"""Caffe nets, weights and solvers on today's CPUs and GPUs: `demitasse.netdef`, `demitasse.solver`, ...

In a checkout the packages lie at the repository's root, one folder up; `pip install` lays them below this one.
"""

import importlib
import os

from demitasse.environment import require

__version__ = "0.2.0"
# Packages in which the module of a Python layer is looked for last: the data layers that published nets name.
PYTHON_LAYERS = ["demitasse.models.data"]
# What is looked for first in a library, and the module that has it: `from demitasse import Net`.
PUBLIC = {
    "L": "netdef.spec",
    "Net": "netdef.net",
    "NetSpec": "netdef.spec",
    "P": "netdef.spec",
    "Solver": "solver.solver",
    "make_backend": "layers.backend",
}

_here = os.path.dirname(os.path.abspath(__file__))
if not os.path.isdir(os.path.join(_here, "proto")):
    __path__.append(os.path.dirname(_here))
require()


def __getattr__(name):
    if name in PUBLIC:
        return getattr(importlib.import_module("demitasse." + PUBLIC[name]), name)
    shown = ", ".join(sorted(PUBLIC))
    raise AttributeError("demitasse has no '" + name + "'; in Python it has " + shown + "; commands: demitasse --help")
