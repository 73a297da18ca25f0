"""RNN: a recurrent net over a batch of sequences, a step per row of the first axis.

    h = tanh(x @ Wx.T + b [+ static @ Ws.T] + (cont * h_before) @ Wh.T)        o = tanh(h @ Wo.T + bo)

Bottoms: x (T, N, ...), cont (T, N), which is 0 where a new sequence begins, and if wanted static (N, ...), the same
in every step.  Top: o (T, N, H), H = num_output.  With expose_hidden the state before the first step comes from one
more bottom h (1, N, H), and that after the last goes to one more top; without it the layer itself carries the state
from one forward to the next, and no gradient flows between them.
Params, as in a .caffemodel: Wx (H, D), b (H,), [Ws (H, Ds),] Wh (H, H), Wo (H, H), bo (H,).
"""

import math

from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import GraphFault, SchemaFault, ShapeFault


class RNN(Layer):
    type = "RNN"
    later_tops_send = False
    fields = ("recurrent_param",)
    bottoms, tops = (2, 4), (1, 2)
    never_differentiable = (1,)
    states = ("h",)  # what a step hands on to the next
    gates = 1  # how many vectors of H numbers a step makes of x and h

    def setup(self, shapes):
        field = self.spec.recurrent_param
        if field.num_output == 0:
            raise SchemaFault("recurrent_param needs num_output, the size of the hidden state")
        self.size, self.carried = field.num_output, None
        exposed = self.states if field.expose_hidden else ()
        self.static = int(len(shapes) - len(exposed) == 3)
        if len(shapes) - len(exposed) not in (2, 3) or len(self.spec.top) != 1 + len(exposed):
            raise GraphFault(
                f"{len(shapes)} bottoms and {len(self.spec.top)} tops: with expose_hidden "
                f"{str(field.expose_hidden).lower()} the bottoms are {', '.join(('x', 'cont', '[static]', *exposed))} "
                f"and the tops {', '.join(('y', *exposed))}"
            )
        rows, weights = self.gates * self.size, field.weight_filler
        params = [Param((rows, math.prod(shapes[0][2:])), weights), Param((rows,), field.bias_filler)]
        if self.static:
            params.append(Param((rows, math.prod(shapes[2][1:])), weights))
        return [*params, Param((rows, self.size), weights), *self.output_params()]

    def output_params(self):
        """The learned arrays between the hidden state and the output."""
        field = self.spec.recurrent_param
        return [Param((self.size, self.size), field.weight_filler), Param((self.size,), field.bias_filler)]

    def infer(self, shapes):
        x, cont = shapes[:2]
        if len(x) < 2 or cont != x[:2]:
            raise ShapeFault(f"x and cont have shapes {x} and {cont}: needed are (T, N, ...) and (T, N)")
        if self.static and shapes[2][:1] != x[1:2]:
            raise ShapeFault(f"static has shape {shapes[2]}, but x {x} has {x[1]} sequences: needed is ({x[1]}, ...)")
        state = (1, x[1], self.size)
        for name, shape in zip(self.states, shapes[2 + self.static :], strict=False):
            if shape != state:
                raise ShapeFault(f"the state {name} has shape {shape}: needed is {state}")
        return [(*x[:2], self.size), *[state] * (len(self.spec.top) - 1)]

    def start(self, xs):
        """What x, static and the bias add to the gates, (T, N, gates * H); x and static; and the
        states (T + 1, N, H), each with the one before the first step in its place."""
        be, x, (wx, b, ws, *_) = self.be, xs[0], [param.data for param in self.params]
        steps, n = x.shape[:2]
        gates = (be.matmul(x.reshape(steps * n, wx.shape[1]), wx, tb=True) + b).reshape(steps, n, len(b))
        if self.static:
            gates += be.matmul(xs[2].reshape(n, ws.shape[1]), ws, tb=True)
        states = [be.zeros((steps + 1, n, self.size)) for _ in self.states]
        given = [x[0] for x in xs[2 + self.static :]] or self.carried or []
        for state, first in zip(states, given, strict=False):
            if first.shape == state[0].shape:  # otherwise the batch size has changed: a fresh start
                state[0] = first
        return gates, [x, *xs[2 : 2 + self.static]], states

    def finish(self, y, states):
        """The tops, once all steps are done."""
        if self.spec.recurrent_param.expose_hidden:
            return [y, *(state[-1:] for state in states)]
        self.carried = [state[-1].copy() for state in states]
        return [y]

    def gradients(self, dgates, wh, h_before, inputs, dstates, need):
        """Gradients of the bottoms, of those of what goes into the gates (T, N, gates * H) and of the first states
        (N, H) each; adds to the gradients of all params but the output's."""
        be, (wx, b, ws, *_) = self.be, self.params
        d, (x, *static) = dgates.reshape(-1, dgates.shape[2]), inputs
        uses = [(wx, d, x.reshape(-1, wx.shape[1])), (wh, d, h_before.reshape(-1, self.size))]
        if static:
            uses.append((ws, dgates.sum(0), static[0].reshape(-1, ws.shape[1])))
        for param, grad, rows in uses:
            if param.grad is not None:
                be.matmul(grad, rows, out=param.grad, add=True, ta=True)
        if b.grad is not None:
            b.grad += d.sum(0)
        dxs = [be.matmul(d, wx.data).reshape(x.shape) if need[0] else None, None]
        if static:
            dxs.append(be.matmul(dgates.sum(0), ws.data).reshape(static[0].shape) if need[2] else None)
        given = need[len(dxs) :]
        return dxs + [dstate[None] if wanted else None for dstate, wanted in zip(dstates, given, strict=False)]

    def forward(self, xs):
        be, xp, cont = self.be, self.xp, xs[1][..., None]
        gates, inputs, (h,) = self.start(xs)
        wh, wo, bo = (param.data for param in self.params[-3:])
        for t, gate in enumerate(gates):
            h[t + 1] = xp.tanh(gate + be.matmul(cont[t] * h[t], wh, tb=True))
        y = xp.tanh(be.matmul(h[1:].reshape(-1, self.size), wo, tb=True) + bo).reshape(h[1:].shape)
        if self.keep:
            self.saved = cont, inputs, h, y
        return self.finish(y, [h])

    def backward(self, dys, need):
        be, (cont, inputs, h, y) = self.be, self.saved
        wh, wo, bo = self.params[-3:]
        dh = be.zeros(h.shape)
        if dys[0] is not None:
            dy = (dys[0] * (1 - y * y)).reshape(-1, self.size)
            if wo.grad is not None:
                be.matmul(dy, h[1:].reshape(-1, self.size), out=wo.grad, add=True, ta=True)
            if bo.grad is not None:
                bo.grad += dy.sum(0)
            dh[1:] = be.matmul(dy, wo.data).reshape(y.shape)
        if len(dys) > 1 and dys[1] is not None:
            dh[-1] += dys[1][0]
        dgates = be.zeros(y.shape)
        for t in reversed(range(len(y))):
            dgates[t] = dh[t + 1] * (1 - h[t + 1] * h[t + 1])
            dh[t] += cont[t] * be.matmul(dgates[t], wh.data)
        return self.gradients(dgates, wh, cont * h[:-1], inputs, [dh[0]], need)

    def to_onnx(self, graph, xs):
        """A Scan over the steps; the states that an earlier run has left are no part of the graph."""
        return self.in_onnx(graph, xs, [graph.param(i) for i in range(len(self.params))])

    def in_onnx(self, graph, xs, params):
        """The tops in a graph, with the learned arrays there."""
        (x, cont), size, rows = xs[:2], self.size, self.gates * self.size
        wx, b, *middle = params
        gates = graph.node("Gemm", graph.node("Flatten", x, axis=2), wx, b, transB=1)
        gates = graph.reshape(gates, [*graph.sizes(x)[:2], rows])
        if self.static:
            gates = gates + graph.node("Gemm", graph.node("Flatten", xs[2], axis=1), middle.pop(0), transB=1)
        given = [graph.reshape(state, [-1, size]) for state in xs[2 + self.static :]]
        states = given or [graph.filled([graph.size(x, 1), size]) for _ in self.states]
        cont = graph.node("Unsqueeze", cont, graph.constant([2], "int64"))
        body, (*before, gate, go) = graph.body([size] * len(states) + [rows, 1])
        after = self.onnx_step(body, gate, go, before, middle[0])
        *last, h = graph.scan(body, after + [body.node("Identity", after[0])], [*states, gates, cont], scanned=2)
        exposed = [graph.reshape(state, [1, -1, size]) for state in last] if len(self.spec.top) > 1 else []
        return [self.onnx_output(graph, h, middle), *exposed]

    def onnx_step(self, graph, gate, cont, states, wh):
        """The states (N, H) after a step, from its gates' inputs (N, gates * H) and cont (N, 1)."""
        return [graph.node("Tanh", gate + graph.node("Gemm", cont * states[0], wh, transB=1))]

    def onnx_output(self, graph, h, params):
        """The top, of the states h (T, N, H) and the learned arrays from Wh on."""
        _, wo, bo = params
        y = graph.node("MatMul", h, graph.transpose(wo, [1, 0])) + bo
        return graph.node("Tanh", y)

    def state(self):
        return {"carried": [self.be.to_host(state).tolist() for state in self.carried]} if self.carried else {}

    def load_state(self, state):
        self.carried = [self.be.asarray(values) for values in state.get("carried", [])] or None
