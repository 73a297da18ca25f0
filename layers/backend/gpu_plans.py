"""Plans of 2-D convolutions for cuDNN, through the graph API of nvidia-cudnn-frontend: built once per shape.

A plan is one graph: a convolution in one of three directions ("fprop", "dgrad", "wgrad"), for fprop with bias
and ReLU in the same kernel.  Which engine runs it is chosen by cuDNN's heuristics at the first shape of a layer
(milliseconds); a new image size takes over the engine and its knobs (under a millisecond), and asks the
heuristics again only if that is refused.
"""

from __future__ import annotations

import functools
import re
import threading
import warnings
from dataclasses import dataclass, field
from typing import Any

# The knob numbers in a plan's name are cudnn_graph.h's CUDNN_KNOB_TYPE_*; the Python enum counts differently.
KNOBS = {
    1: "SWIZZLE", 2: "TILE_SIZE", 4: "EDGE", 11: "MULTIPLY", 12: "SPLIT_K_BUF", 13: "TILEK", 14: "STAGES",
    15: "REDUCTION_MODE", 17: "SPLIT_K_SLC", 18: "IDX_MODE", 23: "SPECFILT", 24: "KERNEL_CFG", 25: "WORKSPACE",
    27: "TILE_CGA_M", 28: "TILE_CGA_N", 29: "BLOCK_SIZE", 30: "OCCUPANCY", 31: "ARRAY_SIZE_PER_THREAD",
    33: "SPLIT_COLS", 34: "TILE_ROWS", 35: "TILE_COLS", 36: "LOAD_SIZE", 37: "CTA_COUNT", 38: "STREAM_K",
    39: "SPLIT_P_SLC", 40: "TILE_M", 41: "TILE_N", 42: "WARP_SPEC_CFG",
}  # fmt: skip
WORKSPACE_LIMIT = 512 << 20  # bytes one convolution may ask for
MOST_PLANS = 4096  # each is about 130 kB of host memory; a net like FCN-8s has 60 for one size of image


@dataclass(frozen=True)
class Spec:
    """What a plan depends on, the sizes of its images aside.  Images are NCHW in float32, NHWC in float16:
    the layouts that cuDNN's engines of each type work in."""

    direction: str  # "fprop" | "dgrad" | "wgrad"
    weights: tuple[int, int, int, int]  # (K, C / group, kh, kw)
    pad: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    half: bool = False
    tf32: bool = True
    bias: bool = False
    relu: bool = False
    deterministic: bool = True


@dataclass
class Plan:
    graph: Any
    inputs: list
    output: Any
    out_shape: tuple[int, int, int, int]
    workspace: int
    name: str = field(default="")


class Handle:
    """cuDNN's state for one device and thread, and the stream it launches on."""

    def __init__(self, cudnn):
        self.cudnn, self.id, self.stream = cudnn, cudnn.create_handle(), None

    def use(self, stream: int) -> None:
        if stream != self.stream:
            self.cudnn.set_stream(handle=self.id, stream=stream)
            self.stream = stream


@functools.cache
def _handle(cudnn, device: int, thread: int) -> Handle:
    """One for all backends there: each holds memory on the device, for as long as the process runs."""
    return Handle(cudnn)


class Planner:
    """Builds and keeps plans.  `device_json` describes a device that is not there (for tests without a GPU);
    `synchronize` waits for what runs on the one that is."""

    def __init__(self, device: int = 0, device_json: str | None = None, synchronize=lambda: None):
        import cudnn

        self.cudnn = cudnn
        # The frontend says some refusals of an engine by the one, some by the other, which is no kind of it.
        self.refusals = cudnn.cudnnGraphNotSupportedError, RuntimeError
        self.plans: dict = {}  # the last used last
        self.synchronize = synchronize
        self.used: dict[int, Plan] | None = None  # where plans that run are noted
        self.recipes: dict[Spec, tuple] = {}
        self.heuristic_builds = 0
        if device_json is None:
            self.handle = _handle(cudnn, device, threading.get_ident())
            self.target = {"handle": self.handle.id}
        else:
            self.target = {"device_property": cudnn.create_device_properties(device_json), "sm_version": 90}

    def plan(self, spec: Spec, image: tuple[int, int, int, int]) -> Plan | None:
        """The plan for an image (N, C, H, W) on the data side of the convolution; None where cuDNN has no engine."""
        key = (spec, image)
        if key in self.plans:
            self.plans[key] = self.plans.pop(key)
        else:
            if len(self.plans) >= MOST_PLANS:
                self._forget()
            self.plans[key] = self._from_recipe(spec, image) or self._from_heuristics(spec, image)
        return self.plans[key]

    def _forget(self):
        """Drop the quarter that has not been used for longest; none of it may still be running."""
        self.synchronize()
        for key in list(self.plans)[: len(self.plans) // 4 + 1]:
            del self.plans[key]

    def execute(self, plan: Plan, pointers: list[int], out: int, workspace: int, stream: int) -> None:
        """Run on device addresses; asynchronous on the stream."""
        self.handle.use(stream)
        if self.used is not None:
            self.used[id(plan)] = plan
        addresses = dict(zip(plan.inputs, pointers, strict=True))
        addresses[plan.output] = out
        plan.graph.execute(addresses, workspace, handle=self.handle.id)

    def _from_recipe(self, spec, image):
        if spec not in self.recipes:
            return None
        try:
            graph, inputs, output, out_shape = self._graph(spec, image)
            graph.create_execution_plan(*self.recipes[spec])
            graph.check_support()
            graph.build_plans()
        except self.refusals:
            return None  # the engine does not take this size
        workspace = graph.get_workspace_size()
        if workspace > WORKSPACE_LIMIT:
            return None  # it does, for too much memory
        return Plan(graph, inputs, output, out_shape, workspace)

    def _from_heuristics(self, spec, image):
        cudnn = self.cudnn
        notes = []
        if not spec.tf32 and not spec.half:
            notes += [cudnn.numerical_note.TENSOR_CORE, cudnn.numerical_note.DOWN_CONVERT_INPUTS]
        if spec.deterministic:
            notes.append(cudnn.numerical_note.NONDETERMINISTIC)
        try:
            graph, inputs, output, out_shape = self._graph(spec, image)
            graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
            if notes:
                graph.deselect_numeric_notes(notes)
            graph.deselect_workspace_greater_than(WORKSPACE_LIMIT)
            graph.check_support()
            graph.build_plans()
        except self.refusals as error:
            first = str(error).splitlines()[0] if str(error) else "no reason given"
            warnings.warn(f"cuDNN has no engine for {spec} of {image}, cuBLAS is used: {first}", stacklevel=2)
            return None
        self.heuristic_builds += 1
        name = self._chosen(graph)
        self._learn(spec, name)
        return Plan(graph, inputs, output, out_shape, graph.get_workspace_size(), name)

    def _chosen(self, graph):
        """The name of the plan that was built: the first of the heuristics' list that has passed the selection."""
        for index in range(graph.get_execution_plan_count()):
            try:
                graph.get_workspace_size_plan_at_index(index)
            except self.refusals:
                continue  # deselected: not built
            return graph.get_plan_name_at_index(index)
        return ""

    def _learn(self, spec, name):
        """Read engine and knobs off a plan's name, such as "eng19_k2=1_k27=0"; pass over names that say more."""
        engine = re.match(r"eng(\d+)", name)
        knobs = {int(k): int(v) for k, v in re.findall(r"k(\d+)=(-?\d+)", name)}
        kinds = {number: getattr(self.cudnn.knob_type, name, None) for number, name in KNOBS.items()}
        if engine and all(kinds.get(k) is not None for k in knobs):
            self.recipes[spec] = int(engine[1]), {kinds[k]: v for k, v in knobs.items()}

    def _graph(self, spec, image):
        cudnn = self.cudnn
        kind = cudnn.data_type.HALF if spec.half else cudnn.data_type.FLOAT
        graph = cudnn.pygraph(
            io_data_type=kind,
            intermediate_data_type=cudnn.data_type.FLOAT,
            compute_data_type=cudnn.data_type.FLOAT,
            **self.target,
        )
        answer = (image[0], spec.weights[0], *_out_size(spec, image))
        sizes = {"padding": list(spec.pad), "stride": list(spec.stride), "dilation": list(spec.dilation)}

        def tensor(shape):
            return graph.tensor(dim=list(shape), stride=_strides(shape, spec.half))

        if spec.direction == "fprop":
            inputs = [tensor(image), tensor(spec.weights)]
            output, shape = graph.conv_fprop(*inputs, **sizes), answer
            if spec.bias:
                k = spec.weights[0]
                inputs.append(graph.tensor(dim=[1, k, 1, 1], stride=[k, 1, 1, 1]))
                output = graph.bias(input=output, bias=inputs[2])
            if spec.relu:
                output = graph.relu(output)
        elif spec.direction == "dgrad":
            inputs = [tensor(answer), tensor(spec.weights)]
            output, shape = graph.conv_dgrad(loss=inputs[0], filter=inputs[1], **sizes), image
        else:
            inputs = [tensor(image), tensor(answer)]
            output, shape = graph.conv_wgrad(image=inputs[0], loss=inputs[1], **sizes), spec.weights
        output.set_output(True).set_data_type(kind).set_dim(list(shape)).set_stride(_strides(shape, spec.half))
        graph.validate()
        graph.build_operation_graph()
        return graph, inputs, output, shape


def _strides(shape, channels_last):
    _, c, h, w = shape
    return [c * h * w, 1, c * w, c] if channels_last else [c * h * w, h * w, w, 1]


def _out_size(spec, image):
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(image[2:], spec.pad, spec.dilation, spec.weights[2:], spec.stride, strict=True)
    )
