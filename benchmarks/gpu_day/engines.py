"""Step 7: cuDNN's engines for the convolutions of FCN-8s, timed one by one, beside cuBLAS over im2col at fp32."""

from __future__ import annotations

import numpy as np

from benchmarks.gpu_day.checks import PRECISIONS
from benchmarks.gpu_day.report import Record
from benchmarks.nets import net_message
from demitasse.layers.backend import make_backend
from demitasse.layers.backend.geometry import ConvGeometry
from demitasse.layers.backend.gpu.cudnn_spec import Spec
from demitasse.netdef.plan import Plan

CANDIDATES = 6  # plans of each list that are timed
SLOW = 3.0  # ms: of slower ones a single run is enough
SHOWN = 3  # the fastest that are told
FIRST = "conv1_2 fp32", "fc6 fp32", "conv1_1 fp16", "conv1_1 of 4 channels fp16", "conv4_2 fp32", "conv3_2 fp32"
DIRECTIONS = ("fprop", "dgrad", "wgrad")


def convolutions(size) -> dict[str, tuple[ConvGeometry, tuple, tuple]]:
    """{layer: (geometry, shape of weights, of the image)} of FCN-8s, those that differ; conv1_1 also with more
    channels."""
    plan = Plan(net_message("voc-fcn8s", False))
    plan.resize({name: (*plan.inputs[name].shape[:2], *size) for name in plan.inputs})
    found = {}
    for step in plan.steps:
        if step.cls.type == "Convolution":
            layer, image = step.layer, step.bottoms[0].shape
            problem = layer.geometry, layer.params[0].shape, image
            if problem not in found.values():
                found[step.spec.name] = problem
    geometry, (k, _, *kernel), (n, _, *spatial) = found["conv1_1"]
    for channels in (4, 8):
        found[f"conv1_1 of {channels} channels"] = geometry, (k, channels, *kernel), (n, channels, *spatial)
    return found


def engines(record: Record, rehearse: bool) -> None:
    """The fastest plans of each direction, with what the backend would choose."""
    problems = convolutions((40, 40) if rehearse else (500, 500))
    if rehearse:
        problems = {"conv1_1": problems["conv1_1"]}
    backends = {precision: make_backend("gpu", precision=precision) for precision in PRECISIONS}

    def measure(item: str) -> dict:
        name, _, precision = item.rpartition(" ")
        clock = Clock(backends[precision])
        found = {}
        for direction in DIRECTIONS:
            times = clock.plans(direction, *problems[name])
            if precision == "fp32":
                times["cuBLAS"] = clock.products(direction, *problems[name])
            best = sorted(times.items(), key=lambda pair: pair[1])
            found[f"{direction}, ms"] = {key: round(ms, 4) for key, ms in best[:SHOWN]}
            found[f"{direction}, ms"] |= {key: round(ms, 4) for key, ms in times.items() if key.startswith("chosen")}
        return found

    items = [f"{name} {precision}" for precision in PRECISIONS for name in problems]
    record.attempt(dict.fromkeys([*(item for item in FIRST if item in items), *items]), measure)


class Clock:
    """Times convolutions on one backend."""

    def __init__(self, backend):
        self.be, self.cuda = backend, backend.xp.cuda

    def plans(self, direction: str, geometry, weights, image) -> dict[str, float]:
        """{name and workspace of a plan: ms}, the chosen one first."""
        cudnn, fused = self.be.cudnn, direction == "fprop"
        spec = Spec(
            direction,
            weights,
            geometry.pad,
            geometry.stride,
            geometry.dilation,
            cudnn.fp16,
            cudnn.layout is not None,
            bias=fused,
            relu=fused,
            deterministic=False,
        )
        chosen = cudnn.planner.plan(spec, image)
        found = {} if chosen is None else {f"chosen {_label(chosen)}": self.milliseconds(self._run(chosen))}
        problem = spec.unfolded(image) if spec.is_unfolded(image) else (spec, image)
        for plan in cudnn.planner.candidates(*problem, CANDIDATES):
            found[_label(plan)] = self.milliseconds(self._run(plan))
        return found

    def _run(self, plan):
        """A function that runs the plan once, on arrays of zeros."""
        cudnn, xp = self.be.cudnn, self.be.xp
        kind = "float16" if cudnn.fp16 else "float32"
        operands = [xp.zeros(int(np.prod(tensor.get_dim())), kind) for tensor in plan.inputs]
        out, workspace = xp.zeros(int(np.prod(plan.out_shape)), kind), xp.zeros(max(1, plan.workspace), "uint8")
        stream = xp.cuda.get_current_stream().ptr
        addresses = [array.data.ptr for array in operands]

        def run():
            cudnn.planner.execute(plan, addresses, out.data.ptr, workspace.data.ptr, stream)

        run.arrays = operands, out, workspace  # which live as long
        return run

    def products(self, direction: str, geometry, weights, image) -> float:
        """The same through im2col and cuBLAS."""
        be, cudnn = self.be, self.be.cudnn
        x, w, b = be.zeros(image), be.zeros(weights), be.zeros(weights[:1])
        dy = be.zeros((image[0], weights[0], *geometry.out_size(image[2:])))
        kinds = {
            "fprop": lambda: be.conv_forward(x, w, b, geometry, 0.0),
            "dgrad": lambda: be.conv_backward_data(dy, w, geometry, image[2:]),
            "wgrad": lambda: be.conv_backward_weights(x, dy, geometry, w),
        }
        be.cudnn = None
        try:
            return self.milliseconds(kinds[direction])
        finally:
            be.cudnn = cudnn

    def milliseconds(self, run, times: int = 4) -> float:
        """Of one run, of several in a row."""
        run()
        once = self._of(run, 1)
        return once if once > SLOW else self._of(run, times)

    def _of(self, run, times: int) -> float:
        start, end = self.cuda.Event(), self.cuda.Event()
        start.record()
        for _ in range(times):
            run()
        end.record()
        self.be.synchronize()
        return float(self.cuda.get_elapsed_time(start, end)) / times


def _label(plan) -> str:
    return f"{plan.name or 'unnamed'}, {plan.workspace >> 20} MB"
