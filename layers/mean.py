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
        self.shape, self.mean = (len(param.value), 1, 1), None
        if param.file and self.be is not None:  # a net is sized without the file
            self.mean = self.be.asarray(read_mean(param.file))
            self.shape = self.mean.shape
        return []

    def infer(self, shapes):
        channels, *sides = self.shape
        for shape in shapes:
            fits = len(shape) == 4 and (not channels or shape[1] % channels == 0)
            if not fits or (sides != [1, 1] and list(shape[2:]) != sides):
                raise ShapeFault(f"a bottom has shape {shape}: it does not fit the mean, {tuple(self.shape)}")
        return shapes

    def forward(self, xs):
        if self.mean is None:
            self.mean = self.be.asarray(list(self.spec.mean_param.value)).reshape(self.shape)
        slope, shift = self._slope(), self._shift()
        return [x * slope + self.xp.tile(shift, (x.shape[1] // len(shift), 1, 1)) for x in xs]

    def backward(self, dys, need):
        slope = self._slope()
        return [dy * slope if wanted and dy is not None else None for dy, wanted in zip(dys, need, strict=True)]

    def _slope(self):
        return self.spec.mean_param.output_scale * self.spec.mean_param.input_scale

    def _shift(self):
        param = self.spec.mean_param
        sign = -1 if param.operation == param.SUBTRACT else 1
        return self.mean * (sign * param.output_scale * param.mean_scale)
