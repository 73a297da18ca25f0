"""2-D convolutions by cuDNN, through the graph API of nvidia-cudnn-frontend: plans, built once per shape.

A plan is one graph: a convolution in one of three directions ("fprop", "dgrad", "wgrad"), for fprop with bias
and ReLU in the same kernel.  Which engine runs it is chosen by cuDNN's heuristics at the first shape of a layer
(milliseconds); a new image size takes over the engine and its knobs (under a millisecond), and asks the
heuristics again only if that is refused.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
import threading
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# The knob numbers in a plan's name are cudnn_graph.h's CUDNN_KNOB_TYPE_*; the Python enum counts differently.
KNOBS = {
    1: "SWIZZLE", 2: "TILE_SIZE", 4: "EDGE", 11: "MULTIPLY", 12: "SPLIT_K_BUF", 13: "TILEK", 14: "STAGES",
    15: "REDUCTION_MODE", 17: "SPLIT_K_SLC", 18: "IDX_MODE", 23: "SPECFILT", 24: "KERNEL_CFG", 25: "WORKSPACE",
    27: "TILE_CGA_M", 28: "TILE_CGA_N", 29: "BLOCK_SIZE", 30: "OCCUPANCY", 31: "ARRAY_SIZE_PER_THREAD",
    33: "SPLIT_COLS", 34: "TILE_ROWS", 35: "TILE_COLS", 36: "LOAD_SIZE", 37: "CTA_COUNT", 38: "STREAM_K",
    39: "SPLIT_P_SLC", 40: "TILE_M", 41: "TILE_N", 42: "WARP_SPEC_CFG",
}  # fmt: skip
ALIGNMENT = 16  # bytes, what a plan expects of every address
WORKSPACE_LIMIT = 512 << 20  # bytes one convolution may ask for
HALF_MOST = 65504 / 2  # half of half's largest number: room for rounding
MOST_TILES = 132 * 8  # blocks that turn tiles one after another
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


class Convolutions:
    """The three directions on CuPy arrays: float32 NCHW in and out, whatever the precision inside.  Each gives None
    (or False) where cuDNN has no engine for the shapes."""

    def __init__(self, runtime, precision: str, deterministic: bool):
        self.runtime, self.xp = runtime, runtime.xp
        self.half = precision == "fp16"
        self.tf32 = precision != "fp32"
        self.deterministic = deterministic
        self.planner = Planner(runtime.index, synchronize=runtime.synchronize)
        self.workspace = None
        self._gradient = None  # (dy, its copy inside, its scale) while both ways back need them
        self._sharing = False
        self._kept = None  # {(address, shape): the copy inside} of weights while they are steady

    def forward(self, x, w, b, geom, relu: bool):
        plan = self.planner.plan(self._spec("fprop", w.shape, geom, bias=b is not None, relu=relu), x.shape)
        if plan is None:
            return None
        bias = [] if b is None else [self._bias(b)]
        return self._outside(self._run(plan, [self._inside(x), self._weights(w), *bias]), plan.out_shape)

    def backward_data(self, dy, w, geom, spatial):
        image = (len(dy), w.shape[1] * geom.group, *spatial)
        plan = self.planner.plan(self._spec("dgrad", w.shape, geom), image)
        if plan is None:
            return None
        dy, bits, factor = self._scaled(dy)
        return self._outside(self._run(plan, [dy, self._weights(w)]), image, bits, factor)

    def backward_weights(self, x, dy, geom, dw) -> bool:
        """Adds to dw."""
        plan = self.planner.plan(self._spec("wgrad", dw.shape, geom), x.shape)
        if plan is None:
            return False
        dy, bits, factor = self._scaled(dy)
        if not self.half:
            dw += self._run(plan, [self._inside(x), dy])
            return True
        x_bits = self._largest(x)
        ours = self._run(plan, [self._inside(x, x_bits), dy])
        self._turn("add_from_half", ours, dw, (x_bits, bits, factor), len(dw), math.prod(dw.shape[2:]), dw.shape[1])
        return True

    @contextlib.contextmanager
    def one_gradient(self):
        """Inside, dy is converted once for both ways back."""
        self._sharing = True
        try:
            yield
        finally:
            self._sharing, self._gradient = False, None

    @contextlib.contextmanager
    def steady_weights(self, kept: dict | None = None):
        """Inside, weights are converted once.  kept: what has been converted, to be used and added to; None: what
        the scope around this one has."""
        outer, self._kept = self._kept, kept if kept is not None else self._kept if self._kept is not None else {}
        try:
            yield
        finally:
            self._kept = outer

    def _weights(self, w):
        return self._steady(w, self._inside)

    def _bias(self, b):
        return self._steady(b, lambda b: b.astype("float16")) if self.half else self._inside(b)

    def _steady(self, w, convert):
        if self._kept is None or not self.half:
            return convert(w)
        key = w.data.ptr, w.shape
        if key not in self._kept:
            self._kept[key] = convert(w)
        return self._kept[key]

    def _spec(self, direction, weights, geom, bias=False, relu=False):
        return Spec(direction, tuple(weights), geom.pad, geom.stride, geom.dilation, self.half, self.tf32, bias, relu,
                    self.deterministic)  # fmt: skip

    def _run(self, plan, operands):
        xp = self.xp
        out = xp.empty(plan.out_shape, "float16" if self.half else "float32")
        if plan.workspace and (self.workspace is None or self.workspace.nbytes < plan.workspace):
            self.workspace = xp.empty(plan.workspace, "uint8")  # grows, and serves every layer of the stream
        workspace = self.workspace.data.ptr if plan.workspace else 0
        stream = xp.cuda.get_current_stream().ptr
        self.planner.execute(plan, [a.data.ptr for a in operands], out.data.ptr, workspace, stream)
        return out

    # -- what cuDNN is to see: x itself, or with fp16 its half-precision copy in NHWC order --------
    #
    # Half's largest number is 65504, its smallest 6e-8.  So gradients are scaled by a power of two that brings the
    # largest of them near 1, or so far below that a sum over all pixels, which a weight's gradient is, stays in
    # range; the images are scaled to 1 for that sum too.  Both scales are computed and read on the device: `bits`
    # are those of an array's largest number.

    def _inside(self, x, bits=None, factor=1.0):
        x = self.xp.ascontiguousarray(x)
        if not self.half:
            return x if x.data.ptr % ALIGNMENT == 0 else x.copy()
        inside = self.xp.empty(x.shape, "float16")
        self._turn("to_half", x, inside, (bits, factor), len(x), x.shape[1], math.prod(x.shape[2:]))
        return inside

    def _outside(self, y, shape, bits=None, factor=1.0):
        if not self.half:
            return y
        outside = self.xp.empty(shape, "float32")
        self._turn("from_half", y, outside, (bits, factor), shape[0], math.prod(shape[2:]), shape[1])
        return outside

    def _scaled(self, dy):
        """(dy as cuDNN is to see it, the bits of its scale, a factor of it beside them)."""
        if not self.half:
            return self._inside(dy), None, 1.0
        if self._gradient is not None and self._gradient[0] is dy:
            return self._gradient[1:]
        terms = max(1, len(dy) * math.prod(dy.shape[2:]))
        bits, factor = self._largest(dy), 2.0 ** min(0, -math.ceil(math.log2(terms / HALF_MOST)))
        inside = self._inside(dy, bits, factor)
        if self._sharing:
            self._gradient = dy, inside, bits, factor
        return inside, bits, factor

    def _largest(self, x):
        bits, x = self.xp.zeros(1, "int32"), self.xp.ascontiguousarray(x)
        self.runtime.launch("convolution", "largest", x.size, x, bits, np.int64(x.size))
        return bits

    def _turn(self, kernel, x, y, scale, images, rows, columns):
        """Launch a kernel that turns (images, rows, columns) to (images, columns, rows)."""
        *bits, factor = scale
        tiles = images * -(-rows // 32) * -(-columns // 32)
        self.runtime.launch("convolution", kernel, x.size, x, y, *bits, np.float32(factor), np.int32(images),
                            np.int32(rows), np.int32(columns), blocks=min(tiles, MOST_TILES))  # fmt: skip
