"""python -m demitasse.models.precompile [NET ...]: machine code of the CPU's kernels, to come along in the repository.

For each level of processors a process runs the nets, some of this folder and those given, forward and backward; its
kernels are compiled and compute nothing, so that this machine need not be of that level.  Nets that need other kernels
compile these when they first run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import distribution, version
from pathlib import Path

import numpy as np

from demitasse.layers.backend.cpu import CpuBackend, code_cache
from demitasse.layers.backend.cpu.processor import LEVELS, chosen
from demitasse.layers.backend.cpu.recording import set_all
from demitasse.netdef.net import Net
from demitasse.netdef.spec import L, NetSpec, P
from demitasse.proto.messages import NetParameter, SolverParameter
from demitasse.proto.text import read_net
from demitasse.solver.updates import Updater

# One of each trunk; both sizes of image at which convolutions differ.
NETS = (
    "demo/fcn8s_deploy.prototxt",
    "voc-fcn8s/deploy.prototxt",
    "voc-fcn-alexnet/deploy.prototxt",
    "voc-fcn-googlenet/deploy.prototxt",
    "voc-fcn4s-squeezenet/deploy.prototxt",
    "voc-unet/deploy.prototxt",
)


def main(nets: list[str]) -> int:
    """Precompile for every level at the same time, or for the one that is chosen."""
    if chosen():
        code_cache.only_compile()
        with np.errstate(all="ignore"):  # of numbers that nobody has computed
            for net in [classifier(), *(str(Path(__file__).parent / name) for name in NETS), *nets]:
                run(read_net(net)[0])
        code_cache.remove_others()
        return 0
    made_with = Path(code_cache.SHIPPED, "made-with.txt")
    if not made_with.is_file() or made_with.read_text() != versions():
        shutil.rmtree(code_cache.SHIPPED, ignore_errors=True)
        made_with.parent.mkdir()
        made_with.write_text(versions())
    command = [sys.executable, "-m", "demitasse.models.precompile", *nets]
    processes = [subprocess.Popen(command, env={**os.environ, "DEMITASSE_PROCESSOR": name}) for name in LEVELS]
    worst = max(process.wait() for process in processes)
    leave_out_paths()
    return worst


def leave_out_paths() -> None:
    """Write points in the place of where Numba and this project lie: that is in errors which kernels never raise."""
    folders = [str(distribution("numba").locate_file("")), str(Path(__file__).resolve().parents[1])]
    for path in Path(code_cache.SHIPPED).glob("*/*"):
        code = written = path.read_bytes()[: -code_cache.DIGEST]
        for folder in map(str.encode, folders):
            code = code.replace(folder, b"." * len(folder))
        if code != written:
            path.write_bytes(code + hashlib.sha256(code).digest())


def versions() -> str:
    """Of what makes machine code: the same ones make the same bytes."""
    return f"python {sys.version_info[0]}.{sys.version_info[1]}\n" + "".join(
        f"{name} {version(name)}\n" for name in ("numba", "llvmlite")
    )


def classifier() -> NetParameter:
    """What nets that classify have beside convolutions: a residual block, a depthwise one, several sorts of pooling."""
    n = NetSpec()
    n.data = L.Input(shape=[dict(dim=[2, 3, 64, 64])])
    n.conv = L.ReLU(L.Convolution(n.data, num_output=32, kernel_size=7, stride=2), in_place=True)
    n.pool = L.Pooling(n.conv, kernel_size=3, stride=2, pool=P.Pooling.MAX)
    n.norm = L.LRN(n.pool, local_size=5)
    n.left = L.Scale(L.BatchNorm(L.Convolution(n.norm, num_output=64, kernel_size=3, pad=1)), bias_term=True)
    n.right = L.Convolution(n.norm, num_output=64, kernel_size=1)
    n.sum = L.ReLU(L.Eltwise(n.left, n.right), in_place=True)
    n.narrow = L.Convolution(n.sum, num_output=64, kernel_size=1, stride=2)
    n.deep = L.ReLU(L.Convolution(n.narrow, num_output=64, kernel_size=3, pad=1, group=64), in_place=True)
    n.last = L.PReLU(L.Convolution(n.deep, num_output=64, kernel_size=3, pad=1, stride=2, group=64))
    n.wide = L.ReLU(L.Convolution(n.last, num_output=64, kernel_size=5, pad=2, group=64), in_place=True)
    n.wider = L.Convolution(n.wide, num_output=64, kernel_size=5, pad=4, stride=2, group=64)
    n.other = L.ReLU(L.Convolution(n.wider, num_output=64, kernel_size=2, stride=2, group=64))
    n.whole = L.Pooling(L.ReLU(L.Concat(n.other, n.other)), pool=P.Pooling.AVE, global_pooling=True)
    n.means = L.Pooling(n.sum, kernel_size=2, stride=2, pool=P.Pooling.AVE)
    n.some = L.Pooling(n.sum, kernel_size=3, stride=2, pool=P.Pooling.AVE)
    n.all = L.Pooling(n.sum, pool=P.Pooling.AVE, global_pooling=True)
    n.shuffled = L.ShuffleChannel(n.sum, group=4)
    n.turned = L.Permute(n.sum, order=[0, 2, 3, 1])
    n.five = L.Convolution(n.conv, num_output=32, kernel_size=5, pad=2)
    n.less = L.Convolution(n.pool, num_output=48, kernel_size=5)
    n.up = L.Deconvolution(n.conv, convolution_param=dict(num_output=12, kernel_size=8, stride=4))
    n.score = L.InnerProduct(L.Dropout(n.whole), num_output=10)
    n.prob = L.Softmax(n.score)
    return n.to_proto()


def run(message: NetParameter) -> None:
    """One pass forward, as the net serves; one forward and backward, as it is trained with a loss on its outputs."""
    backend = CpuBackend(threads=2)
    net = Net(message, "TEST", backend=backend)
    with backend.frozen_weights():
        net.forward()
    for name in net.outputs:
        count, _, *sizes = net.blobs[name].shape
        label = message.layer.add(name=f"{name}_label", type="Input", top=[f"{name}_label"])
        label.input_param.shape.add(dim=[count, *([1, *sizes] if sizes else [])])
        message.layer.add(name=f"{name}_loss", type="SoftmaxWithLoss", bottom=[name, label.name], top=[f"{name}_loss"])
    net.close()
    net = Net(message, "TRAIN", backend=backend)
    with backend.frozen_weights():  # as the solver does
        net.forward()
        net.clear_grads()
        net.backward()
    backend.pool.run(set_all, 1, np.zeros(1, np.float32), 0.0, alone=True)  # in what is recorded
    Updater(SolverParameter(momentum=0.9, weight_decay=5e-4), net.learnable, backend).apply(1e-3, 1)
    net.close()
    backend.products()  # for `solver time`


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
