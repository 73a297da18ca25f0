"""The commands `time` (every layer of a net, beside what the machine can do) and `device_query`."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import platform
import time
from collections.abc import Iterator
from typing import NamedTuple

from demitasse.layers.backend.contract import Backend
from demitasse.layers.backend.options import BackendOptions
from demitasse.netdef.net import Net
from demitasse.netdef.program import compile_program
from demitasse.proto.errors import GraphFault, printable

PASSES_UNTIL_SETTLED = 4  # from the next one on recorded passes are run again
STREAM = 1 << 24  # elements of the array that measures its memory: more than caches hold


def peak_gflops(backend: Backend, seconds: float = 0.5) -> float:
    """The best rate of float32 products seen in about that many seconds, in GFLOP/s."""
    backend.products()  # the first ones may have to be compiled
    backend.synchronize()
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end or not best:
        start = time.perf_counter()
        flop = backend.products()
        backend.synchronize()
        best = max(best, flop / (time.perf_counter() - start) / 1e9)
    return best


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
    """Adds up the seconds of every layer of a net's passes, while it is `on`.

    within: the step of each layer that is computed by the one before it at once, and that one's step.
    """

    def __init__(self, net):
        self.net = net
        self.forward, self.backward = ([0.0] * len(net.layers) for _ in range(2))
        calls = compile_program(net.plan.steps, net.executor.choices).by_step
        self.within = {step: call.step for step, call in calls.items() if call.step is not step}

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Measure passes: layer by layer, with a wait for the device before and after each."""
        net = self.net
        hooks = net.before_forward, net.after_forward, net.before_backward, net.after_backward
        mine = (
            self._start,
            lambda index: self._stop(self.forward, index),
            self._start,
            lambda index: self._stop(self.backward, index),
        )
        for hook, own in zip(hooks, mine, strict=True):
            hook.append(own)
        try:
            yield
        finally:
            for hook, own in zip(hooks, mine, strict=True):
                hook.remove(own)

    def _start(self, index: int) -> None:
        self.net.backend.synchronize()
        self.started = time.perf_counter()

    def _stop(self, sums, index: int) -> None:
        self.net.backend.synchronize()
        sums[index] += time.perf_counter() - self.started


def time_net(options: argparse.Namespace) -> int:
    """Print the mean time of every layer, forward and (where there is a loss) backward; then of passes as nets run
    them, which take less: nobody waits between layers, and many are launched as one."""
    backend = BackendOptions.of(options).make()
    state = {"level": options.level, "stages": options.stages, "auto_crop": options.auto_crop}
    net = Net(options.file, options.phase, backend=backend, **state)
    goes_back = _warm_up(net)
    clock = LayerClock(net)
    with clock.on():
        for _ in range(options.iterations):
            _pass(net, goes_back)
    _print_table(net, clock, options.iterations, Roofline(peak_gflops(backend), stream_gbytes(backend)), goes_back)
    for _ in range(PASSES_UNTIL_SETTLED):
        _pass(net, goes_back)
    seconds = [_pass(net, goes_back) for _ in range(options.iterations)]
    forward, backward = (1e3 * sum(each) / options.iterations for each in zip(*seconds, strict=True))
    print("Whole passes, not waiting between layers:")
    print(f"Average Forward pass: {forward:g} ms.")
    print(f"Average Backward pass: {backward:g} ms." if goes_back else "No backward pass: no loss reaches a weight.")
    print(f"Average Forward-Backward: {forward + backward:g} ms.")
    print(f"Total Time: {options.iterations * (forward + backward):g} ms.")
    net.close()
    return 0


def _pass(net, goes_back: bool) -> tuple[float, float]:
    """Seconds of a pass forward, and back."""
    net.backend.synchronize()
    begin = time.perf_counter()
    with net.backend.frozen_weights():  # as in an iteration of the solver
        net.forward()
        net.backend.synchronize()
        middle = time.perf_counter()
        if goes_back:
            net.clear_grads()
            net.backward()
            net.backend.synchronize()
    return middle - begin, time.perf_counter() - middle


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
        if step in clock.within:
            within = printable(clock.within[step].name)
            print(f"{printable(step.name):{width}}  {step.cls.type:{kind}}  within {within}")
            continue
        flop, moved = _work(step)
        passes = sum((any(step.need), any(p.grad is not None for p in step.layer.params)))
        row = ahead, flop, roof.seconds(flop, moved), back, passes * flop, roof.seconds(passes * flop, passes * moved)
        sums = [total + own for total, own in zip(sums, row, strict=True)]
        line(printable(step.name), step.cls.type, row[:3], row[3:])
    line("total", "", sums[:3], sums[3:])
    print(
        f"The roof of this machine, as measured: {roof.gflops:.0f} GFLOP/s in products of what lies nearest, "
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
