"""QuantileAccuracy (MyCaffe): which share of targets lies near the middle of three predicted quantiles; a metric.

Bottoms: predictions (N, T, 3), a lower, a middle and an upper quantile, and targets (N, T, 1).  Tops: for each
accuracy_range r the share of targets from middle - r |middle - lower| to middle + r |upper - middle|, the mean of the
last average_period batches.  With accuracy_type: DIRECTION one top, the share of targets on the middle's side of 0, of
the first direction_item_count steps (0: of all).

Source: the prototxts of MyCaffe, which averages the first batches of a period with other weights.
"""

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import GraphFault, SchemaFault, ShapeFault
from demitasse.proto.messages import QuantileAccuracyParameter


class QuantileAccuracy(Layer):
    type = "QuantileAccuracy"
    bottoms, tops = (2, 2), (1, None)
    never_differentiable = (0, 1)

    def setup(self, shapes):
        param = self.param = self.spec.quantile_accuracy_param
        self.directions = param.accuracy_type == QuantileAccuracyParameter.DIRECTION
        self.ranges = [1.0] if self.directions else list(param.accuracy_range)
        if not self.ranges or min(self.ranges) < 0 or not param.average_period:
            raise SchemaFault(
                "accuracy_range is needed, once or more and not negative, and average_period of at least 1"
            )
        if len(self.spec.top) not in (0, len(self.ranges)):
            raise GraphFault(f"{len(self.spec.top)} tops for {len(self.ranges)} accuracy_range: there is one for each")
        self.batches = []  # the last ones' shares, one for each range
        return []

    def infer(self, shapes):
        said, targets = shapes
        if len(said) != 3 or said[2] != 3 or math.prod(targets) != said[0] * said[1]:
            raise ShapeFault(f"predictions {said} and targets {targets}: (N, T, 3) and (N, T, 1) are needed")
        return [()] * len(self.ranges)

    def forward(self, xs):
        xp, (lower, middle, upper) = self.xp, (xs[0][..., i] for i in range(3))
        target = xs[1].reshape(middle.shape)
        if self.directions:
            steps = self.param.direction_item_count or middle.shape[1]
            held = [(xp.sign(target) == xp.sign(middle))[:, :steps]]
        else:
            below, above = xp.abs(middle - lower), xp.abs(upper - middle)
            held = [(target <= middle + r * above) & (target >= middle - r * below) for r in self.ranges]
        shares = xp.stack([each.mean() if each.size else self.be.zeros(()) for each in held]).astype(xs[0].dtype)
        self.batches = [*self.batches, shares][-self.param.average_period :]
        means = sum(self.batches) / len(self.batches)
        return [means[i].reshape(()) for i in range(len(self.ranges))]

    def backward(self, dys, need):
        return [None] * len(need)

    def state(self):
        return {"batches": [[float(share) for share in shares] for shares in self.batches]}

    def load_state(self, state):
        self.batches = [self.be.asarray(shares) for shares in state["batches"]]
