"""The commands `time` (every layer of a net, beside what the machine can do) and `device_query`."""

from __future__ import annotations

import argparse
import math
import os
import platform
import time
from typing import NamedTuple

from demitasse.layers.backend.contract import Backend
from demitasse.layers.backend.options import BackendOptions
from demitasse.netdef.net import Net
from demitasse.proto.errors import GraphFault, printable

PRODUCT = 1024  # rows and columns of the matrices that measure a machine's peak
STREAM = 1 << 24  # elements of the array that measures its memory: more than caches hold


def peak_gflops(backend: Backend, seconds: float = 0.5) -> float:
    """The best rate of float32 matrix products seen in about that many seconds, in GFLOP/s."""
    a, b = backend.uniform((PRODUCT, PRODUCT)), backend.uniform((PRODUCT, PRODUCT))
    backend.matmul(a, b)  # the first one may have to be compiled
    backend.synchronize()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        start = time.perf_counter()
        backend.matmul(a, b)
        backend.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * PRODUCT**3 / best / 1e9


def stream_gbytes(backend: Backend, seconds: float = 0.3) -> float:
    """The best rate at which memory was read and written on all cores in about that many seconds, in 10^9 bytes/s."""
    x = backend.uniform((STREAM,))
    backend.relu_forward(x, 0.5)
    backend.synchronize()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        start = time.perf_counter()
        backend.relu_forward(x, 0.5)
        backend.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * x.nbytes / best / 1e9


class Roofline(NamedTuple):
    """What a machine can do at best."""

    gflops: float  # GFLOP/s
    gbytes: float  # 10^9 bytes/s to and from memory

    def seconds(self, flop: float, bytes_moved: float) -> float:
        """The least time in seconds for so many operations and bytes, if neither ever waits for the other."""
        return max(flop / self.gflops, bytes_moved / self.gbytes) / 1e9


class LayerClock:
    """Hooks of a net that add up the seconds of every layer."""

    def __init__(self, net):
        self.net = net
        self.forward, self.backward = ([0.0] * len(net.layers) for _ in range(2))
        net.before_forward.append(self._start)
        net.after_forward.append(lambda index: self._stop(self.forward, index))
        net.before_backward.append(self._start)
        net.after_backward.append(lambda index: self._stop(self.backward, index))

    def reset(self) -> None:
        """Forget what was measured."""
        self.forward[:] = self.backward[:] = [0.0] * len(self.forward)

    def _start(self, index: int) -> None:
        self.net.backend.synchronize()
        self.started = time.perf_counter()

    def _stop(self, sums, index: int) -> None:
        self.net.backend.synchronize()
        sums[index] += time.perf_counter() - self.started


def time_net(options: argparse.Namespace) -> int:
    """Print the mean time of every layer, forward and (where there is a loss) backward."""
    backend = BackendOptions.of(options).make()
    state = {"level": options.level, "stages": options.stages, "auto_crop": options.auto_crop}
    net = Net(options.file, options.phase, backend=backend, **state)
    clock = LayerClock(net)
    goes_back = _warm_up(net)
    clock.reset()
    begin = time.perf_counter()
    for _ in range(options.iterations):
        with backend.frozen_weights():  # as in an iteration of the solver
            net.forward()
            if goes_back:
                net.clear_grads()
                net.backward()
    backend.synchronize()
    total = time.perf_counter() - begin
    _print_table(net, clock, options.iterations, Roofline(peak_gflops(backend), stream_gbytes(backend)), goes_back)
    forward, backward = (1e3 * sum(sums) / options.iterations for sums in (clock.forward, clock.backward))
    print(f"Average Forward pass: {forward:g} ms.")
    print(f"Average Backward pass: {backward:g} ms." if goes_back else "No backward pass: no loss reaches a weight.")
    print(f"Average Forward-Backward: {1e3 * total / options.iterations:g} ms.")
    print(f"Total Time: {1e3 * total:g} ms.")
    net.close()
    return 0


def _warm_up(net) -> bool:
    """The first pass compiles and allocates; whether the net has a backward pass."""
    net.forward()
    try:
        net.backward()
    except GraphFault:
        return False
    return True


def _print_table(net, clock, iterations: int, roof: Roofline, goes_back: bool) -> None:
    width = max(len("layer"), *(len(printable(name)) for name in net.layer_names))
    kind = max(len("type"), *(len(step.cls.type) for step in net.plan.steps))
    columns = f"{'GFLOP/s':>8} {'of roof':>7}"
    print(f"{'layer':{width}}  {'type':{kind}}  {'forward ms':>10} {columns}  {'backward ms':>11} {columns}")
    sums = [0.0] * 6  # seconds, operations and seconds at best, of both passes

    def line(name, kind_of_layer, ahead, back):
        text = f"{name:{width}}  {kind_of_layer:{kind}}  {1e3 * ahead[0]:10.3f} {_rate(*ahead)}  "
        print(text + (f"{1e3 * back[0]:11.3f} {_rate(*back)}" if goes_back else f"{'-':>11}"))

    for step in net.plan.steps:
        ahead, back = clock.forward[step.index] / iterations, clock.backward[step.index] / iterations
        flop, moved = _work(step)
        passes = sum((any(step.need), any(p.grad is not None for p in step.layer.params)))
        row = ahead, flop, roof.seconds(flop, moved), back, passes * flop, roof.seconds(passes * flop, passes * moved)
        sums = [total + own for total, own in zip(sums, row, strict=True)]
        line(printable(step.name), step.cls.type, row[:3], row[3:])
    line("total", "", sums[:3], sums[3:])
    print(
        f"The roof of this machine, as measured: {roof.gflops:.0f} GFLOP/s in {PRODUCT}x{PRODUCT} matrix products, "
        f"{roof.gbytes:.1f} GB/s to and from memory (a convolution by transforms can exceed it: it needs fewer "
        "operations than are counted here; so can a layer whose arrays are still in a cache)"
    )


def _work(step) -> tuple[float, float]:
    """(operations of a forward pass, bytes that it reads and writes at least)"""
    bottoms, tops = ([value.shape for value in values] for values in (step.bottoms, step.tops))
    shapes = [*bottoms, *tops, *(param.shape for param in step.layer.params)]
    return 2 * step.layer.macs(bottoms, tops), 4 * sum(math.prod(shape) for shape in shapes)


def _rate(seconds: float, flop: float, best: float) -> str:
    """Operations per second, where the layer has any to count; how long the machine would take at best."""
    if not seconds or not best:
        return f"{'':8} {'':7}"
    rate = f"{flop / seconds / 1e9:8.1f}" if flop else f"{'':8}"
    return f"{rate} {100 * best / seconds:6.0f}%"


def device_query(options: argparse.Namespace) -> int:
    """Print what there is to compute on."""
    backend = BackendOptions.of(options).make()
    print(f"Device: {options.device or 'cpu'} ({type(backend).__name__})")
    print(f"Machine: {platform.system()} on {platform.machine()}, {os.cpu_count()} cores")
    for line in backend.describe():
        print(line)
    print(f"Peak in float32 matrix products: {peak_gflops(backend):.0f} GFLOP/s")
    return 0
