"""debug_info: the mean magnitude of every blob, weight and gradient while a pass runs, in Caffe's words.

The net is one that keeps its blobs (keep="all") and runs every layer on its own (fuse=False).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from demitasse.layers.backend.contract.memory import Array
from demitasse.netdef.net import Net
from demitasse.solver.log import Silent


@contextlib.contextmanager
def lines(net: Net, log: Silent) -> Iterator[None]:
    """Log the passes made inside."""
    hooks = attach(net, log)
    try:
        yield
    finally:
        net.after_forward.remove(hooks.forward)
        net.after_backward.remove(hooks.backward)


def attach(net: Net, log: Silent) -> Hooks:
    """Log all passes from here on."""
    hooks = Hooks(net, log)
    net.after_forward.append(hooks.forward)
    net.after_backward.append(hooks.backward)
    return hooks


class Hooks:
    """What a net calls after each layer, to log what it has made."""

    def __init__(self, net, log):
        self.net, self.log, self.xp = net, log, net.backend.xp

    def mean(self, array: Array) -> float:
        """The mean magnitude."""
        return float(self.xp.abs(array).mean()) if array.size else 0.0

    def forward(self, index: int) -> None:
        """Log the tops of layer `index`."""
        step = self.net.plan.steps[index]
        for value in step.tops:
            mean = self.mean(self.net.executor.array(value))
            self.log.detail(f"    [Forward] Layer {step.name}, top blob {value.name} data: {mean:g}")
        for i, p in enumerate(step.layer.params):
            self.log.detail(f"    [Forward] Layer {step.name}, param blob {p.name or i} data: {self.mean(p.data):g}")

    def backward(self, index: int) -> None:
        """Log the gradients that layer `index` has sent down, and its params'."""
        step = self.net.plan.steps[index]
        for value, need in zip(step.bottoms, step.need, strict=True):
            gradient = self.net.executor.gradient(value) if need else None
            if gradient is not None:
                self.log.detail(
                    f"    [Backward] Layer {step.name}, bottom blob {value.name} diff: {self.mean(gradient):g}"
                )
        for i, p in enumerate(step.layer.params):
            if p.grad is not None:
                self.log.detail(f"    [Backward] Layer {step.name}, param blob {i} diff: {self.mean(p.grad):g}")
        if index == 0:
            self.all_params()

    def all_params(self) -> None:
        """Log the norms of all learned arrays and of their gradients."""
        data = [p.data for p in self.net.learnable]
        grads = [p.grad for p in self.net.learnable if p.grad is not None]
        self.log.detail(
            "    [Backward] All net params (data, diff): "
            f"L1 norm = ({self.l1(data):g}, {self.l1(grads):g}); "
            f"L2 norm = ({self.l2(data):g}, {self.l2(grads):g})"
        )

    def l1(self, arrays: Iterable[Array]) -> float:
        """The sum of magnitudes."""
        return sum(float(self.xp.abs(a).sum()) for a in arrays)

    def l2(self, arrays: Iterable[Array]) -> float:
        """The root of the sum of squares."""
        return sum(float(self.xp.vdot(a, a)) for a in arrays) ** 0.5
