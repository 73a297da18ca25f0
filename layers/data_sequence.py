"""DataSequence (MyCaffe): items with another of their class, and with others of other classes.

Bottoms: items (N, ...), labels (N,).  Tops: the items, as anchors; with k of 1 or more, for each a positive, an item of
its class, and k negatives, of other classes; with k 0 one negative, in whose place every second item has a positive
where balance_matches is true.  With output_labels the labels of all of them follow, (N, tops of items).  They are drawn
from the last cache_size items of each class, those of this batch among them; a positive is the anchor itself only where
its class has no other.

Params, none of them learned: the stored items (label_count * cache_size, ...), and how many of each class have come.
Source: the prototxts of MyCaffe; which items are drawn is our own generator's.
"""

import math

from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import GraphFault, LabelFault, SchemaFault, ShapeFault


class DataSequence(Layer):
    type = "DataSequence"
    bottoms, tops = (2, 2), (2, None)
    never_differentiable = (0, 1)

    def setup(self, shapes):
        param = self.param = self.spec.data_sequence_param
        if param.label_count < 2 or param.cache_size < 1:
            raise SchemaFault(
                "data_sequence_param needs label_count, of at least 2 classes, and a cache_size of 1 or more"
            )
        self.items = 2 + param.k
        wanted = self.items + param.output_labels
        if len(self.spec.top) not in (0, wanted):
            raise GraphFault(f"{len(self.spec.top)} tops: with k {param.k} there are {wanted}, the labels included")
        params = [Param((param.label_count * param.cache_size, *shapes[0][1:])), Param((param.label_count,))]
        for stored in params:
            stored.lr_mult = stored.decay_mult = 0.0
        return params

    def infer(self, shapes):
        items, labels = shapes
        if not items or labels[:1] != items[:1] or set(labels[1:]) - {1}:
            raise ShapeFault(f"items of shape {items} and labels of shape {labels}: give one label for each item")
        if items[1:] != self.params[0].shape[1:]:
            raise ShapeFault(f"the items have shape {items[1:]}, those that are stored {self.params[0].shape[1:]}")
        return [items] * self.items + [(items[0], self.items)] * self.param.output_labels

    def forward(self, xs):
        xp, (stored, come), size = self.xp, self.params, self.param.cache_size
        labels = [int(label) - self.param.label_start for label in xs[1].reshape(-1)]
        if labels and not 0 <= min(labels) <= max(labels) < self.param.label_count:
            first = self.param.label_start
            raise LabelFault(f"a label is outside of {first} to {first + self.param.label_count - 1} (label_count)")
        counts = [int(count) for count in come.data]
        own = []
        for label in labels:
            own.append(label * size + counts[label] % size)
            counts[label] += 1
        stored.data[xp.asarray(own, dtype="int64")] = xs[0]
        come.data[...] = xp.asarray(counts)
        kept = [min(count, size) for count in counts]
        chosen = [self._partners(i, *place, kept) for i, place in enumerate(zip(labels, own, strict=True))]
        tops = [xs[0]]
        for column in range(self.items - 1):
            tops.append(stored.data[xp.asarray([places[column] for places in chosen], dtype="int64")])
        if self.param.output_labels:
            rows = [[label, *(place // size for place in places)] for label, places in zip(labels, chosen, strict=True)]
            rows = self.be.asarray(rows).reshape(len(labels), self.items)
            tops.append((rows + self.param.label_start).astype(xs[0].dtype))
        return tops

    def backward(self, dys, need):
        return [None] * len(need)

    def macs(self, bottom_shapes, top_shapes):
        return math.prod(bottom_shapes[1])

    def _partners(self, item, label, own, kept):
        """Where what goes with an anchor is stored: its positive first, where it has one."""
        rng, size, k = self.be.rng, self.param.cache_size, self.param.k
        positive = label * size + (own % size + int(rng.integers(1, max(2, kept[label])))) % kept[label]
        if not k and self.param.balance_matches and item % 2:
            return [positive]
        others = [other for other, count in enumerate(kept) if count and other != label]
        if not others:
            raise LabelFault("all items so far are of one class: the first batch needs two or more, shuffle the data")
        drawn = [others[int(rng.integers(len(others)))] for _ in range(max(1, k))]
        return [positive] * (k > 0) + [other * size + int(rng.integers(kept[other])) for other in drawn]
