"""RankHardLoss (video_triplet): a pair that belongs together should be more alike than either is to others.

Bottoms: features (N, D) of length 1, labels (N,); the first two of each `pair_size` items are a pair.  With d(a, b) =
-a.b, a pair (x, y) and items z of other labels, the top is the sum of max(0, d(x, y) - d(x, z) + margin) + max(0,
d(x, y) - d(y, z) + margin), over 2 neg_num N / pair_size.  Of the z that lose to x by less than the margin, neg_num
count where there are more: hard_ratio of them drawn of the neg_num nearest, rand_ratio of the rest.

Source: "Unsupervised Learning of Visual Representations using Videos" (Wang and Gupta, 2015), 4.
"""

import math

from demitasse.layers.layer import LossLayer
from demitasse.proto.errors import SchemaFault, ShapeFault


class RankHardLoss(LossLayer):
    type = "RankHardLoss"
    fields = ("rank_param",)

    def setup(self, shapes):
        if self.spec.rank_param.pair_size < 2 or self.spec.rank_param.neg_num < 1:
            raise SchemaFault("rank_param: pair_size is at least 2, neg_num at least 1")
        return []

    def infer(self, shapes):
        (x, labels), size = shapes, self.spec.rank_param.pair_size
        if labels[:1] != x[:1] or set(labels[1:]) - {1}:
            raise ShapeFault(f"features of shape {x} and labels of shape {labels}: give one label for each item")
        if x[0] % size:
            raise ShapeFault(f"{x[0]} items are no multiple of pair_size {size}")
        return [()]

    def forward(self, xs):
        xp, param, x = self.xp, self.spec.rank_param, xs[0].reshape(len(xs[0]), math.prod(xs[0].shape[1:]))
        distance, first = -x @ x.T, xp.arange(0, len(x), param.pair_size)
        labels = xs[1].reshape(-1).astype(int)
        own = distance[first, first + 1][:, None]
        to_first, to_second = own - distance[first] + param.margin, own - distance[first + 1] + param.margin
        chosen = self._chosen((labels[first][:, None] != labels) & (to_first > 0), distance[first])
        loses = [(chosen & (each > 0)).astype(x.dtype) for each in (to_first, to_second)]
        over = max(1, 2 * param.neg_num * len(first))
        if self.keep:
            self.saved = xs[0].shape, x, first, loses, over
        total = sum((each * gap).sum() for each, gap in zip(loses, (to_first, to_second), strict=True))
        return [xp.asarray(total / over, x.dtype)]

    def backward(self, dys, need):
        if not need[0]:
            return [None, None]
        shape, x, first, (by_first, by_second), over = self.saved
        both = (by_first + by_second).sum(1, keepdims=True)
        dx = by_first.T @ x[first] + by_second.T @ x[first + 1]
        dx[first] += by_first @ x - both * x[first + 1]
        dx[first + 1] += by_second @ x - both * x[first]
        return [(dys[0] * dx / over).reshape(shape), None]

    def _chosen(self, counts, distance):
        """Which of the items that count are compared with each pair: all, or neg_num of them."""
        xp, param = self.xp, self.spec.rank_param
        hard, others = int(param.neg_num * param.hard_ratio), int(param.neg_num * param.rand_ratio)
        draw = self.be.asarray(self.be.rng.random(counts.shape))
        rank = xp.argsort(xp.argsort(xp.where(counts, distance, xp.inf), axis=1), axis=1)
        near = counts & (rank < param.neg_num)
        drawn = near & (_order(xp, near, draw) < hard)
        rest = counts & ~drawn
        drawn |= rest & (_order(xp, rest, draw) < others)
        return xp.where(counts.sum(1, keepdims=True) > param.neg_num, drawn, counts)


def _order(xp, those, draw):
    """The place of each of those of a row in a drawn order."""
    return xp.argsort(xp.argsort(xp.where(those, draw, 2), axis=1), axis=1)
