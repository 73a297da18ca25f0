"""`import caffe`: pycaffe's surface over this engine, so that old scripts and Python layers run.

A thin facade over netdef and solver; every part has the file that its pycaffe name suggests.  Where it differs:
mistakes are Python exceptions that name the file, the line and the layer; generated *_split_* blobs do not exist.
"""

import importlib
from typing import TYPE_CHECKING

import demitasse  # noqa: F401 (first: it says what this Python lacks)
from caffe import proto
from caffe.log import init_log, log
from caffe.mode import set_device, set_exact, set_mode_cpu, set_mode_gpu, set_random_seed
from caffe.net import Net
from caffe.pylayer import Blob, Layer
from demitasse.layers.layer import TEST, TRAIN
from demitasse.layers.layer import layer_types as layer_type_list

if TYPE_CHECKING:
    from caffe import _caffe, coord_map, draw, io, net_spec  # noqa: F401 (scripts name caffe._caffe)
    from caffe.classifier import Classifier
    from caffe.detector import Detector
    from caffe.net_spec import NetSpec, layers, params, to_proto
    from caffe.parallel import (
        NCCL,
        has_nccl,
        set_multiprocess,
        set_solver_count,
        set_solver_rank,
        solver_count,
        solver_rank,
    )
    from caffe.solvers import (
        AdaDeltaSolver,
        AdaGradSolver,
        AdamSolver,
        NesterovSolver,
        RMSPropSolver,
        SGDSolver,
        Solver,
        get_solver,
    )
    from caffe.timer import Timer

# What is imported when a script first names it: a script that runs one net is to begin at once.
_MODULES = ("_caffe", "coord_map", "draw", "io", "net_spec")
_HOMES = {
    "classifier": "Classifier",
    "detector": "Detector",
    "net_spec": "NetSpec layers params to_proto",
    "parallel": "NCCL has_nccl set_multiprocess set_solver_count set_solver_rank solver_count solver_rank",
    "solvers": "AdaDeltaSolver AdaGradSolver AdamSolver NesterovSolver RMSPropSolver SGDSolver Solver get_solver",
    "timer": "Timer",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__version__ = "1.0.0"  # of Caffe, whose surface this is
__all__ = [
    "NCCL",
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "Classifier",
    "Detector",
    "Layer",
    "Net",
    "NetSpec",
    "NesterovSolver",
    "RMSPropSolver",
    "SGDSolver",
    "Solver",
    "Timer",
    "coord_map",
    "draw",
    "get_solver",
    "has_nccl",
    "init_log",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "net_spec",
    "params",
    "proto",
    "set_device",
    "set_exact",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"caffe.{name}")
    if name in _HOME_OF:
        return getattr(importlib.import_module(f"caffe.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'caffe' has no attribute '{name}'")


def __dir__():
    return sorted({*globals(), *_MODULES, *_HOME_OF})
