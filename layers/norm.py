"""Norm (video_triplet): each item over its length.

The bottom is (N, ...), the top has its shape; an item of zeros stays one.

Source: "Unsupervised Learning of Visual Representations using Videos" (Wang and Gupta, 2015), whose features are
compared by their cosine.
"""

from demitasse.layers.layer import Layer


class Norm(Layer):
    type = "Norm"
    launches_only = True

    def forward(self, xs):
        xp, (x,) = self.xp, xs
        length = xp.sqrt(xp.square(x).sum(tuple(range(1, x.ndim)), keepdims=True))
        length = xp.where(length > 0, length, 1)
        y = x / length
        if self.keep:
            self.saved = y, length
        return [y]

    def backward(self, dys, need):
        if not need[0]:
            return [None]
        (dy,), (y, length) = dys, self.saved
        along = (dy * y).sum(tuple(range(1, y.ndim)), keepdims=True)
        return [(dy - y * along) / length]

    def to_onnx(self, graph, xs):
        (x,) = xs
        axes = list(range(1, len(x.shape)))
        return [x / graph.node("Sqrt", graph.sum(x * x, axes))]
