"""ReshapeTemporal (MyCaffe): the steps of series as items of their own, and back.

BEFORE: bottoms x (N, T, ...), and if wanted a context (N, C) that holds for all steps; tops (N * T, values), and the
context (N * T, C), repeated for each step (forced_repeat_count -1), or all of it so many times after itself; with 0 it
has steps of its own, (N, T, C).
AFTER: bottoms x (N * T, values), with enable_weight_output weights (N * T, count), and last the (N, T, ...) that was
reshaped before, of which the shape counts only; tops (N, T, values), with enable_clip_output ones (N, T), the second
bottom of an LSTM, and the weights (N, T, count).
In a prototxt AFTER has no last bottom: it is that of the layer of mode BEFORE which its first bottom comes from.

Source: the prototxts of MyCaffe; "Temporal fusion transformers for interpretable multi-horizon time series forecasting"
(Lim et al., 2021), 4.2, whose weights all steps share.
"""

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import GraphFault, ShapeFault
from demitasse.proto.messages import ReshapeTemporalParameter


class ReshapeTemporal(Layer):
    type = "ReshapeTemporal"
    bottoms, tops = (1, 3), (1, 3)
    never_differentiable = (2,)

    def setup(self, shapes):
        param = self.param = self.spec.reshape_temporal_param
        self.before = param.mode == ReshapeTemporalParameter.BEFORE
        if not self.before and not param.steps_of_last:
            raise GraphFault(
                "its first bottom comes from no ReshapeTemporal layer of mode BEFORE, which would say how many steps "
                "it is made of"
            )
        bottoms = (1, 2) if self.before else (2 + param.enable_weight_output,)
        tops = len(shapes) if self.before else 1 + param.enable_clip_output + param.enable_weight_output
        if len(shapes) not in bottoms or len(self.spec.top) not in (0, tops):
            given = len(shapes) - (not self.before)
            raise GraphFault(
                f"{given} bottoms and {len(self.spec.top)} tops: as many as are needed are {self._needed()}"
            )
        return []

    def infer(self, shapes):
        if self.before:
            return self._before(*shapes)
        x, series = shapes[0], shapes[-1]
        if len(series) < 2 or any(shape[:1] != (series[0] * series[1],) for shape in shapes[:-1]):
            raise ShapeFault(f"the bottom has shape {x}, which is no row for each step of {series}, (N, T, ...)")
        tops = [(*series[:2], math.prod(x[1:]))]
        if self.param.enable_clip_output:
            tops.append(series[:2])
        if self.param.enable_weight_output:
            tops.append((*series[:2], math.prod(shapes[1][1:])))
        return tops

    def forward(self, xs):
        shapes = [x.shape for x in xs]
        tops = self.infer(shapes)
        if self.keep:
            self.saved = shapes
        if not self.before:
            arrays = [xs[0]]
            if self.param.enable_clip_output:
                arrays.append(self.be.zeros(tops[1]) + 1)
            arrays += xs[1:-1]
            return [array.reshape(top) for array, top in zip(arrays, tops, strict=True)]
        repeated = [self._repeated(xs[1], xs[0].shape[1])] if len(xs) > 1 else []
        return [array.reshape(top) for array, top in zip((xs[0], *repeated), tops, strict=True)]

    def backward(self, dys, need):
        shapes = self.saved
        if not self.before:
            grads = [dys[0], *(dys[-1:] if self.param.enable_weight_output else []), None]
        else:
            grads = [dys[0], *(self._summed(dy, shapes[1], shapes[0][1]) for dy in dys[1:])]
        return [
            grad.reshape(shape) if wanted and grad is not None else None
            for grad, shape, wanted in zip(grads, shapes, need, strict=True)
        ]

    def _needed(self) -> str:
        if self.before:
            return "one or two, and tops as bottoms"
        weights, clip = self.param.enable_weight_output, self.param.enable_clip_output
        return f"{1 + weights} and {1 + clip + weights}, with enable_clip_output and enable_weight_output as they are"

    def _before(self, x, context=None):
        if len(x) < 2:
            raise ShapeFault(f"the bottom has shape {x}: (N, T, ...) is needed")
        tops, count = [(x[0] * x[1], math.prod(x[2:]))], self.param.forced_repeat_count
        if context is None:
            return tops
        if len(context) < 2 or context[0] != x[0]:
            raise ShapeFault(f"the bottoms have shapes {x} and {context}: a context (N, C) of as many items is needed")
        if not count:
            return [*tops, (context[0] * context[1], math.prod(context[2:]))]
        return [*tops, (x[0] * (x[1] if count < 0 else count), math.prod(context[1:]))]

    def _repeated(self, context, steps):
        """The context as often as it is wanted."""
        count, xp = self.param.forced_repeat_count, self.xp
        if not count:
            return context
        wide = context[:, None] if count < 0 else context[None]
        return xp.repeat(wide, steps, 1) if count < 0 else xp.repeat(wide, count, 0)

    def _summed(self, dy, shape, steps):
        """The gradient of a context of this shape."""
        count = self.param.forced_repeat_count
        if not count or dy is None:
            return dy
        size = math.prod(shape[1:])
        return dy.reshape(shape[0], steps, size).sum(1) if count < 0 else dy.reshape(count, shape[0], size).sum(0)
