"""ArgMax: the indices (or values) of the top_k largest entries, largest first; of equal ones the later index first.

Without `axis` each item of the batch is one row: x (N, ...) gives y (N, 1, top_k), or (N, 2, top_k) with
`out_max_val` (indices, then values), and (N, 1, top_k, 1, ...) for an x of more than three axes.
With `axis` the row is that axis, which becomes top_k long and holds indices, or with `out_max_val` values.
"""

import math

from demitasse.layers.layer import Layer, axis_index
from demitasse.proto.errors import ShapeFault


class ArgMax(Layer):
    type = "ArgMax"
    launches_only = True
    never_differentiable = (0,)

    def infer(self, shapes):
        (shape,) = shapes
        param = self.spec.argmax_param
        axis = self._axis(shape)
        length = math.prod(shape[1:]) if axis is None else shape[axis]
        if not 1 <= param.top_k <= length:
            raise ShapeFault(
                f"top_k {param.top_k} of rows that are {length} long (bottom {shape}): choose 1 to {length}"
            )
        if axis is not None:
            return [shape[:axis] + (param.top_k,) + shape[axis + 1 :]]
        return [(shape[0], 2 if param.out_max_val else 1, param.top_k) + (1,) * (len(shape) - 3)]

    def forward(self, xs):
        xp, (x,), param = self.xp, xs, self.spec.argmax_param
        axis = self._axis(x.shape)
        rows = x.reshape(len(x), math.prod(x.shape[1:])) if axis is None else xp.moveaxis(x, axis, -1)
        if param.top_k == 1:  # the first maximum from the end is the last one from the start
            index = rows.shape[-1] - 1 - xp.argmax(rows[..., ::-1], axis=-1)[..., None]
        else:
            index = xp.argsort(rows, axis=-1, kind="stable")[..., : -param.top_k - 1 : -1]
        values = xp.take_along_axis(rows, index, axis=-1) if param.out_max_val else None
        index = index.astype(x.dtype)
        if axis is not None:
            y = index if values is None else values
            return [xp.ascontiguousarray(xp.moveaxis(y, -1, axis))]
        y = index[:, None] if values is None else xp.stack([index, values], axis=1)
        return [y.reshape(y.shape + (1,) * (x.ndim - 3))]

    def backward(self, dys, need):
        return [None]

    def to_onnx(self, graph, xs):
        (x,), param = xs, self.spec.argmax_param
        axes = len(x.shape)
        axis = param.axis % axes if param.HasField("axis") else 1
        rows = x if param.HasField("axis") else graph.node("Flatten", x, axis=1)
        n = graph.size(x, axis) if rows is x else math.prod(graph.sizes(x)[1:])
        top = graph.constant([param.top_k], "int64")
        # of equal values TopK takes the earlier, so it sees the row from its end
        values, index = graph.node("TopK", graph.reversed(rows, [axis]), top, axis=axis, outputs=2)
        index.dtype = "int64"
        index = graph.cast(n - 1 - index, "float32")
        if rows is x:
            return [values if param.out_max_val else index]
        tops = [index, values] if param.out_max_val else [index]
        return [graph.reshape(graph.concat(tops, 1), [-1, len(tops), param.top_k, *[1] * (axes - 3)])]

    def _axis(self, shape):
        """Along which axis the rows lie; None: each item is one."""
        param = self.spec.argmax_param
        return axis_index(param.axis, shape, "argmax_param.axis") if param.HasField("axis") else None
