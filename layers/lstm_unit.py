"""LSTMUnit: one time step of an LSTM without its inner products, which other layers can do.

Bottoms: c before (1, N, H), the four gates' inputs (1, N, 4H) in the order i, f, o, g, and cont (1, N), 0 where a
new sequence begins.  Tops: c = cont * sigmoid(f) * c_before + sigmoid(i) * tanh(g) and h = sigmoid(o) * tanh(c).
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class LSTMUnit(Layer):
    type = "LSTMUnit"
    bottoms, tops = (3, 3), (2, 2)
    never_differentiable = (2,)

    def infer(self, shapes):
        cell, gates, cont = shapes
        if len(cell) != 3 or gates != (*cell[:2], 4 * cell[2]) or cont != cell[:2] or cell[0] != 1:
            raise ShapeFault(
                f"c, gates and cont have shapes {cell}, {gates} and {cont}: needed are (1, N, H), (1, N, 4H) and (1, N)"
            )
        return [cell, cell]

    def forward(self, xs):
        xp, (before, gates, cont), size = self.xp, xs, xs[0].shape[2]
        cont = cont[..., None]
        i, f, o = (self.be.sigmoid(gates[..., k * size : (k + 1) * size]) for k in range(3))
        g = xp.tanh(gates[..., 3 * size :])
        c = cont * f * before + i * g
        squashed = xp.tanh(c)
        if self.keep:
            self.saved = before, cont, i, f, o, g, squashed
        return [c, o * squashed]

    def backward(self, dys, need):
        if not (need[0] or need[1]):
            return [None, None, None]
        (dc, dh), (before, cont, i, f, o, g, squashed) = dys, self.saved
        dc = 0 if dc is None else dc
        dh = self.be.zeros(squashed.shape) if dh is None else dh
        dc = dc + dh * o * (1 - squashed * squashed)
        kept = cont * f
        gates = [
            dc * g * i * (1 - i),
            dc * before * kept * (1 - kept),  # Caffe's, exact where cont is 0 or 1
            dh * squashed * o * (1 - o),
            dc * i * (1 - g * g),
        ]
        return [dc * kept if need[0] else None, self.xp.concatenate(gates, axis=-1) if need[1] else None, None]

    def to_onnx(self, graph, xs):
        before, gates, cont = xs
        size = graph.size(before, 2)
        i, f, o, g = (graph.slice(gates, [k * size], [(k + 1) * size], [2]) for k in range(4))
        i, f, o = (graph.node("Sigmoid", gate) for gate in (i, f, o))
        cont = graph.node("Unsqueeze", cont, graph.constant([2], "int64"))
        c = cont * f * before + i * graph.node("Tanh", g)
        return [c, o * graph.node("Tanh", c)]
