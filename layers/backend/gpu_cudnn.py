"""2-D convolutions by cuDNN on CuPy arrays: float32 NCHW outside, inside what suits its engines."""

from __future__ import annotations

import contextlib
import math

import numpy as np

from layers.backend.gpu_plans import Planner, Spec

ALIGNMENT = 16  # bytes, what a plan expects of every address
HALF_MOST = 65504 / 2  # half of half's largest number: room for rounding
MOST_TILES = 132 * 8  # blocks that turn tiles one after another


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
