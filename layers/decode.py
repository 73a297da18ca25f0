"""Decode (MyCaffe): how far each item is from the centre of each class, which TRAIN gathers.

Bottoms: embeddings (N, ...), and labels (N, ...), whose first column TRAIN looks at.  Tops: the sums of squared
differences from the centres, (N, classes, 1, 1), the largest number for an ignored class; if wanted the centres
(classes, values, 1, 1), zeros until all are ready and centroid_output_iteration runs are over.  A centre is the mean of
its class's items until cache_size batches' worth have come, then it is ready, and a moving average.

Params, none of them learned: the centres, whether each is ready, and how many items it has seen.
Source: the prototxts of MyCaffe, of whose targets (CENTROID, PREGEN, KNN) the first is read.
"""

import math

from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import LabelFault, SchemaFault, ShapeFault
from demitasse.proto.messages import DecodeParameter

FAR = 3.4028234e38  # the greatest float32


class Decode(Layer):
    type = "Decode"
    bottoms, tops = (1, 2), (1, 2)
    never_differentiable = (0, 1)

    def setup(self, shapes):
        param = self.param = self.spec.decode_param
        if param.target != DecodeParameter.CENTROID:
            raise SchemaFault("target: CENTROID is the one that is read here (Knn compares with stored items)")
        if self.train and len(shapes) < 2:
            raise SchemaFault("training gathers the centres by labels: give them as a second bottom")
        if param.pregen_label_count < 2 or param.cache_size < 1:
            raise SchemaFault("decode_param: pregen_label_count, the classes, is at least 2, cache_size at least 1")
        self.values, self.runs, classes = math.prod(shapes[0][1:]), 0, param.pregen_label_count
        params = [Param((classes, self.values)), Param((classes,)), Param((classes,))]
        for stored in params:
            stored.lr_mult = stored.decay_mult = 0.0
        return params

    def infer(self, shapes):
        shape, classes = shapes[0], self.param.pregen_label_count
        if not shape or math.prod(shape[1:]) != self.values:
            raise ShapeFault(f"the bottom has shape {shape}, but the centres have {self.values} values")
        if len(shapes) > 1 and shapes[1][:1] != shape[:1]:
            raise ShapeFault(f"items of shape {shape} and labels of shape {shapes[1]}: as many of both are needed")
        return [(shape[0], classes, 1, 1), (classes, self.values, 1, 1)][: max(1, len(self.spec.top))]

    def forward(self, xs):
        xp, x, (centres, ready, _) = self.xp, xs[0].reshape(len(xs[0]), self.values), self.params
        if self.train and self.param.enable_centroid_update:
            self._gather(x, xs[1].reshape(len(x), math.prod(xs[1].shape[1:]))[:, 0])
        apart = xp.square(x[:, None] - centres.data).sum(2)
        ignored = list(self.param.ignore_label)
        apart[:, ignored] = FAR
        tops = [apart.reshape(*apart.shape, 1, 1)]
        if len(self.spec.top) > 1:
            over = self.runs >= self.param.centroid_output_iteration
            done = over and int(ready.data.sum()) >= len(ready.data) - len(ignored)
            tops.append((centres.data if done else xp.zeros_like(centres.data)).reshape(*centres.shape, 1, 1))
        self.runs += 1
        return tops

    def backward(self, dys, need):
        return [None] * len(need)

    def state(self):
        return {"runs": self.runs}

    def load_state(self, state):
        self.runs = state["runs"]

    def _gather(self, x, labels):
        """Move the centres towards the items of their classes, one item after the other."""
        centres, ready, seen = self.params
        enough = len(x) * self.param.cache_size
        for item, label in zip(x, (int(label) for label in labels), strict=True):
            if not 0 <= label < len(seen.data):
                raise LabelFault(
                    f"label {label} is outside of 0 to {len(seen.data) - 1}: say decode_param "
                    "{ pregen_label_count: <classes> }"
                )
            count = int(seen.data[label])
            centres.data[label] += (item - centres.data[label]) / max(1, min(count + 1, enough))
            seen.data[label] = count + 1
            if count >= enough and label not in self.param.ignore_label:
                ready.data[label] = 1
