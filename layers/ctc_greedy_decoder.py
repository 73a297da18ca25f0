"""CTCGreedyDecoder (caffe_ocr): how much of the sequences of labels is read right; a metric.

Bottoms: scores (T, N, C) of T steps, labels (N, L), filled up with blanks, the class 0.  What is read are the classes
of the highest scores, a run of one class as one, without blanks.  Top: one less the mean over the items of how many
labels are to be changed, added or left out, over the longer of what is read and what is true.

Source: "Connectionist Temporal Classification" (Graves et al., 2006), 3.1 and 3.2.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class CTCGreedyDecoder(Layer):
    type = "CTCGreedyDecoder"
    bottoms = (2, 2)
    never_differentiable = (0, 1)

    def infer(self, shapes):
        scores, labels = shapes
        if len(scores) < 3 or set(scores[3:]) - {1} or len(labels) < 2 or labels[0] != scores[1]:
            raise ShapeFault(f"scores of shape {scores} and labels of shape {labels}: give (T, N, C) and (N, L)")
        return [()]

    def forward(self, xs):
        be, (scores, labels) = self.be, xs
        said = be.to_host(scores.reshape(scores.shape[:3]).argmax(2).T).tolist() if scores.size else []
        wanted = be.to_host(labels.reshape(len(labels), -1)).astype(int).tolist() if labels.size else [[]] * len(said)
        shares = []
        for item, true in zip(said, wanted, strict=False):
            read = [c for c, before in zip(item, [0, *item], strict=False) if c and c != before]
            true = [c for c in true if c]
            shares.append(_distance(read, true) / max(len(read), len(true), 1))
        return [be.asarray(1 - sum(shares) / max(len(shares), 1), scores.dtype)]

    def backward(self, dys, need):
        return [None, None]


def _distance(one: list[int], other: list[int]) -> int:
    """How many labels of one are to be changed, added or left out to make the other."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one):
        new = [i + 1]
        for j, b in enumerate(other):
            new.append(min(row[j + 1] + 1, new[j] + 1, row[j] + (a != b)))
        row = new
    return row[-1]
