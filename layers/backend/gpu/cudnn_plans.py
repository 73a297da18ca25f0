"""Plans of 2-D convolutions for cuDNN, through the graph API of nvidia-cudnn-frontend: built once per shape.

A plan is one graph: a convolution in one of three directions ("fprop", "dgrad", "wgrad"), for fprop with bias
and ReLU in the same kernel.  Which engine runs it is chosen by cuDNN's heuristics at the first shape of a layer
(milliseconds); a new image size takes over the engine and its knobs (under a millisecond), and asks the
heuristics again only if that is refused.

The first engine that cuDNN names is taken, but where the channels are many it must be one for tensor cores: at half
precision the first for fc6 of FCN is not (eng11 with bias and ReLU, eng1 for its weights' gradient; cuDNN 9.19).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from demitasse.layers.backend.gpu.cudnn_knobs import recipe
from demitasse.layers.backend.gpu.cudnn_spec import Spec
from demitasse.proto.warning import warn

WORKSPACE_LIMIT = 512 << 20  # bytes one convolution may ask for
# Gradients of weights by Winograd's transforms: of 3x3 kernels they keep five digits at fp32, of 5x5 less than three
WINOGRAD_WGRAD = "eng17"
MAX_PLANS = 4096  # each is about 130 kB of host memory; a net like FCN-8s has 60 for one size of image


@dataclass
class CudnnPlan:
    spec: Spec  # what it does: where bias and ReLU would cost the tensor cores, the convolution alone
    graph: Any
    inputs: list
    output: Any
    out_shape: tuple[int, int, int, int]
    workspace: int
    name: str = ""  # cuDNN's: engine and knobs
    index: int | None = None  # which of the graph's plans; None: the only one that was built
    unfolded: bool = False  # x is to be unfolded first, or dx folded afterwards
    used: int = 0  # when it was last asked for

    def __post_init__(self):
        self.uids = [tensor.get_uid() for tensor in (*self.inputs, self.output)]


class Handle:
    """cuDNN's state for one device and thread, and the stream it launches on."""

    def __init__(self, cudnn):
        self.cudnn, self.id, self.stream = cudnn, cudnn.create_handle(), None

    def use(self, stream: int) -> None:
        """Put what follows on a CUDA stream."""
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
        self.plans: dict[tuple, CudnnPlan | None] = {}
        self.clock = itertools.count(1)
        self.synchronize = synchronize
        self.recipes: dict[Spec, tuple] = {}  # ((engine, knobs), the name that says so)
        self.unfused: set[Spec] = set()  # with bias or ReLU, for which the convolution alone has the better engine
        self.heuristic_builds = 0
        if device_json is None:
            self.handle = _handle(cudnn, device, threading.get_ident())
            self.target = {"handle": self.handle.id}
        else:
            self.target = {"device_property": cudnn.create_device_properties(device_json), "sm_version": 90}

    def plan(self, spec: Spec, shape: tuple[int, int, int, int]) -> CudnnPlan | None:
        """The plan for data of that shape (N, C, H, W): dx for dgrad, else x.  None where cuDNN has no engine, or
        cuBLAS is faster."""
        key = spec, shape
        plan = self.plans.get(key)
        if plan is not None:
            plan.used = next(self.clock)
        elif key not in self.plans:
            if len(self.plans) >= MAX_PLANS:
                self._forget()
            plan = self.plans[key] = self._built(spec, shape)
        return plan

    def _built(self, spec, shape):
        if spec.prefers_cublas(shape):
            return None
        unfolded = spec.channels_last and spec.is_unfolded(shape)
        plan = self._folded(*(spec.unfolded(shape) if unfolded else (spec, shape)))
        if plan is not None:
            plan.unfolded, plan.used = unfolded, next(self.clock)
        return plan

    def _folded(self, spec, shape):
        plan = None if spec in self.unfused else self._from_recipe(spec, shape) or self._on_tensor_cores(spec, shape)
        if plan is None and spec.wants_tensor_cores and spec != spec.unfused:
            plan = self._from_recipe(spec.unfused, shape) or self._on_tensor_cores(spec.unfused, shape)
            if plan is not None:
                self.unfused.add(spec)
        return plan or self._first(spec, shape)

    def _forget(self):
        """Drop the quarter that has not been used for longest; none of it may still be running."""
        self.synchronize()
        oldest = sorted(self.plans, key=lambda key: self.plans[key].used if self.plans[key] else 0)
        for key in oldest[: len(self.plans) // 4 + 1]:
            del self.plans[key]

    def execute(self, plan: CudnnPlan, pointers: list[int], out: int, workspace: int, stream: int) -> None:
        """Run on device addresses; asynchronous on the stream."""
        self.handle.use(stream)
        addresses = dict(zip(plan.uids, (*pointers, out), strict=True))
        if plan.index is None:
            plan.graph.execute(addresses, workspace, handle=self.handle.id)
        else:
            plan.graph.execute_plan_at_index(addresses, workspace, plan.index, handle=self.handle.id)

    def _from_recipe(self, spec, shape):
        if spec not in self.recipes:
            return None
        try:
            graph, inputs, output, out_shape = self._graph(spec, shape)
            found, name = self.recipes[spec]
            graph.create_execution_plan(*found)
            self._select(graph, spec, False)
            graph.check_support()
            graph.build_plans()
        except self.refusals:
            return None  # the engine does not take this size
        workspace = graph.get_workspace_size()
        if workspace > WORKSPACE_LIMIT:
            return None  # it does, for too much memory
        return CudnnPlan(spec, graph, inputs, output, out_shape, workspace, name)

    def _on_tensor_cores(self, spec, shape):
        """By an engine for tensor cores, where they pay; None where there is none, or it does not matter."""
        if not spec.wants_tensor_cores:
            return None
        mode = self.cudnn.heur_mode
        for modes in ([mode.A], [mode.B]):
            with contextlib.suppress(*self.refusals):
                return self._from_heuristics(spec, shape, modes, True)
        return None

    def _first(self, spec, shape):
        """By the first engine there is."""
        mode = self.cudnn.heur_mode
        try:
            return self._from_heuristics(spec, shape, [mode.A, mode.FALLBACK], False)
        except self.refusals as error:
            first = str(error).splitlines()[0] if str(error) else "no reason given"
            warn(f"cuDNN has no engine for {spec} of {shape}, cuBLAS is used: {first}")
            return None

    def _from_heuristics(self, spec, shape, modes, tensor_cores: bool):
        graph, inputs, output, out_shape = self._graph(spec, shape)
        graph.create_execution_plans(modes)
        self._select(graph, spec, tensor_cores)
        graph.check_support()
        graph.build_plans()
        self.heuristic_builds += 1
        name = self._chosen(graph)
        found = recipe(self.cudnn, name)
        if found is not None:
            self.recipes[spec] = found, name
        return CudnnPlan(spec, graph, inputs, output, out_shape, graph.get_workspace_size(), name)

    def candidates(self, spec, shape, count: int) -> Iterator[CudnnPlan]:
        """The first plans of the heuristics' lists, to be measured; nothing of them is kept."""
        mode, seen = self.cudnn.heur_mode, set()
        for modes in ([mode.A], [mode.B], [mode.FALLBACK]):
            graph, *ends = self._graph(spec, shape)
            with contextlib.suppress(*self.refusals):
                graph.create_execution_plans(modes)
                self._select(graph, spec, False)
                graph.check_support()
            for index in range(graph.get_execution_plan_count()):
                name = graph.get_plan_name_at_index(index)
                if name in seen or len(seen) >= count:
                    continue
                with contextlib.suppress(*self.refusals):
                    graph.build_plan_at_index(index)
                    seen.add(name)
                    yield CudnnPlan(spec, graph, *ends, graph.get_workspace_size_plan_at_index(index), name, index)

    def _select(self, graph, spec, tensor_cores: bool):
        """Which engines may be taken."""
        notes, unwanted = self.cudnn.numerical_note, []
        if not spec.channels_last:
            # FFT engines are 1,700 launches for the gradient of conv1_2 of FCN-8s: 9 ms where others take 1
            unwanted += [notes.TENSOR_CORE, notes.DOWN_CONVERT_INPUTS, notes.FFT]
        if max(spec.weights[2:]) > 3:
            unwanted.append(notes.WINOGRAD)
            if spec.direction == "wgrad":
                graph.deselect_engines([WINOGRAD_WGRAD])
        if spec.deterministic:
            unwanted.append(notes.NONDETERMINISTIC)
        if tensor_cores:
            graph.select_numeric_notes([notes.TENSOR_CORE])
        if unwanted:
            graph.deselect_numeric_notes(unwanted)
        graph.deselect_workspace_greater_than(WORKSPACE_LIMIT)

    def _chosen(self, graph):
        """The name of the plan that was built: the first of the heuristics' list that has passed the selection."""
        for index in range(graph.get_execution_plan_count()):
            try:
                graph.get_workspace_size_plan_at_index(index)
            except self.refusals:
                continue  # deselected: not built
            return graph.get_plan_name_at_index(index)
        return ""

    def _graph(self, spec, data_shape):
        cudnn = self.cudnn
        kind = cudnn.data_type.HALF if spec.fp16 else cudnn.data_type.FLOAT
        graph = cudnn.pygraph(
            io_data_type=kind,
            intermediate_data_type=cudnn.data_type.FLOAT,
            compute_data_type=cudnn.data_type.FLOAT,
            **self.target,
        )
        y_shape = (data_shape[0], spec.weights[0], *spec.out_size(data_shape))
        sizes = {"padding": list(spec.pad), "stride": list(spec.stride), "dilation": list(spec.dilation)}

        def tensor(shape):
            return graph.tensor(dim=list(shape), stride=_strides(shape, spec.channels_last))

        if spec.direction == "fprop":
            inputs = [tensor(data_shape), tensor(spec.weights)]
            output, out_shape = graph.conv_fprop(*inputs, **sizes), y_shape
            if spec.bias:
                k = spec.weights[0]
                inputs.append(graph.tensor(dim=[1, k, 1, 1], stride=[k, 1, 1, 1]))
                output = graph.bias(input=output, bias=inputs[2])
            if spec.relu:
                output = graph.relu(output)
        elif spec.direction == "dgrad":
            inputs = [tensor(y_shape), tensor(spec.weights)]
            output, out_shape = graph.conv_dgrad(loss=inputs[0], filter=inputs[1], **sizes), data_shape
        else:
            inputs = [tensor(data_shape), tensor(y_shape)]
            output, out_shape = graph.conv_wgrad(image=inputs[0], loss=inputs[1], **sizes), spec.weights
        output.set_output(True).set_data_type(kind).set_dim(list(out_shape)).set_stride(
            _strides(out_shape, spec.channels_last)
        )
        graph.validate()
        graph.build_operation_graph()
        return graph, inputs, output, out_shape


def _strides(shape, channels_last):
    _, c, h, w = shape
    return [c * h * w, 1, c * w, c] if channels_last else [c * h * w, h * w, w, 1]
