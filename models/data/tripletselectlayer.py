"""tripletselectlayer: which items make a triplet, for the nets of triplet losses in Python (pinguo-luhaofang's).

    python_param { module: "tripletselectlayer"  layer: "TripletSelectLayer" }

A batch (3 M, D) holds M items of one person, M more of the same, and M of others.  Tops: anchors, positives, negatives
(M, D).  As seen from the first item, the farthest of its kind goes with the nearest of the others, the second farthest
with the second nearest, and so on; the anchors keep their order.  The labels, a second bottom, are not looked at.
Triplets whose positive is no nearer to the first item than their negative get no gradient: semi-hard ones only teach.

Source: "FaceNet" (Schroff et al., 2015), 3.2, and what the published layer does.  A module of the name that lies beside
the prototxt goes before this one.
"""

import numpy as np

import caffe
from demitasse.proto.errors import ShapeFault


class TripletSelectLayer(caffe.Layer):
    """Anchors, positives and negatives of a batch."""

    def setup(self, bottom, top):
        """Nothing is read."""

    def reshape(self, bottom, top):
        """Three tops of a third of the batch.  ShapeFault where that cannot be divided so."""
        count, *rest = bottom[0].shape
        if count % 3 or len(top) != 3:
            raise ShapeFault(f"{count} items and {len(top)} tops: three equal parts of a batch go to three tops")
        for blob in top:
            blob.reshape(count // 3, *rest)

    def forward(self, bottom, top):
        """Sort by the distance to the first item."""
        x = bottom[0].data
        count = len(x) // 3
        apart = np.square(x[count:] - x[:1]).reshape(2 * count, -1).sum(1) if count else np.zeros(0)
        far, near = np.argsort(-apart[:count], kind="stable"), np.argsort(apart[count:], kind="stable")
        self.chosen = np.arange(count), count + far, 2 * count + near
        self.teaches = apart[far] < apart[count + near]
        for blob, items in zip(top, self.chosen, strict=True):
            blob.data[...] = x[items]

    def backward(self, top, propagate_down, bottom):
        """To the items that were chosen."""
        if propagate_down[0]:
            bottom[0].diff[...] = 0
            for blob, items in zip(top, self.chosen, strict=True):
                bottom[0].diff[items[self.teaches]] = blob.diff[self.teaches]
