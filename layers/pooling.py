"""Pooling: the largest (MAX), the mean (AVE) or a randomly drawn (STOCHASTIC) pixel of each window.

    out = ceil((in + 2 pad - kernel) / stride) + 1          (floor with round_mode: FLOOR or ceil_mode: false)

With pad, a last window that would begin beyond the image and its near pad is dropped.  AVE divides by the window's
area in image and pad.  Without pad a stride larger than the kernel can leave a last window without a single pixel:
its top is 0 and it passes no gradient.  A second top of MAX holds the index of each winner within its plane.
"""

from __future__ import annotations

from demitasse.layers.backend.geometry import PoolGeometry
from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import PoolingParameter


class Pooling(Layer):
    type = "Pooling"
    tops = (1, 2)

    def setup(self, shapes):
        param = self.spec.pooling_param
        self.method = param.pool
        if len(self.spec.top) > 1 and self.method != PoolingParameter.MAX:
            raise SchemaFault("a second top (the mask of winners) exists for pool: MAX only")
        self.takes_nhwc = self.method != PoolingParameter.STOCHASTIC and len(self.spec.top) < 2
        self.floor = _rounds_down(param)
        self.stride = _pair(param, "stride", 1)
        self.pad = _pair(param, "pad", 0)
        if param.global_pooling:
            self._check_global(param)
            self.kernel = None
            return []
        self.kernel = _pair(param, "kernel_size")
        self._check_sizes()
        return []

    def infer(self, shapes):
        if len(shapes[0]) != 4:
            raise ShapeFault(f"the bottom has shape {shapes[0]}: Pooling takes 4 axes (N, C, height, width)")
        out = self._geometry(shapes[0]).out
        if min(out) < 1:
            raise ShapeFault(
                "a window of {}x{} does not fit into the bottom's {}x{}: use a larger bottom or a smaller "
                "kernel_size".format(*self.kernel, *shapes[0][2:])
            )
        return [(*shapes[0][:2], *out)] * max(1, len(self.spec.top))

    def forward(self, xs):
        (x,), index = xs, None
        geometry = self._geometry(x.shape)
        if self.method == PoolingParameter.MAX and not self.keep and len(self.spec.top) < 2:
            y = self.be.max_pool(x, geometry)
        elif self.method == PoolingParameter.MAX:
            y, index = self.be.max_pool_forward(x, geometry)
        elif self.method == PoolingParameter.AVE:
            y = self.be.ave_pool_forward(x, geometry)
        else:
            y, index = self.be.stochastic_pool_forward(x, geometry, self.train)
        if self.keep:
            needs_values = self.method == PoolingParameter.STOCHASTIC and not self.train
            self.saved = geometry, x.shape[2:], index, (x, y) if needs_values else None
        return [y] if len(self.spec.top) < 2 else [y, index.astype(x.dtype)]

    def backward(self, dys, need):
        if not need[0] or dys[0] is None:
            return [None]
        geometry, spatial, index, values = self.saved
        if index is not None:
            return [self.be.max_pool_backward(dys[0], index, geometry, spatial)]
        if values is None:
            return [self.be.ave_pool_backward(dys[0], geometry, spatial)]
        # y = sum(x^2) / sum(x): with the mean m = sum(x) / area, AVE's backward spreads dy / m as dy / sum(x).
        (x, y), xp = values, self.xp
        mean = self.be.ave_pool_forward(x, geometry)
        share = xp.where(mean > 0, dys[0] / xp.where(mean > 0, mean, 1), 0)
        spread = self.be.ave_pool_backward
        return [2 * x * spread(share, geometry, spatial) - spread(share * y, geometry, spatial)]

    def window(self):
        return self.kernel or (1,)

    def coords(self):
        if self.kernel is None:
            return None
        each = list(zip(self.kernel, self.stride, self.pad, strict=True))
        return 2, tuple(1 / s for _, s, _ in each), tuple((p - (k - 1) / 2) / s for k, s, p in each)

    def _geometry(self, shape):
        """The windows over a bottom of `shape`."""
        kernel, out = self.kernel or shape[2:], []
        for n, k, s, p in zip(shape[2:], kernel, self.stride, self.pad, strict=True):
            room = n + 2 * p - k
            size = (room // s if self.floor else -(-room // s)) + 1
            if any(self.pad) and (size - 1) * s >= n + p:
                size -= 1
            out.append(size)
        return PoolGeometry(tuple(kernel), self.stride, self.pad, tuple(out))

    def _check_global(self, param):
        if any(map(param.HasField, ("kernel_size", "kernel_h", "kernel_w"))):
            raise SchemaFault("global_pooling takes the whole image as its window: leave out the kernel's size")
        if self.pad != (0, 0) or self.stride != (1, 1):
            raise SchemaFault("global_pooling has one window: leave out pad and stride")

    def _check_sizes(self):
        if min(self.kernel) < 1 or min(self.stride) < 1:
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


def _pair(param, field, default=None):
    """(vertical, horizontal) size from `field` or from its _h and _w; not from both."""
    short = "kernel" if field == "kernel_size" else field
    names = [f"{short}_h", f"{short}_w"]
    given = [name for name in names if param.HasField(name)]
    if given and param.HasField(field):
        raise SchemaFault(f"{field} and {given[0]} are both given: write one of the two forms")
    if len(given) == 1:
        raise SchemaFault(f"{given[0]} is given alone: write {names[0]} and {names[1]}")
    if given:
        return tuple(int(getattr(param, name)) for name in names)
    if default is None and not param.HasField(field):
        raise SchemaFault(
            "kernel_size is missing: write pooling_param { kernel_size: 2 }, kernel_h and kernel_w, "
            "or global_pooling: true"
        )
    return (int(getattr(param, field)),) * 2
