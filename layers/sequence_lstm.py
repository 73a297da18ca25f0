"""Lstm (junhyukoh's fork, CTPN): LSTM over sequences whose steps are the items of the bottom.

Bottoms: x (T, N, D), or (T * N, ...) where batch_size says N; and if wanted clip, as many numbers as there are steps, 0
where a sequence begins.  Without it each sequence begins with the bottom; with it the state is carried from one
forward to the next.  Top: (T, N, H) or (T * N, H).  Gates and their order are LSTM's; its params stand in another
order: Wx (4H, D), Wh (4H, H), b (4H,).

Source: Caffe's LSTM; the order of params is that of junhyukoh's fork.
"""

from __future__ import annotations

import math

from demitasse.layers.layer import Layer
from demitasse.layers.lstm import LSTM
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import LayerParameter


class Lstm(Layer):
    type = "Lstm"
    fields = ("lstm_param",)
    bottoms = (1, 2)
    never_differentiable = (1,)

    def setup(self, shapes):
        param = self.spec.lstm_param
        if not param.num_output or not param.batch_size:
            raise SchemaFault("lstm_param needs num_output, and a batch_size of at least 1")
        inner = LayerParameter(type="LSTM", top=["y"])
        inner.recurrent_param.num_output = param.num_output
        inner.recurrent_param.weight_filler.CopyFrom(param.weight_filler)
        inner.recurrent_param.bias_filler.CopyFrom(param.bias_filler)
        self.lstm = LSTM(inner, self.phase, self.be)
        self.lstm.bound = param.clipping_threshold
        steps = self._steps(shapes[0])
        wx, b, wh = self.lstm.setup([steps, steps[:2]])
        return [wx, wh, b]

    def infer(self, shapes):
        steps = self._steps(shapes[0])
        if steps[2] != self.params[0].shape[1]:
            raise ShapeFault(f"the bottom has {steps[2]} values a step, the weights are for {self.params[0].shape[1]}")
        if len(shapes) > 1 and math.prod(shapes[1]) != steps[0] * steps[1]:
            raise ShapeFault(
                f"clip has shape {shapes[1]}: {steps[0]} x {steps[1]} numbers, one for each step, are needed"
            )
        size = self.spec.lstm_param.num_output
        return [(*shapes[0][:2], size) if len(shapes[0]) == 3 else (shapes[0][0], size)]

    def forward(self, xs):
        x, steps = xs[0], self._steps(xs[0].shape)
        if len(xs) > 1:
            cont = xs[1].reshape(steps[:2])
        else:
            cont = self.be.zeros(steps[:2])
            cont[1:] = 1
        wx, wh, b = self.params
        self.lstm.be, self.lstm.keep, self.lstm.params = self.be, self.keep, [wx, b, wh]
        (y,) = self.lstm.forward([x.reshape(steps), cont])
        if self.keep:
            self.saved = x.shape, y.shape
        return [y.reshape(self.infer([other.shape for other in xs])[0])]

    def to_onnx(self, graph, xs):
        x, (wx, wh, b) = xs[0], (graph.param(i) for i in range(3))
        sizes, param, width = graph.sizes(x), self.spec.lstm_param, self.params[0].shape[1]
        steps = sizes[:2] if len(sizes) == 3 else [sizes[0] // param.batch_size, param.batch_size]
        if len(xs) > 1:
            cont = graph.reshape(xs[1], steps)
        else:
            cont = graph.concat([graph.filled([1, steps[1]]), graph.filled([steps[0] - 1, steps[1]], 1.0)], 0)
        (y,) = self.lstm.in_onnx(graph, [graph.reshape(x, [*steps, width]), cont], [wx, b, wh])
        return [graph.reshape(y, [*steps, param.num_output] if len(sizes) == 3 else [sizes[0], param.num_output])]

    def backward(self, dys, need):
        shape, top = self.saved
        dx, _ = self.lstm.backward([dys[0].reshape(top)], [need[0], False])
        return [None if dx is None else dx.reshape(shape), *[None for _ in need[1:]]]

    def macs(self, bottom_shapes, top_shapes):
        steps, sequences, _ = self._steps(bottom_shapes[0])
        return steps * sequences * sum(param.count for param in self.params[:2])

    def state(self):
        return self.lstm.state()

    def load_state(self, state):
        self.lstm.load_state(state)

    def _steps(self, shape) -> tuple[int, int, int]:
        """(T, N, D) of a bottom."""
        batch = shape[1] if len(shape) == 3 else self.spec.lstm_param.batch_size
        if not shape or (len(shape) != 3 and shape[0] % batch):
            raise ShapeFault(f"the bottom has shape {shape}: its first axis is no multiple of batch_size {batch}")
        return (shape[0], batch, shape[2]) if len(shape) == 3 else (shape[0] // batch, batch, math.prod(shape[1:]))
