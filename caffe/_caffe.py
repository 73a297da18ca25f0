"""The names of pycaffe's C module that scripts use: `type(net.params[name]) is caffe._caffe.BlobVec`."""

from caffe.mode import set_device, set_mode_cpu, set_mode_gpu, set_random_seed
from caffe.net import Net
from caffe.parallel import NCCL, has_nccl, set_solver_count, set_solver_rank, solver_count, solver_rank
from caffe.pylayer import Blob, BlobVec, Layer, RawBlobVec
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
from demitasse.layers.layer import layer_types as layer_type_list

__all__ = [
    "NCCL",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "BlobVec",
    "Layer",
    "Net",
    "NesterovSolver",
    "RMSPropSolver",
    "RawBlobVec",
    "SGDSolver",
    "Solver",
    "Timer",
    "get_solver",
    "has_nccl",
    "layer_type_list",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
]
