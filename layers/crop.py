"""Crop: bottom 0 cut to the sizes of bottom 1, on `axis` and all axes after it, from `offset` on.

`axis` is 2 unless given (the image of an (N, C, H, W) blob); `offset` is one number for all cut axes, or one for each.
"""

from demitasse.layers.layer import Layer, axis_index
from demitasse.proto.errors import SchemaFault, ShapeFault


class Crop(Layer):
    type = "Crop"
    launches_only = True
    bottoms = (2, 2)
    crops, drawn_as = True, "crop"
    never_differentiable = (1,)  # only its sizes are read

    def setup(self, shapes):
        param, axes = self.spec.crop_param, len(shapes[0])
        self.axis = axis_index(param.axis, shapes[0])
        offsets = [int(offset) for offset in param.offset] or [0]
        if len(offsets) not in (1, axes - self.axis):
            raise SchemaFault(
                f"{len(offsets)} offsets for the {axes - self.axis} axes from {self.axis} on: "
                "give one for all of them, or one each"
            )
        if len(offsets) == 1:
            offsets *= axes - self.axis
        self.offsets = [0] * self.axis + offsets
        return []

    def infer(self, shapes):
        source, reference = shapes
        if len(source) != len(self.offsets) or len(reference) != len(source):
            raise ShapeFault(f"bottom 0 has shape {source}, bottom 1 has shape {reference}: as many axes expected")
        top = source[: self.axis] + reference[self.axis :]
        for i in range(self.axis, len(source)):
            if self.offsets[i] + top[i] > source[i]:
                raise ShapeFault(
                    f"axis {i}: size {top[i]} of bottom 1 at offset {self.offsets[i]} exceeds the "
                    f"{source[i]} of bottom 0: {self._remedy(source[i] - top[i])}"
                )
        return [top]

    def _remedy(self, room):
        if room < 0:
            return "bottom 0 must be the larger one (are the bottoms exchanged?)"
        return f"offset can be 0 to {room} here"

    def forward(self, xs):
        source, reference = xs
        if self.keep:
            self.saved = source.shape, reference.shape
        part = source[self._window(source.shape, reference.shape)]
        return [source if part.shape == source.shape else part.copy()]

    def backward(self, dys, need):
        if not need[0]:
            return [None, None]
        source, reference = self.saved
        dx = self.be.zeros(source, dys[0].dtype)
        dx[self._window(source, reference)] = dys[0]
        return [dx, None]

    def to_onnx(self, graph, xs):
        source, reference = xs
        axes, starts = range(self.axis, len(source.shape)), self.offsets[self.axis :]
        ends = [start + graph.size(reference, axis) for start, axis in zip(starts, axes, strict=True)]
        return [graph.slice(source, starts, ends, axes)]

    def _window(self, source, reference):
        top = source[: self.axis] + reference[self.axis :]
        return tuple(slice(start, start + size) for start, size in zip(self.offsets, top, strict=True))

    def coords(self):
        return self.axis, (1.0,), tuple(float(-offset) for offset in self.offsets[self.axis :])
