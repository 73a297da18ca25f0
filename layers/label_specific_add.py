"""LabelSpecificAdd (AMSoftmax): adds `bias`, a negative margin, to the score of each item's label, in TRAIN.

A label then has to win by the margin.  Bottoms: scores (N, C), labels (N,).  Tops: scores and, if wanted, the bias,
shape (1,).  With bias_gamma the bias grows from run to run of `iteration` on: bias_base + (1 + bias_gamma * iteration)
** bias_power - 1, held between bias_min and bias_max.  TEST adds nothing, unless transform_test says so.

Source: "Additive margin softmax for face verification" (Wang et al., 2018).
"""

from demitasse.layers.labels import check_labels
from demitasse.layers.layer import Layer
from demitasse.layers.onnx.labels import onnx_labels


class LabelSpecificAdd(Layer):
    type = "LabelSpecificAdd"
    bottoms, tops = (2, 2), (1, 2)
    never_differentiable = (1,)

    def setup(self, shapes):
        self.iteration = self.spec.label_specific_add_param.iteration
        return []

    def infer(self, shapes):
        check_labels(*shapes, 1)
        return [shapes[0], (1,)][: max(1, len(self.spec.top))]

    def forward(self, xs):
        (scores, labels), bias = xs, self._bias()
        labels, _ = self.be.checked_labels(scores.shape, labels, 1, None)
        y = scores + bias * (
            labels.astype(int) == self.xp.arange(scores.shape[1]).reshape(1, -1, *(1,) * (scores.ndim - 2))
        )
        if self.train:
            self.iteration += 1
        return [y.astype(scores.dtype), self.be.asarray([bias])][: max(1, len(self.spec.top))]

    def to_onnx(self, graph, xs):
        (scores, labels), bias = xs, self._bias()
        labels, _ = onnx_labels(graph, scores, labels, 1, None)
        classes = graph.reshape(graph.arange(graph.size(scores, 1)), [1, -1, *(1,) * (len(scores.shape) - 2)])
        own = graph.cast(labels.equals(classes), "float32")
        return [scores + own * bias if bias else scores, graph.constant([bias])][: max(1, len(self.spec.top))]

    def backward(self, dys, need):
        return [dys[0] if need[0] else None, None]

    def state(self):
        return {"iteration": self.iteration}

    def load_state(self, state):
        self.iteration = state["iteration"]

    def _bias(self) -> float:
        param = self.spec.label_specific_add_param
        if not self.train and not param.transform_test:
            return 0.0
        if not param.HasField("bias_gamma"):
            return param.bias
        grown = param.bias_base + (1 + param.bias_gamma * self.iteration) ** param.bias_power - 1
        return min(max(grown, param.bias_min), param.bias_max)
