"""Input: tops of the given shapes, whose values the user sets before each run."""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault


class Input(Layer):
    type = "Input"
    bottoms = (0, 0)
    given_by_user = True
    tops = (1, None)

    def setup(self, shapes):
        given, tops = self.spec.input_param.shape, len(self.spec.top)
        if len(given) not in (1, tops):
            raise SchemaFault(
                f"{len(given)} shapes for {tops} tops: write input_param {{ shape {{ dim: 1 dim: 3 }} }} "
                "once for all tops, or once for each"
            )
        if any(size < 0 for shape in given for size in shape.dim):
            raise SchemaFault("a dim of input_param's shape is negative")
        return []

    def infer(self, shapes):
        given, tops = self.spec.input_param.shape, len(self.spec.top)
        return [tuple(shape.dim) for shape in given] * (tops if len(given) == 1 else 1)

    def forward(self, xs):
        """Zeros: a net passes the user's arrays in instead of running this layer."""
        return [self.be.zeros(shape) for shape in self.infer([])]
