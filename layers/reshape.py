"""Reshape: the same numbers in another shape.

The axes from `axis` on, `num_axes` of them (-1: all), are replaced by shape.dim, where 0 copies the bottom's axis
in that place and one -1 stands for what is left over.
"""

import math

from demitasse.layers.reshaping import ReshapingLayer
from demitasse.proto.errors import SchemaFault, ShapeFault


class Reshape(ReshapingLayer):
    type = "Reshape"
    launches_only = True

    def setup(self, shapes):
        dims = list(self.spec.reshape_param.shape.dim)
        if min(dims, default=0) < -1 or dims.count(-1) > 1:
            raise SchemaFault(f"reshape_param.shape {dims}: dims are sizes, 0 (copy) and at most one -1 (the rest)")
        return []

    def infer(self, shapes):
        (shape,), param = shapes, self.spec.reshape_param
        start = param.axis if param.axis >= 0 else len(shape) + param.axis + 1
        end = len(shape) if param.num_axes == -1 else start + param.num_axes
        if not 0 <= start <= end <= len(shape):
            raise ShapeFault(
                f"axis {param.axis} with num_axes {param.num_axes} asks for axes {start} to {end - 1} "
                f"of a bottom of shape {shape}"
            )
        dims = list(param.shape.dim)
        for i, dim in enumerate(dims):
            if dim == 0:
                if start + i >= len(shape):
                    raise ShapeFault(
                        f"dim {i} of reshape_param.shape is 0 (copy axis {start + i}), but the bottom has shape {shape}"
                    )
                dims[i] = shape[start + i]
        wanted = [*shape[:start], *dims, *shape[end:]]
        # Sizes of 0 count as 1 for the rest, so that an empty batch gets the shape that a full one has.
        known, count = (math.prod(size or 1 for size in sizes if size != -1) for sizes in (wanted, shape))
        top = tuple(count // known if size == -1 else size for size in wanted)
        if math.prod(top) != math.prod(shape):
            raise ShapeFault(
                f"the bottom {shape} holds {math.prod(shape)} numbers, which do not fill the new shape "
                f"{tuple(wanted)}: change reshape_param.shape"
            )
        return [top]

    def to_onnx(self, graph, xs):
        (x,), param = xs, self.spec.reshape_param
        axes = len(x.shape)
        start = param.axis if param.axis >= 0 else axes + param.axis + 1
        end = axes if param.num_axes == -1 else start + param.num_axes
        # 0 copies the axis of the same place, in ONNX too
        return [graph.reshape(x, [*[0] * start, *param.shape.dim, *graph.sizes(x)[end:]])]
