"""StackedLSTM: LSTMs one above the other, each with the top of the one below as bottom, and dropout between them.

MyCaffe's name for it is Lstm (or LSTM) with `num_layers` in recurrent_param, which is upgraded to it.
Bottoms: x (T, N, ...), cont (T, N).  Top: the last one's states (T, N, H).  Params: those of each LSTM after the other.

Source: Caffe's LSTM; "Recurrent Neural Network Regularization" (Zaremba et al., 2014) for the dropout.
"""

from demitasse.layers.layer import Layer
from demitasse.layers.lstm import LSTM
from demitasse.proto.errors import SchemaFault
from demitasse.proto.messages import LayerParameter


class StackedLSTM(Layer):
    type = "StackedLSTM"
    fields = ("recurrent_param",)
    bottoms = (2, 2)
    never_differentiable = (1,)

    def setup(self, shapes):
        param = self.spec.recurrent_param
        if param.expose_hidden or param.num_layers < 1 or not 0 <= param.dropout_ratio < 1:
            raise SchemaFault(
                "LSTMs one above the other take num_layers of at least 1, a dropout_ratio from 0 to below 1, and no "
                "expose_hidden"
            )
        inner = LayerParameter(type="LSTM", top=["y"])
        inner.recurrent_param.CopyFrom(param)
        self.ratio = param.dropout_ratio if self.train else 0
        self.lstms, params, x = [], [], shapes[0]
        for _ in range(param.num_layers):
            lstm = LSTM(inner, self.phase, self.be)
            lstm.params = lstm.setup([x, shapes[1]])
            self.lstms.append(lstm)
            params += lstm.params
            x = (*x[:2], param.num_output)
        return params

    def infer(self, shapes):
        return self.lstms[0].infer(shapes)

    def forward(self, xs):
        (y, cont), masks = xs, []
        for k, lstm in enumerate(self.lstms):
            if k and self.ratio:
                y, mask = self.be.dropout_forward(y, self.ratio)
                masks.append(mask)
            lstm.be, lstm.keep, lstm.params = self.be, self.keep, self.params[3 * k : 3 * k + 3]
            (y,) = lstm.forward([y, cont])
        if self.keep:
            self.saved = masks
        return [y]

    def backward(self, dys, need):
        dy, masks = dys[0], list(self.saved)
        for k in reversed(range(len(self.lstms))):
            dy, _ = self.lstms[k].backward([dy], [need[0] or k > 0, False])
            if k and self.ratio:
                dy = self.be.dropout_backward(dy, masks[k - 1], self.ratio)
        return [dy if need[0] else None, None]

    def to_onnx(self, graph, xs):
        y, cont = xs
        for k, lstm in enumerate(self.lstms):
            (y,) = lstm.in_onnx(graph, [y, cont], [graph.param(3 * k + i) for i in range(3)])
            y.shape = (*xs[0].shape[:2], lstm.size)
        return [y]

    def macs(self, bottom_shapes, top_shapes):
        above = [top_shapes[0], bottom_shapes[1]]
        return sum(lstm.macs(above if k else bottom_shapes, top_shapes) for k, lstm in enumerate(self.lstms))

    def state(self):
        return {str(k): lstm.state() for k, lstm in enumerate(self.lstms)}

    def load_state(self, state):
        for k, lstm in enumerate(self.lstms):
            lstm.load_state(state[str(k)])
