"""Filter: keeps the items of a batch whose selector, the last bottom (N,), is not zero.

The other bottoms (N, ...) each have a top; nothing selected gives tops of no items.  How many there will be is known
only in forward, so infer gives the shapes for all of them.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import GraphFault, ShapeFault


class Filter(Layer):
    type = "Filter"
    bottoms, tops = (2, None), (1, None)
    shapes_from_data = True

    def setup(self, shapes):
        if len(self.spec.top) != len(shapes) - 1:
            raise GraphFault(
                f"{len(shapes)} bottoms and {len(self.spec.top)} tops: each bottom but the last, "
                f"the selector, needs its top: {len(shapes) - 1}"
            )
        self.never_differentiable = (len(shapes) - 1,)
        return []

    def infer(self, shapes):
        *items, selector = shapes
        if set(selector[1:]) - {1}:
            raise ShapeFault(f"the selector has shape {selector}: give one number per item, shape ({selector[0]},)")
        for i, shape in enumerate(items):
            if shape[:1] != selector[:1]:
                raise ShapeFault(
                    f"bottom {i} has shape {shape}, but the selector has {selector}: "
                    "as many items as selectors are needed"
                )
        return items

    def forward(self, xs):
        *items, selector = xs
        (chosen,) = self.xp.nonzero(selector.reshape(-1))
        if self.keep:
            self.saved = chosen, [x.shape for x in items]
        return [x[chosen] for x in items]

    def backward(self, dys, need):
        chosen, shapes = self.saved
        dxs = [self.be.zeros(shape) if needed else None for shape, needed in zip(shapes, need, strict=False)]
        for dx, dy in zip(dxs, dys, strict=True):
            if dx is not None and dy is not None:
                dx[chosen] = dy
        return [*dxs, None]

    def to_onnx(self, graph, xs):
        *items, selector = xs
        chosen = graph.cast(graph.reshape(selector, [-1]), "bool")
        return [graph.chosen(x, chosen) for x in items]
