"""CropCenter (waifu2x-caffe): leaves out crop_size entries at both ends of each axis.

Source: the prototxts of waifu2x-caffe, whose nets have no padding.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault


class CropCenter(Layer):
    type = "CropCenter"
    launches_only = True

    def setup(self, shapes):
        sizes = self.spec.crop_center_param.crop_size
        if len(sizes) != len(shapes[0]):
            raise SchemaFault(
                f"crop_size is given {len(sizes)} times for the {len(shapes[0])} axes of the bottom {shapes[0]}: "
                "give one for each, 0 where nothing is left out"
            )
        return []

    def infer(self, shapes):
        (shape,), sizes = shapes, list(self.spec.crop_center_param.crop_size)
        if len(shape) != len(sizes) or any(n <= 2 * size for n, size in zip(shape, sizes, strict=True)):
            raise ShapeFault(f"crop_size {sizes} at both ends leaves nothing of the bottom {shape}")
        return [tuple(n - 2 * size for n, size in zip(shape, sizes, strict=True))]

    def forward(self, xs):
        if self.keep:
            self.saved = xs[0].shape
        return [self.xp.ascontiguousarray(xs[0][self._window(xs[0].shape)])]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        dx = self.be.zeros(self.saved)
        dx[self._window(self.saved)] = dys[0]
        return [dx]

    def coords(self):
        sizes = self.spec.crop_center_param.crop_size
        return (2, (1.0,) * len(sizes[2:]), tuple(-float(size) for size in sizes[2:])) if len(sizes) > 2 else None

    def to_onnx(self, graph, xs):
        sizes = list(self.spec.crop_center_param.crop_size)
        ends = [n - size for n, size in zip(graph.sizes(xs[0]), sizes, strict=True)]
        return [graph.slice(xs[0], sizes, ends, list(range(len(sizes))))]

    def _window(self, shape):
        sizes = self.spec.crop_center_param.crop_size
        return tuple(slice(size, n - size) for n, size in zip(shape, sizes, strict=True))
