"""2-D convolutions by cuDNN on CuPy arrays.

At fp32 they take and give (N, C, H, W) floats, the layout of the engines that do not round.  At tf32 and fp16 they
take those or channels-last tensors, and give the latter: the engines for tensor cores read and write NHWC, and would
transpose everything themselves, there and back, in every layer.
"""

from __future__ import annotations

import contextlib
import math

from demitasse.layers.backend.gpu.cudnn_plans import Planner
from demitasse.layers.backend.gpu.cudnn_spec import Spec
from demitasse.layers.backend.gpu.nhwc import NhwcLayout, NhwcTensor
from demitasse.layers.backend.gpu.runtime import ALIGNMENT

FP16_MAX = 65504 / 2  # half of fp16's largest value: room for rounding


class Cudnn:
    """The three directions.  Each gives None (or False) where cuDNN has no engine for the shapes, or a slower one."""

    def __init__(self, runtime, derived, precision: str, deterministic: bool):
        self.runtime, self.xp, self.derived = runtime, runtime.xp, derived
        self.fp16 = precision == "fp16"
        self.layout = None if precision == "fp32" else NhwcLayout(runtime, self.fp16)
        self.deterministic = deterministic
        self.planner = Planner(runtime.index, synchronize=runtime.synchronize)
        self.workspace = None
        self._gradient = None  # (dy, what is made of it) while both gradients need it
        self._sharing = False
        self.recording = None  # a recording.CapturedGraphs that is being made

    def forward(self, x, w, b, geom, relu: bool):
        """(y, whether bias and ReLU are in it)."""
        plan = self.planner.plan(self._spec("fprop", w, geom, b is not None, relu), x.shape)
        if plan is None:
            return None
        operands = [self._weights(w, plan)]
        operands += [self._bias(b)] if plan.spec.bias else []
        fused = plan.spec.relu == relu and plan.spec.bias == (b is not None)
        if self.layout is None:
            return self._run(plan, [self._aligned(x), *operands]), fused
        linear = not (plan.spec.bias or plan.spec.relu)  # what scales x scales y
        scaled = not isinstance(x, NhwcTensor) or x.scale is not None  # a gradient: it may be of any size
        x = self.layout.scaled(1.0, x) if linear and scaled else self.layout.unscaled(self.layout.tensor(x))
        x = self.layout.unfold(x, geom) if plan.unfolded else x
        return NhwcTensor(self.layout, self._run(plan, [x.array, *operands]), x.scale), fused

    def backward_data(self, dy, w, geom, spatial):
        """dx (N, C, *spatial) of dy; None where cuDNN has no plan for it."""
        data_shape = (len(dy), w.shape[1] * geom.group, *spatial)
        plan = self.planner.plan(self._spec("dgrad", w, geom), data_shape)
        if plan is None:
            return None
        if self.layout is None:
            return self._run(plan, [self._aligned(dy), self._weights(w, plan)])
        dy = self._scaled(dy)
        dx = NhwcTensor(self.layout, self._run(plan, [dy.array, self._weights(w, plan)]), dy.scale)
        return self.layout.fold(dx, geom, spatial) if plan.unfolded else dx

    def backward_weights(self, x, dy, geom, dw) -> bool:
        """Adds to dw."""
        plan = self.planner.plan(self._spec("wgrad", dw, geom), x.shape)
        if plan is None:
            return False
        if self.layout is None:
            dw += self._run(plan, [self._aligned(x), self._aligned(dy)])
            return True
        x, dy = self.layout.scaled(1.0, x), self._scaled(dy)
        if plan.unfolded:
            x, dw = self.layout.unfold(x, geom), dw.reshape(plan.spec.weights)
        self.layout.add_to_weights(self._run(plan, [x.array, dy.array]), dw, x, dy)
        return True

    @contextlib.contextmanager
    def one_gradient(self):
        """Inside, dy is converted once for both gradients."""
        self._sharing = True
        try:
            yield
        finally:
            self._sharing, self._gradient = False, None

    def _scaled(self, dy) -> NhwcTensor:
        """dy as cuDNN is to see it: near 1, or so far below that a sum over all pixels, which the weights' gradient
        is, stays within fp16's range."""
        if self._gradient is not None and self._gradient[0] is dy:
            return self._gradient[1]
        terms = max(1, len(dy) * math.prod(dy.shape[2:]))
        target = 2.0 ** min(0, -math.ceil(math.log2(terms / FP16_MAX)))
        inside = self.layout.scaled(target, dy)
        if self._sharing:
            self._gradient = dy, inside
        return inside

    def _weights(self, w, plan):
        w = w.reshape(plan.spec.weights) if plan.unfolded else w
        converted = self.layout is not None and self.layout.converts(w)
        return self._converted(w, self.layout.weights_array, self.layout.weights) if converted else self._aligned(w)

    def _bias(self, b):
        return self._converted(b, self._fp16_array, _to_fp16) if self.fp16 else self._aligned(b)

    def _fp16_array(self, b):
        return self.xp.empty(b.shape, "float16")

    def _converted(self, w, array_for, convert):
        def make(sources, outs):
            convert(*sources, *outs)

        return self.derived.arrays("for cuDNN", (w,), lambda: (array_for(w),), make)[0]

    def _aligned(self, x):
        x = x if x.flags.c_contiguous else self.xp.ascontiguousarray(x)
        return x if x.data.ptr % ALIGNMENT == 0 else x.copy()

    def _spec(self, direction, w, geom, bias=False, relu=False):
        precision = self.fp16, self.layout is not None
        return Spec(
            direction, w.shape, geom.pad, geom.stride, geom.dilation, *precision, bias, relu, self.deterministic
        )

    def _run(self, plan, operands):
        """The plan's output as it lies in memory: (N, C, H, W) at fp32, else (N, H, W, C)."""
        xp, (n, c, h, w) = self.xp, plan.out_shape
        out = (
            xp.empty(plan.out_shape, "float32")
            if self.layout is None
            else xp.empty((n, h, w, c), "float16" if self.fp16 else "float32")
        )
        if plan.workspace and (self.workspace is None or self.workspace.nbytes < plan.workspace):
            self.workspace = xp.empty(plan.workspace, "uint8")  # grows, and serves every layer of the stream
        workspace = self.workspace.data.ptr if plan.workspace else 0
        if self.recording is not None:
            self.recording.held += [plan, self.workspace]
        stream = xp.cuda.get_current_stream().ptr
        self.planner.execute(plan, [a.data.ptr for a in operands], out.data.ptr, workspace, stream)
        return out


def _to_fp16(b, out):
    out[...] = b
