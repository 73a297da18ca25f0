"""LSTM: long short-term memory over a batch of sequences, a step per row of the first axis.

    i, f, o = sigmoid and g = tanh of   x @ Wx.T + b [+ static @ Ws.T] + (cont * h_before) @ Wh.T
    c = cont * f * c_before + i * g         h = o * tanh(c)

Bottoms: x (T, N, ...), cont (T, N), which is 0 where a new sequence begins, and if wanted static (N, ...), the same
in every step.  Top: h (T, N, H), H = num_output.  With expose_hidden the states before the first step come from two
more bottoms h, c (1, N, H), and those after the last go to two more tops; without it the layer itself carries them
from one forward to the next, and no gradient flows between them.
Params, as in a .caffemodel: Wx (4H, D), b (4H,), [Ws (4H, Ds),] Wh (4H, H); the gates stand in the order i, f, o, g.
"""

from demitasse.layers.rnn import RNN


class LSTM(RNN):
    type = "LSTM"
    bottoms, tops = (2, 5), (1, 3)
    states = ("h", "c")
    gates = 4
    bound = 0.0  # of what comes back to the gates, where it is set (Lstm)

    def output_params(self):
        """The learned arrays between the hidden state and the output."""
        return []

    def parts(self, gates):
        """i, f, o and g of an array of gates (..., 4H): views."""
        return [gates[..., k * self.size : (k + 1) * self.size] for k in range(4)]

    def forward(self, xs):
        be, xp, cont, wh = self.be, self.xp, xs[1][..., None], self.params[-1].data
        gates, inputs, (h, c) = self.start(xs)
        for t, gate in enumerate(gates):
            gate += be.matmul(cont[t] * h[t], wh, tb=True)
            i, f, o, g = self.parts(gate)
            gate[:, : 3 * self.size] = be.sigmoid(gate[:, : 3 * self.size])
            g[...] = xp.tanh(g)
            c[t + 1] = cont[t] * f * c[t] + i * g
            h[t + 1] = o * xp.tanh(c[t + 1])
        if self.keep:
            self.saved = cont, inputs, gates, h, c
        return self.finish(h[1:], [h, c])

    def backward(self, dys, need):
        be, xp, (cont, inputs, gates, h, c), wh = self.be, self.xp, self.saved, self.params[-1]
        dh, dc = (be.zeros(h.shape[1:]) if dy is None else dy[0] for dy in (*dys[1:], None, None)[:2])
        dgates = be.empty(gates.shape)
        for t in reversed(range(len(gates))):
            (i, f, o, g), (di, df, do, dg) = self.parts(gates[t]), self.parts(dgates[t])
            dh = dh if dys[0] is None else dh + dys[0][t]
            squashed = xp.tanh(c[t + 1])
            dc = dc + dh * o * (1 - squashed * squashed)
            di[...] = dc * g * i * (1 - i)
            kept = cont[t] * f
            df[...] = dc * c[t] * kept * (1 - kept)  # Caffe's, exact where cont is 0 or 1
            do[...] = dh * squashed * o * (1 - o)
            dg[...] = dc * i * (1 - g * g)
            if self.bound:
                dgates[t] = xp.clip(dgates[t], -self.bound, self.bound)
            dh, dc = cont[t] * be.matmul(dgates[t], wh.data), dc * kept
        return self.gradients(dgates, wh, cont * h[:-1], inputs, [dh, dc], need)

    def onnx_step(self, graph, gate, cont, states, wh):
        """h and c (N, H) after a step, as in RNN."""
        (h, c), size = states, self.size
        gate = gate + graph.node("Gemm", cont * h, wh, transB=1)
        i, f, o, g = (graph.slice(gate, [k * size], [(k + 1) * size], [1]) for k in range(4))
        i, f, o = (graph.node("Sigmoid", part) for part in (i, f, o))
        c = cont * f * c + i * graph.node("Tanh", g)
        return [o * graph.node("Tanh", c), c]

    def onnx_output(self, graph, h, params):
        """The top, of the states h (T, N, H) and the learned arrays from Wh on."""
        return h
