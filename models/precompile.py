"""python -m demitasse.models.precompile [NET ...]: machine code of the CPU's kernels, for wheels to bring along.

For each level of processors a process runs the nets, those of this folder and those given, forward and backward; its
kernels are compiled and compute nothing, so that this machine need not be of that level.  Nets that need other kernels
compile these when they first run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from demitasse.layers.backend.cpu import CpuBackend, code_cache
from demitasse.layers.backend.cpu.processor import LEVELS, chosen
from demitasse.netdef.net import Net
from demitasse.proto.messages import SolverParameter
from demitasse.proto.text import read_net
from demitasse.solver.updates import Updater

HERE = Path(__file__).parent


def main(nets: list[str]) -> int:
    """Precompile for every level at the same time, or for the one that is chosen."""
    if chosen():
        code_cache.only_compile()
        for path in [*sorted(map(str, HERE.glob("*/*deploy.prototxt"))), *nets]:
            print(path, flush=True)
            run(path)
        return 0
    shutil.rmtree(code_cache.SHIPPED, ignore_errors=True)  # what earlier sources had
    command = [sys.executable, "-m", "demitasse.models.precompile", *nets]
    processes = [subprocess.Popen(command, env={**os.environ, "DEMITASSE_PROCESSOR": name}) for name in LEVELS]
    return max(process.wait() for process in processes)


def run(path: str) -> None:
    """One image forward, as it is served; one forward and backward, as it is trained."""
    backend = CpuBackend(threads=2)
    net = Net(path, "TEST", backend=backend)
    with backend.frozen_weights():
        net.forward()
    net.close()
    message, _ = read_net(path)
    message.force_backward = True
    net = Net(message, "TRAIN", backend=backend)
    net.forward()
    net.backward(grads={name: backend.zeros(net.blobs[name].shape) for name in net.outputs})
    Updater(SolverParameter(momentum=0.9, weight_decay=5e-4), net.learnable, backend).apply(1e-3, 1)
    net.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
