"""Mean (FlowNet): output_scale * (input_scale * x - mean_scale * mean), or + with operation: ADD.

The mean is mean_param's `value`, one for each channel and from the first on again, or an image from `file`.  There may
be several bottoms, each with its top.

Source: the prototxts of FlowNet and FlowNet 2.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.weights import read_mean


class Mean(Layer):
    type = "Mean"
    launches_only = True
    bottoms = tops = (1, None)
    same_count = True

    def setup(self, shapes):
        param = self.spec.mean_param
        if bool(param.file) == bool(param.value):
            raise SchemaFault("mean_param: give the mean as value or as file, one of them")
        mean = read_mean(param.file) if param.file else [[[value]] for value in param.value]
        self.mean = self.be.asarray(mean)
        return []

    def infer(self, shapes):
        channels, *sides = self.mean.shape
        for shape in shapes:
            if len(shape) != 4 or shape[1] % channels or (sides != [1, 1] and list(shape[2:]) != sides):
                raise ShapeFault(f"a bottom has shape {shape}: it does not fit the mean, {tuple(self.mean.shape)}")
        return shapes

    def forward(self, xs):
        return [x * self._slope() + self.xp.tile(self._shift(), (x.shape[1] // len(self.mean), 1, 1)) for x in xs]

    def backward(self, dys, need):
        slope = self._slope()
        return [dy * slope if wanted and dy is not None else None for dy, wanted in zip(dys, need, strict=True)]

    def _slope(self):
        return self.spec.mean_param.output_scale * self.spec.mean_param.input_scale

    def _shift(self):
        param = self.spec.mean_param
        sign = -1 if param.operation == param.SUBTRACT else 1
        return self.mean * (sign * param.output_scale * param.mean_scale)
