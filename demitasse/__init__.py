"""Caffe nets, weights and solvers on today's CPUs and GPUs: `demitasse.netdef`, `demitasse.solver`, ...

In a checkout the packages lie at the repository's root, one folder up; `pip install` lays them below this one.
"""

import os

from demitasse.environment import require

__version__ = "0.2.0"
# Packages in which the module of a Python layer is looked for last: the data layers that published nets name.
PYTHON_LAYERS = ["demitasse.models.data"]

_here = os.path.dirname(os.path.abspath(__file__))
if not os.path.isdir(os.path.join(_here, "proto")):
    __path__.append(os.path.dirname(_here))
require()
