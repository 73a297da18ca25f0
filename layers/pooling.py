"""Pooling: the largest (MAX), the mean (AVE) or a randomly drawn (STOCHASTIC) pixel of each window.

    out = ceil((in + 2 pad - kernel) / stride) + 1          (floor with round_mode: FLOOR or ceil_mode: false)

With more than two spatial axes kernel_size stands for all, or kernel_shape { dim: ... } and its like give one
each.  With pad, a last window that would begin beyond the image and its near pad is dropped.  AVE divides by the
window's area in image and pad.  Without pad a stride larger than the kernel can leave a last window without a single
pixel: its top is 0 and it passes no gradient.  A second top of MAX holds the index of each winner within its plane.

With darknet: true a window begins at the last pixels, too, as Darknet has it: MAX of kernel_size 2 and stride 1 keeps
the size.
"""

from __future__ import annotations

import math

from demitasse.layers.backend.geometry import PoolGeometry
from demitasse.layers.layer import Layer
from demitasse.layers.onnx.windows import Windows
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import PoolingParameter


class Pooling(Layer):
    type = "Pooling"
    launches_only = True
    drawn_as = "pooling"
    tops = (1, 2)
    more = 0  # windows along each axis beyond Caffe's

    def setup(self, shapes):
        param, axes = self.spec.pooling_param, len(shapes[0]) - 2
        if axes < 2:
            raise ShapeFault(f"the bottom has shape {shapes[0]}: Pooling takes 4 axes (N, C, height, width), or more")
        self.method = param.pool
        if len(self.spec.top) > 1 and (self.method != PoolingParameter.MAX or axes != 2):
            raise SchemaFault("a second top (the mask of winners) exists for pool: MAX only, over 2 spatial axes")
        if self.method == PoolingParameter.STOCHASTIC and axes != 2:
            raise SchemaFault(f"pool: STOCHASTIC is for 2 spatial axes, the bottom has {axes}")
        self.takes_nhwc = self.method != PoolingParameter.STOCHASTIC and len(self.spec.top) < 2 and axes == 2
        self.floor = _rounds_down(param)
        self.stride = _sizes(param, "stride", axes, 1)
        self.pad = _sizes(param, "pad", axes, 0)
        if param.global_pooling:
            self._check_global(param)
            self.kernel = None
            return []
        self.kernel = _sizes(param, "kernel_size", axes)
        self._check_sizes()
        self.more = self._of_darknet(param)
        return []

    @property
    def takes_repeated(self):
        """Also: forward takes `repeats`, whether its only top may be such an image."""
        return self._is_max and len(self.stride) == 2

    @property
    def _is_max(self):
        return self.method == PoolingParameter.MAX and not self.keep and len(self.spec.top) < 2

    def infer(self, shapes):
        (shape,) = shapes
        if len(shape) != 2 + len(self.stride):
            axes = "(N, C, height, width)" if len(self.stride) == 2 else f"(N, C and {len(self.stride)} more)"
            raise ShapeFault(f"the bottom has shape {shape}: Pooling takes {2 + len(self.stride)} axes {axes}")
        out = self._out(shape)
        if min(out) < 1:
            raise ShapeFault(
                f"a window of {_by(self.kernel)} does not fit into the bottom's {_by(shape[2:])}: use a larger bottom "
                "or a smaller kernel_size"
            )
        return [(*shape[:2], *out)] * max(1, len(self.spec.top))

    def forward(self, xs, repeats=False):
        (x,), index, saved = xs, None, []
        y = x
        for view, geometry in self._stages(x.shape):
            x = y if y.shape == view else y.reshape(view)
            y, index = self._pool(x, geometry, repeats)
            if self.keep:
                needs_values = self.method == PoolingParameter.STOCHASTIC and not self.train
                saved.append((geometry, view, index, (x, y) if needs_values else None))
        if self.keep:
            self.saved = xs[0].shape, saved
        if len(self.stride) != 2:
            y = y.reshape(*xs[0].shape[:2], *self._out(xs[0].shape))
        return [y] if len(self.spec.top) < 2 else [y, index.astype(xs[0].dtype)]

    def backward(self, dys, need):
        if not need[0] or dys[0] is None:
            return [None]
        (shape, saved), dx = self.saved, dys[0]
        for geometry, view, index, values in reversed(saved):
            if len(self.stride) != 2:
                dx = dx.reshape(*view[:2], *geometry.out)
            dx = self._unpool(dx, geometry, view[2:], index, values)
        return [dx if len(self.stride) == 2 else dx.reshape(shape)]

    def to_onnx(self, graph, xs):
        (x,), method = xs, self.method
        if self.kernel is None and method == PoolingParameter.AVE:
            return [graph.node("GlobalAveragePool", x)]
        if self.kernel is None and method == PoolingParameter.MAX and len(self.spec.top) < 2:
            return [graph.node("GlobalMaxPool", x)]
        kernel = self.kernel or graph.sizes(x)[2:]
        if self.more:
            return [graph.node("MaxPool", x, kernel_shape=[2, 2], pads=[0, 0, 1, 1])]
        windows = Windows(graph, x, kernel, self.stride, self.pad, self.floor)
        if method == PoolingParameter.MAX:
            return windows.max(mask=len(self.spec.top) > 1)
        return [windows.mean() if method == PoolingParameter.AVE else windows.expected()]

    def window(self):
        return self.kernel or (1,)

    def coords(self):
        if self.kernel is None:
            return None
        each = list(zip(self.kernel, self.stride, self.pad, strict=True))
        return 2, tuple(1 / s for _, s, _ in each), tuple((p - (k - 1) / 2) / s for k, s, p in each)

    def _pool(self, x, geometry, repeats):
        """(y, index of what was taken or None) of a bottom (N, C, height, width)."""
        if self._is_max:
            return self.be.max_pool(x, geometry, repeats), None
        if self.method == PoolingParameter.MAX:
            return self.be.max_pool_forward(x, geometry)
        if self.method == PoolingParameter.AVE:
            return self.be.ave_pool_forward(x, geometry), None
        return self.be.stochastic_pool_forward(x, geometry, self.train)

    def _unpool(self, dy, geometry, spatial, index, values):
        if index is not None:
            return self.be.max_pool_backward(dy, index, geometry, spatial)
        if values is None:
            return self.be.ave_pool_backward(dy, geometry, spatial)
        # y = sum(x^2) / sum(x): with the mean m = sum(x) / area, AVE's backward spreads dy / m as dy / sum(x).
        (x, y), xp = values, self.xp
        mean = self.be.ave_pool_forward(x, geometry)
        share = xp.where(mean > 0, dy / xp.where(mean > 0, mean, 1), 0)
        spread = self.be.ave_pool_backward
        return 2 * x * spread(share, geometry, spatial) - spread(share * y, geometry, spatial)

    def _out(self, shape) -> tuple[int, ...]:
        """The top's sizes for a bottom of `shape`."""
        out = []
        for n, k, s, p in zip(shape[2:], self.kernel or shape[2:], self.stride, self.pad, strict=True):
            room = n + 2 * p - k
            size = (room // s if self.floor else -(-room // s)) + 1
            if any(self.pad) and (size - 1) * s >= n + p:
                size -= 1
            out.append(size + self.more)
        return tuple(out)

    def _stages(self, shape):
        """(view of a bottom of `shape` as (N, C, height, width), windows over that), one after the other.

        The largest and the mean of a box are those of its planes' largest and means: the last two axes are pooled
        together, every axis before them alone.
        """
        sizes, out, (n, channels, *spatial) = self.kernel or shape[2:], self._out(shape), shape
        each = list(zip(sizes, self.stride, self.pad, out, strict=True))
        view = (n, channels * math.prod(spatial[:-2]), *spatial[-2:])
        yield view, PoolGeometry(*zip(*each[-2:], strict=True))
        for axis in range(len(spatial) - 3, -1, -1):
            rest = math.prod(out[axis + 1 :])
            view = (n, channels * math.prod(spatial[:axis]), spatial[axis], rest)
            yield view, PoolGeometry(*zip(each[axis], (1, 1, 0, rest), strict=True))

    def _of_darknet(self, param) -> int:
        """`more`: 1 where the layer is Darknet's pooling that keeps the size."""
        keeps = (self.kernel, self.stride, self.pad) == ((2, 2), (1, 1), (0, 0)) and len(self.spec.top) < 2
        keeps &= self.method == PoolingParameter.MAX
        if param.darknet and not keeps:
            raise SchemaFault(
                "darknet is for one top of pool: MAX with kernel_size 2, stride 1 and pad 0: leave it out"
            )
        return int(param.darknet)

    def _check_global(self, param):
        if any(map(param.HasField, ("kernel_size", "kernel_h", "kernel_w", "kernel_shape"))):
            raise SchemaFault("global_pooling takes the whole image as its window: leave out the kernel's size")
        if any(self.pad) or any(s != 1 for s in self.stride):
            raise SchemaFault("global_pooling has one window: leave out pad and stride")

    def _check_sizes(self):
        if any(k < 1 for k in self.kernel) or any(s < 1 for s in self.stride):
            raise SchemaFault(f"kernel {self.kernel} and stride {self.stride} must be at least 1")
        if any(self.pad) and self.method == PoolingParameter.STOCHASTIC:
            raise SchemaFault("pool: STOCHASTIC has no pad: a pixel of the pad cannot be drawn")
        if any(p >= k for p, k in zip(self.pad, self.kernel, strict=True)):
            raise SchemaFault(
                f"pad {self.pad} must be smaller than the kernel {self.kernel}: a window would lie in the pad alone"
            )


def _rounds_down(param) -> bool:
    """What forks of Caffe call round_mode: FLOOR, or ceil_mode: false."""
    floor = param.round_mode == PoolingParameter.FLOOR
    if param.HasField("ceil_mode"):
        if param.HasField("round_mode") and floor == param.ceil_mode:
            raise SchemaFault("round_mode and ceil_mode contradict each other: leave one of them out")
        floor = not param.ceil_mode
    return floor


def _sizes(param, field, axes, default=None):
    """A size for each spatial axis: from `field`, from its _h and _w, or from its shape; from one of them."""
    short = "kernel" if field == "kernel_size" else field
    names, shape = [f"{short}_h", f"{short}_w"], f"{short}_shape"
    given = [name for name in [*names, shape] if param.HasField(name)]
    if given and param.HasField(field):
        raise SchemaFault(f"{field} and {given[0]} are both given: write one of the two forms")
    if shape in given:
        sizes = tuple(getattr(param, shape).dim)
        if len(sizes) != axes or len(given) > 1:
            raise SchemaFault(f"{shape} {list(sizes)} has to give one size for each of the {axes} spatial axes")
        return sizes
    if len(given) == 1:
        raise SchemaFault(f"{given[0]} is given alone: write {names[0]} and {names[1]}")
    if given and axes > 2:
        raise SchemaFault(f"{names[0]} and {names[1]} are for 2 spatial axes, here are {axes}: write {shape}")
    if given:
        return tuple(int(getattr(param, name)) for name in names)
    if default is None and not param.HasField(field):
        raise SchemaFault(
            "kernel_size is missing: write pooling_param { kernel_size: 2 }, kernel_h and kernel_w, "
            "or global_pooling: true"
        )
    return (int(getattr(param, field)),) * axes


def _by(sizes) -> str:
    return "x".join(str(n) for n in sizes)
