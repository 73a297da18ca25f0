"""PriorBox (SSD): the default boxes that a detector's predictions are relative to, some at each pixel of a feature map.

Bottoms: the feature map (N, C, h, w) and the image (N, C, H, W); of both the sizes alone count.
Top: (1, 2, h w P 4): the corners (x1, y1, x2, y2) of P boxes per pixel as shares of the image, then their variances.
Pixel (i, j) has its boxes' centre at step * (j + offset, i + offset) of the image; the step is image over map.
Each min_size s gives a square of that side, with its max_size m one of sqrt(s m), and for each further aspect ratio r
(and 1 / r with flip) s sqrt(r) x s / sqrt(r).  Sizes are cut to whole pixels, as in all forks that follow SSD's.

TextBoxes doubles every box half a step lower (denser_prior_boxes), FaceBoxes places its smaller squares more densely
(densify).  Their published nets do not say so; their sizes and ratios do, see `_as_published`.
Source: "SSD: Single Shot MultiBox Detector" (Liu et al., 2016), 2.2; TextBoxes (Liao et al., 2017); FaceBoxes (Zhang et
al., 2017), 3.2.
"""

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.warning import warn


class PriorBox(Layer):
    type = "PriorBox"
    bottoms = (2, 2)
    never_differentiable = (0, 1)

    def setup(self, shapes):
        param = self.spec.prior_box_param
        self.denser, self.densify = _as_published(param)
        self.boxes = [box for i in range(len(_sizes(param))) for box in self._boxes_of(param, i)]
        self.variance = _variance(param)
        self.image = _pair(param, "img_size", "img_h", "img_w")
        self.step = _pair(param, "step", "step_h", "step_w")
        return []

    def infer(self, shapes):
        if any(len(shape) != 4 for shape in shapes):
            raise ShapeFault(f"the bottoms have shapes {shapes}: a feature map and an image, (N, C, H, W), expected")
        height, width = shapes[0][2:]
        return [(1, 2, height * width * len(self.boxes) * 4)]

    def forward(self, xs):
        xp, size = self.xp, xs[0].shape[2:]
        image = self.image or xs[1].shape[2:]
        step = self.step or [of / n for of, n in zip(image, size, strict=True)]
        y, x = (
            (xp.arange(n, dtype="float64") + self.spec.prior_box_param.offset) * s
            for n, s in zip(size, step, strict=True)
        )
        boxes = xp.asarray(
            [(dx * step[1], dy * step[0], width / 2, height / 2) for dx, dy, width, height in self.boxes]
        )
        shape = (*size, len(boxes))
        x, y = (xp.broadcast_to(a, shape) for a in (x[:, None] + boxes[:, 0], y[:, None, None] + boxes[:, 1]))
        half_width, half_height = boxes[:, 2], boxes[:, 3]
        corners = xp.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=-1)
        corners = corners / xp.asarray([image[1], image[0]] * 2, dtype="float64")
        if self.spec.prior_box_param.clip:
            corners = xp.clip(corners, 0, 1)
        variances = xp.broadcast_to(xp.asarray(self.variance, dtype="float64"), corners.shape)
        return [self.be.asarray(xp.stack([corners.reshape(-1), variances.reshape(-1)])[None])]

    def _boxes_of(self, param, i):
        """The boxes of min_size number i at a pixel: (dx, dy, width, height), by how many steps off its centre."""
        size = int(param.min_size[i])
        sides = [(size, size)]
        if param.max_size:
            sides.append((math.sqrt(size * int(param.max_size[i])),) * 2)
        sides += [(size * math.sqrt(ratio), size / math.sqrt(ratio)) for ratio in _ratios(param)[1:]]
        if self.densify:
            across = int(max(param.min_size)) // size
            shifts = [(k - across // 2) / across for k in range(across)]
            return [(dx, dy, width - 1, height - 1) for width, height in sides for dy in shifts for dx in shifts]
        return [(0, dy, width, height) for width, height in sides for dy in ((0, 0.5) if self.denser else (0,))]

    def to_onnx(self, graph, xs):
        param, sizes = self.spec.prior_box_param, graph.sizes(xs[0])[2:]
        image = [graph.as_float(size) for size in self.image or graph.sizes(xs[1])[2:]]
        step = self.step or [of / graph.as_float(n) for of, n in zip(image, sizes, strict=True)]
        dx, dy, width, height = (graph.constant(numbers) for numbers in zip(*self.boxes, strict=True))
        y, x = ((graph.cast(graph.arange(n), "float32") + param.offset) * s for n, s in zip(sizes, step, strict=True))
        x = graph.reshape(x, [1, -1, 1]) + dx * step[1]
        y = graph.reshape(y, [-1, 1, 1]) + dy * step[0]
        x, y = x + y * 0.0, y + x * 0.0  # (height, width, boxes) each
        sides = [(x - width / 2.0, 1), (y - height / 2.0, 0), (x + width / 2.0, 1), (y + height / 2.0, 0)]
        last = graph.constant([3], "int64")
        corners = graph.concat([graph.node("Unsqueeze", side / image[axis], last) for side, axis in sides], 3)
        corners = graph.clip(corners, 0.0, 1.0) if param.clip else corners
        variances = corners * 0.0 + graph.constant(self.variance)
        return [graph.concat([graph.reshape(part, [1, 1, -1]) for part in (corners, variances)], 1)]


def _as_published(param) -> tuple[bool, bool]:
    """(denser_prior_boxes, densify): where a net says neither, by what only nets of those forks have."""
    denser, densify = param.denser_prior_boxes, param.densify
    if not param.HasField("denser_prior_boxes") and not param.flip and list(param.aspect_ratio)[-3:] == [5, 7, 10]:
        denser = True
        warn(
            "aspect ratios up to 10 that are not flipped are TextBoxes': each box is doubled half a step lower, as "
            "there; write denser_prior_boxes: true, or false for the boxes of SSD"
        )
    if not param.HasField("densify") and list(param.min_size) == [32, 64, 128] and not param.aspect_ratio:
        densify = not param.max_size
        if densify:
            warn(
                "min_size 32, 64 and 128 at one place are FaceBoxes': 16 + 4 + 1 boxes per pixel, as there; write "
                "densify: true, or false for the boxes of SSD"
            )
    return denser, densify


def _sizes(param) -> list[float]:
    if not param.min_size or min(param.min_size) < 1:
        raise SchemaFault(f"min_size {list(param.min_size)}: give one or more sides of boxes in pixels, min_size: 30")
    if param.max_size and len(param.max_size) != len(param.min_size):
        raise SchemaFault(
            f"max_size is given {len(param.max_size)} times for {len(param.min_size)} min_size: give as many, or none"
        )
    for least, most in zip(param.min_size, param.max_size, strict=False):
        if most <= least:
            raise SchemaFault(f"max_size {most:g} must be greater than its min_size {least:g}")
    return list(param.min_size)


def _ratios(param) -> list[float]:
    """1 and the aspect ratios that differ from those before them."""
    ratios = [1.0]
    for ratio in param.aspect_ratio:
        if not ratio > 0:
            raise SchemaFault(f"aspect_ratio {ratio:g} must be greater than 0: it is width over height")
        for each in (ratio, 1 / ratio) if param.flip else (ratio,):
            if all(abs(each - known) >= 1e-6 for known in ratios):
                ratios.append(each)
    return ratios


def _variance(param) -> list[float]:
    variance = list(param.variance) or [0.1]
    if len(variance) not in (1, 4) or min(variance) <= 0:
        raise SchemaFault(f"variance {variance}: give one number above 0, or one for each of x1, y1, x2 and y2")
    return variance * (4 // len(variance))


def _pair(param, both: str, vertical: str, horizontal: str):
    """(vertical, horizontal) from one field or from two; None where neither is given."""
    if param.HasField(both) and (param.HasField(vertical) or param.HasField(horizontal)):
        raise SchemaFault(f"{both} and {vertical}/{horizontal} are both given: write one of the two forms")
    if param.HasField(vertical) != param.HasField(horizontal):
        raise SchemaFault(f"write both {vertical} and {horizontal}, or {both} alone")
    first, second = (both, both) if param.HasField(both) else (vertical, horizontal)
    pair = getattr(param, first), getattr(param, second)
    if (param.HasField(first) or param.HasField(second)) and min(pair) <= 0:
        raise SchemaFault(f"{first} must be greater than 0")
    return pair if min(pair) > 0 else None
