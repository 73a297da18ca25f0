"""GradientScaler: what is above learns from the negated gradient, so that it comes to hide what is told below.

Top: the bottom itself, of any shape.  The bottom's gradient is the top's times minus

    lower_bound + (upper_bound - lower_bound) * (2 / (1 + exp(-alpha * p)) - 1)

where p is the share of training done, at most 1: the passes beyond threshold_iter, over threshold_iter + max_iter (so
the forks; passes in TRAIN are counted, where they count the solver's iterations).  Before them it is 0.

Source: "Unsupervised Domain Adaptation by Backpropagation" (Ganin and Lempitsky, 2015), 3.2; the fields of MADA's nets.
"""

import math

from demitasse.layers.counted import CountsPasses
from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault


class GradientScaler(CountsPasses, Layer):
    type = "GradientScaler"
    in_place = True

    def setup(self, shapes):
        param = self.spec.gradient_scaler_param
        if param.lower_bound > param.upper_bound:
            raise SchemaFault(
                f"lower_bound {param.lower_bound:g} is above upper_bound {param.upper_bound:g}: exchange them"
            )
        if param.max_iter < 1 or param.alpha < 0:
            raise SchemaFault("max_iter has to be 1 or more and alpha not negative: they say how soon the scale grows")
        return []

    def forward(self, xs):
        if self.keep:
            self.saved = self.scale()
        self.passes += self.train
        return [xs[0]]

    def backward(self, dys, need):
        return [-self.saved * dys[0] if need[0] else None]

    def to_onnx(self, graph, xs):
        return [xs[0]]

    def scale(self) -> float:
        """What the next pass multiplies by, without its sign."""
        param = self.spec.gradient_scaler_param
        beyond = self.passes - param.threshold_iter
        if beyond < 0 or (beyond == 0 and param.threshold_iter):
            return 0.0
        done = min(1.0, beyond / (param.threshold_iter + param.max_iter))
        grown = 2 / (1 + math.exp(-param.alpha * done)) - 1
        return param.lower_bound + (param.upper_bound - param.lower_bound) * grown
