"""Knn (MyCaffe): how near each item is to the items of each class that training has seen.

Bottoms: embeddings (N, ...), labels (N,), which TRAIN stores and TEST does not look at.  Top (N, num_output, 1, 1): for
each class the mean distance to its k nearest stored items, inverted and stretched so that the nearest class has 1
and the farthest 0; a class that nothing is stored of has 0.  TRAIN gives zeros.

Params, none of them learned: how many batches are stored (1,), then the embeddings and the labels of each of the
max_stored_batches last ones.

Source: the prototxts of MyCaffe.
"""

from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import SchemaFault, ShapeFault


class Knn(Layer):
    type = "Knn"
    bottoms = (1, 2)
    never_differentiable = (0, 1)

    def setup(self, shapes):
        param = self.spec.knn_param
        if param.num_output < 1 or param.max_stored_batches < 1:
            raise SchemaFault("knn_param: num_output and max_stored_batches are at least 1")
        if self.train and len(shapes) < 2:
            raise SchemaFault("training stores items with their labels: give them as a second bottom")
        self.slot, self.stored = 0, shapes[0]
        each = [shapes[0], shapes[1] if len(shapes) > 1 else shapes[0][:1]]
        params = [Param((1,)), *(Param(shape) for _ in range(param.max_stored_batches) for shape in each)]
        for stored in params:
            stored.lr_mult = stored.decay_mult = 0.0
        return params

    def infer(self, shapes):
        if len(shapes) > 1 and (shapes[1][:1] != shapes[0][:1] or set(shapes[1][1:]) - {1}):
            raise ShapeFault(
                f"items of shape {shapes[0]} and labels of shape {shapes[1]}: give one label for each item"
            )
        if shapes[0] != self.stored:
            raise ShapeFault(f"the items have shape {shapes[0]}, those that are stored {self.stored}")
        return [(shapes[0][0], self.spec.knn_param.num_output, 1, 1)]

    def forward(self, xs):
        be, xp, param = self.be, self.xp, self.spec.knn_param
        near = be.zeros((len(xs[0]), param.num_output))
        if self.train:
            for stored, x in zip(self.params[1 + 2 * self.slot :], xs, strict=False):
                stored.data[...] = x
            self.slot = (self.slot + 1) % param.max_stored_batches
            self.params[0].data[...] = xp.minimum(self.params[0].data + 1, param.max_stored_batches)
        elif batches := int(self.params[0].data[0]):
            kept = self.params[1 : 1 + 2 * batches]
            items = xp.concatenate([stored.data.reshape(len(xs[0]), -1) for stored in kept[::2]])
            labels = xp.concatenate([stored.data.reshape(-1) for stored in kept[1::2]]).astype(int)
            near = self._near(xs[0].reshape(len(xs[0]), -1), items, labels).astype(xs[0].dtype)
        return [near.reshape(*near.shape, 1, 1)]

    def backward(self, dys, need):
        return [None] * len(need)

    def state(self):
        return {"slot": self.slot}

    def load_state(self, state):
        self.slot = state["slot"]

    def _near(self, x, items, labels):
        """(N, classes): 1 for the nearest class, 0 for the farthest and for those that have no item."""
        xp, param = self.xp, self.spec.knn_param
        apart = xp.sqrt(xp.square(x[:, None] - items).sum(2))  # (N, M)
        mean = xp.full((len(x), param.num_output), xp.nan)
        for label in range(param.num_output):
            own = xp.sort(apart[:, labels == label], axis=1)
            own = own[:, : param.k] if param.k > 0 else own
            if own.shape[1]:
                mean[:, label] = own.mean(1)
        least, most = xp.nanmin(mean, axis=1, keepdims=True), xp.nanmax(mean, axis=1, keepdims=True)
        return xp.nan_to_num(1 - (mean - least) / xp.where(most > least, most - least, 1))
