"""ConvLSTM: an LSTM over sequences of images, whose products with weights are convolutions.

    i, f = sigmoid and g = tanh of   Wx * x + b + Wh * (cont h_before) [+ P (cont c_before), of i and f]
    c = f cont c_before + i g        o = sigmoid(Wx * x + b + Wh * (cont h_before) + P c)        h = o tanh(c)

Bottoms: x (T, N, C, H, W), cont (T, N), which is 0 where a new sequence begins.  Top: h (T, N, F, H, W), F = num_output
of lstm_conv_param, whose window keeps sizes.  With expose_hidden the states before the first step come from two more
bottoms h, c (1, N, F, H, W), and those after the last go to two more tops; without it the layer itself carries them.
Each of the three P spans num_axes_hadamard axes of the top from axis_hadamard on (lstm_debug_param; all of an item).
Params: Wx (4F, C, k, k), b (4F,), Wh (4F, F, k, k), in the order i, f, o, g, and P of i, f and o, which begin as zeros.

Source: "Convolutional LSTM Network: A Machine Learning Approach for Precipitation Nowcasting" (Shi et al., 2015),
equations 3; the fields of PDB-ConvLSTM's nets.
"""

import math

from demitasse.layers.backend.geometry import ConvGeometry
from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import GraphFault, SchemaFault, ShapeFault


class ConvLSTM(Layer):
    type = "ConvLSTM"
    fields = ("recurrent_param", "lstm_conv_param", "lstm_debug_param")
    bottoms, tops = (2, 4), (1, 3)
    later_tops_send = False
    never_differentiable = (1,)
    carried = None

    def setup(self, shapes):
        param = self.spec.lstm_conv_param
        for field, _ in self.spec.recurrent_param.ListFields():
            if field.name not in ("expose_hidden", "debug_info"):
                raise SchemaFault(f"recurrent_param: {field.name} is not read: ConvLSTM's sizes are in lstm_conv_param")
        expected = (4, 3) if self.spec.recurrent_param.expose_hidden else (2, 1)
        if (len(shapes), len(self.spec.top)) != expected:
            raise GraphFault(
                f"{len(shapes)} bottoms and {len(self.spec.top)} tops: with expose_hidden "
                f"{str(expected[0] == 4).lower()} there are {expected[0]} (x, cont{', h, c' * (expected[0] == 4)}) and "
                f"{expected[1]}"
            )
        if min(param.num_output, param.kernel_size, param.dilation) < 1:
            raise SchemaFault("lstm_conv_param needs num_output, kernel_size and dilation of 1 or more")
        if len(shapes[0]) != 5:
            raise ShapeFault(f"x has shape {shapes[0]}: (T, N, C, H, W) is expected")
        self.size, side = param.num_output, (param.kernel_size, param.kernel_size)
        self.geometry = ConvGeometry(side, (1, 1), (param.pad, param.pad), (param.dilation, param.dilation))
        kept = self.geometry.out_size(shapes[0][3:])
        if kept != tuple(shapes[0][3:]):
            raise ShapeFault(
                f"the window makes {kept} of {tuple(shapes[0][3:])}: sizes must stay, with pad = dilation * "
                "(kernel_size - 1) / 2"
            )
        rows, self.span = 4 * self.size, self._span((*shapes[0][:2], self.size, *shapes[0][3:]))
        return [
            Param((rows, shapes[0][2], *side), param.weight_filler),
            Param((rows,), param.bias_filler),
            Param((rows, self.size, *side), param.weight_filler),
            *(Param(self.span) for _ in range(3)),
        ]

    def _span(self, top):
        """The shape of each P, for a top of this shape."""
        param = self.spec.lstm_debug_param
        first, count = param.axis_hadamard, param.num_axes_hadamard
        end = 5 if count == -1 else first + count
        if not 2 <= first <= end <= 5:
            raise SchemaFault(
                f"axis_hadamard {first} and num_axes_hadamard {count}: the axes 2, 3 and 4 can be spanned"
            )
        return top[first:end]

    def infer(self, shapes):
        x, cont, *states = shapes
        if len(x) != 5 or cont != x[:2]:
            raise ShapeFault(f"x and cont have shapes {x} and {cont}: (T, N, C, H, W) and (T, N) are expected")
        if self._span((*x[:2], self.size, *x[3:])) != self.span:
            raise ShapeFault(f"x has shape {x}: P has a number for each of {self.span}, the net's first size")
        state = (1, x[1], self.size, *x[3:])
        for name, shape in zip("hc", states, strict=False):
            if shape != state:
                raise ShapeFault(f"the state {name} has shape {shape}: {state} is expected")
        return [(x[0], *state[1:]), *([state] * len(states))]

    def forward(self, xs):
        be, xp, (x, cont) = self.be, self.xp, xs[:2]
        steps, n, channels, *area = x.shape
        wx, b, wh, *_ = (param.data for param in self.params)
        gates = be.conv_forward(x.reshape(steps * n, channels, *area), wx, b, self.geometry)
        gates = gates.reshape(steps, n, 4, self.size, *area)
        cont = cont.reshape(steps, n, 1, 1, 1)
        h, c = (be.zeros((steps + 1, n, self.size, *area)) for _ in "hc")
        for state, first in zip((h, c), [s[0] for s in xs[2:]] or self.carried or (), strict=False):
            if first.shape == state[0].shape:  # otherwise the batch has changed: a fresh start
                state[0] = first
        p_i, p_f, p_o = (self._spread(param.data) for param in self.params[3:])
        for t in range(steps):
            gate, before = gates[t], cont[t] * c[t]
            gate += be.conv_forward(cont[t] * h[t], wh, None, self.geometry).reshape(gate.shape)
            i, f, o, g = (gate[:, k] for k in range(4))
            i[...], f[...], g[...] = be.sigmoid(i + p_i * before), be.sigmoid(f + p_f * before), xp.tanh(g)
            c[t + 1] = f * before + i * g
            o[...] = be.sigmoid(o + p_o * c[t + 1])
            h[t + 1] = o * xp.tanh(c[t + 1])
        if self.keep:
            self.saved = x, cont, gates, h, c
        if self.spec.recurrent_param.expose_hidden:
            return [h[1:], h[-1:], c[-1:]]
        self.carried = [h[-1].copy(), c[-1].copy()]
        return [h[1:]]

    def backward(self, dys, need):
        be, xp, (x, cont, gates, h, c) = self.be, self.xp, self.saved
        wx, b, wh, *peepholes = self.params
        p_i, p_f, p_o = (self._spread(param.data) for param in peepholes)
        dgates, area = be.empty(gates.shape), x.shape[3:]
        dh, dc = (be.zeros(h.shape[1:]) if dy is None else dy[0] for dy in (*dys[1:], None, None)[:2])
        for t in reversed(range(len(gates))):
            (i, f, o, g), before = (gates[t][:, k] for k in range(4)), cont[t] * c[t]
            dh = dh if dys[0] is None else dh + dys[0][t]
            squashed = xp.tanh(c[t + 1])
            do = dh * squashed * o * (1 - o)
            dc = dc + dh * o * (1 - squashed * squashed) + do * p_o
            di, df = dc * g * i * (1 - i), dc * before * f * (1 - f)
            for k, part in enumerate((di, df, do, dc * i * (1 - g * g))):
                dgates[t][:, k] = part
            for param, part, seen in zip(peepholes, (di, df, do), (before, before, c[t + 1]), strict=True):
                self._gather(param, part * seen)
            dc = cont[t] * (dc * f + di * p_i + df * p_f)
            step = dgates[t].reshape(len(dh), 4 * self.size, *area)
            dh = cont[t] * be.conv_backward_data(step, wh.data, self.geometry, area)
        flat = dgates.reshape(-1, 4 * self.size, *area)
        if b.grad is not None:
            be.bias_backward(flat, b.grad)
        if wh.grad is not None:
            be.conv_backward_weights((cont * h[:-1]).reshape(-1, self.size, *area), flat, self.geometry, wh.grad)
        images = x.reshape(-1, *x.shape[2:])
        dx = be.conv_backward(images, flat, wx.data, self.geometry, wx.grad, need[0])
        states = [d[None] if wanted else None for d, wanted in zip((dh, dc), need[2:], strict=False)]
        return [dx.reshape(x.shape) if need[0] else None, None, *states]

    def macs(self, bottom_shapes, top_shapes):
        steps, n, _, *area = bottom_shapes[0]
        return steps * n * math.prod(area) * (self.params[0].count + self.params[2].count)

    def _first(self):
        return self.spec.lstm_debug_param.axis_hadamard

    def _spread(self, p):
        """A P as it goes with arrays (N, F, H, W)."""
        return p.reshape(p.shape + (1,) * (5 - self._first() - p.ndim))

    def _gather(self, param, d):
        """Add d (N, F, H, W) to the gradient of a P."""
        if param.grad is not None:
            first, end = self._first() - 1, self._first() - 1 + len(param.shape)
            param.grad += d.sum(tuple(axis for axis in range(4) if not first <= axis < end))
