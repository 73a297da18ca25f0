"""Power: y = (shift + scale * x) ** power."""

from demitasse.layers.layer import Layer


class Power(Layer):
    type = "Power"
    launches_only = True
    in_place = True

    def forward(self, xs):
        param = self.spec.power_param
        inner = param.shift + param.scale * xs[0]
        if self.keep:
            self.saved = inner
        return [inner**param.power if param.power != 1 else inner]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        param = self.spec.power_param
        slope = param.power * param.scale
        if slope == 0 or param.power == 1:
            return [dys[0] * slope]
        return [dys[0] * slope * self.saved ** (param.power - 1)]  # defined at 0 too, unlike y / inner

    def to_onnx(self, graph, xs):
        param = self.spec.power_param
        inner = param.shift + param.scale * xs[0]
        return [inner**param.power if param.power != 1 else inner]
