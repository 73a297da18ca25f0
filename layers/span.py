"""The base of Scale and Bias: an operand that spans some axes in a row of what it is combined with."""

from demitasse.layers.layer import Layer, Shape, axis_index
from demitasse.proto.errors import ShapeFault


class SpanLayer(Layer):
    """The operand is learned, or bottom 1; it spans some of bottom 0's axes."""

    bottoms = (1, 2)
    in_place = True

    def span(self, param, shapes: list[Shape]) -> Shape:
        """The operand's shape, from the fields `axis` and `num_axes` or from bottom 1; sets `first`, the axis of
        bottom 0 that it begins at.  ShapeFault where there are not so many."""
        self.first = axis_index(param.axis, shapes[0])
        if len(shapes) > 1:
            self.first = self.first if shapes[1] else 0
            return shapes[1]
        if param.num_axes == -1:
            return shapes[0][self.first :]
        if not 0 <= param.num_axes <= len(shapes[0]) - self.first:
            raise ShapeFault(
                f"num_axes {param.num_axes} from axis {self.first} on is more than a bottom of shape "
                f"{shapes[0]} has: choose 0 to {len(shapes[0]) - self.first}, or -1 for all"
            )
        return shapes[0][self.first : self.first + param.num_axes]

    def check_span(self, shape: Shape, operand: Shape) -> None:
        """ShapeFault unless an operand of this shape fits into bottom 0's shape."""
        spanned = shape[self.first : self.first + len(operand)]
        if spanned != operand:
            raise ShapeFault(
                f"bottom 0 has shape {shape}, of which {operand} cannot span axis {self.first} and on: "
                f"{spanned} is there"
            )

    def stretched(self, operand, axes: int):
        """The operand, to be combined with an array of so many axes."""
        return operand.reshape(*operand.shape, *(1,) * (axes - self.first - operand.ndim))

    def stretched_in(self, graph, xs, index: int):
        """The operand in an ONNX graph: bottom 1 where it is there, else the learned array of this index."""
        axes = len(xs[0].shape)
        operand = graph.sizes(xs[1]) if len(xs) > 1 else self.params[index].shape
        stretched = (*operand, *(1,) * (axes - self.first - len(operand)))
        return graph.reshape(xs[1], stretched) if len(xs) > 1 else graph.param(index, shape=stretched)

    def summed(self, dy, operand: Shape):
        """dy summed over the axes that an operand of this shape does not span."""
        last = self.first + len(operand)
        return dy.sum(axis=(*range(self.first), *range(last, dy.ndim)))
