"""StackedLSTM: LSTMs one above the other, each with the top of the one below as bottom, and dropout between them.

It is MyCaffe's LSTM (or Lstm) with `num_layers`, or another word of recurrent_param that only cuDNN's has.
Bottoms: x (T, N, ...), cont (T, N), with expose_hidden_input the first states h and c, (layers, N, H) or, alike for all
layers, (N, H).  Tops: the last LSTM's states (T, N, H), with expose_hidden_output the last states h and c of all,
(layers, N, H).  expose_hidden says both.  With batch_first T and N are exchanged, but not in h and c.
Param: one array (count, 1, 1), as cuDNN packs it: of each LSTM the weights (4H, inputs) and (4H, H), then of each two
biases (4H,), which are added; the gates stand in the order i, f, g, o.

Source: Caffe's LSTM; "Recurrent Neural Network Regularization" (Zaremba et al., 2014) for the dropout; the order of
weights is that of NVIDIA's cuDNN.
"""

import math

from demitasse.layers.fillers import Packed
from demitasse.layers.layer import Layer, Param
from demitasse.layers.lstm import LSTM
from demitasse.layers.onnx.graph import INT
from demitasse.proto.errors import GraphFault, SchemaFault, ShapeFault
from demitasse.proto.messages import LayerParameter


class StackedLSTM(Layer):
    type = "StackedLSTM"
    fields = ("recurrent_param",)
    bottoms, tops = (2, 4), (1, 3)
    never_differentiable = (1,)
    later_tops_send = False

    def setup(self, shapes):
        param = self.param = self.spec.recurrent_param
        if not param.num_output or param.num_layers < 1 or not 0 <= param.dropout_ratio < 1 or param.bidirectional:
            raise SchemaFault(
                "LSTMs one above the other take num_output and num_layers of at least 1, a dropout_ratio from 0 to "
                "below 1, and no bidirectional"
            )
        given, told = (param.expose_hidden or each for each in (param.expose_hidden_input, param.expose_hidden_output))
        if len(shapes) != 2 + 2 * given or len(self.spec.top) not in (0, 1 + 2 * told):
            raise GraphFault(
                f"{len(shapes)} bottoms and {len(self.spec.top)} tops: x, cont{', h, c' * given} and "
                f"y{', h, c' * told} are needed, as expose_hidden_input and expose_hidden_output say"
            )
        self.told, self.ratio, self.carried = told, param.dropout_ratio if self.train else 0, None
        inner = LayerParameter(type="LSTM", top=["y", "h", "c"])
        inner.recurrent_param.num_output, inner.recurrent_param.expose_hidden = param.num_output, True
        state, x = (1, 1, param.num_output), self._steps_first(shapes[0])
        self.lstms = [LSTM(inner, self.phase, self.be) for _ in range(param.num_layers)]
        for lstm in self.lstms:
            lstm.params = lstm.setup([x, x[:2], state, state])  # wx, b, wh
            x = (*x[:2], param.num_output)
        weights = [(part.shape, param.weight_filler) for lstm in self.lstms for part in lstm.params[::2]]
        biases = [(lstm.params[1].shape, param.bias_filler) for lstm in self.lstms for _ in range(2)]
        self.parts = [shape for shape, _ in weights + biases]
        return [Param((sum(map(math.prod, self.parts)), 1, 1), Packed(weights + biases))]

    def infer(self, shapes):
        x, layers, size = self._steps_first(shapes[0]), len(self.lstms), self.param.num_output
        state = (1, x[1], size)
        self.lstms[0].infer([x, self._steps_first(shapes[1]), state, state])
        if math.prod(x[2:]) != self.lstms[0].params[0].shape[1]:
            raise ShapeFault(
                f"the bottom {shapes[0]} has {math.prod(x[2:])} values a step, but the weights are for "
                f"{self.lstms[0].params[0].shape[1]}"
            )
        for shape in shapes[2:]:
            alike = self._serves_all(shape)
            if math.prod(shape) != (1 if alike else layers) * x[1] * size or (
                alike and layers > 1 and not self.param.auto_repeat_hidden_states_across_layers
            ):
                raise ShapeFault(
                    f"a first state has shape {shape}: {(layers, x[1], size)} is needed, or with "
                    f"auto_repeat_hidden_states_across_layers {(x[1], size)}"
                )
        tops = [(*shapes[0][:2], size), (layers, x[1], size), (layers, x[1], size)]
        return tops[: max(1, len(self.spec.top))]

    def forward(self, xs):
        xp, masks, last = self.xp, [], []
        y, cont = (self._steps_first(x) for x in xs[:2])
        firsts = self._first_states(xs[2:], y.shape[1])
        for k, (lstm, params) in enumerate(zip(self.lstms, self._unpacked(self.params[0].data), strict=True)):
            if k and self.ratio:
                y, mask = self.be.dropout_forward(y, self.ratio)
                masks.append(mask)
            lstm.be, lstm.keep = self.be, self.keep
            for param, values in zip(lstm.params, params, strict=True):
                param.data = values
            y, *states = lstm.forward([y, cont, *(first[k : k + 1] for first in firsts)])
            last.append(states)
        hidden, cell = (xp.concatenate(states, 0) for states in zip(*last, strict=True))
        if len(xs) == 2:
            self.carried = [hidden.copy(), cell.copy()]
        if self.keep:
            self.saved = masks, [x.shape for x in xs]
        return [self._steps_first(y), hidden, cell][: max(1, len(self.spec.top))]

    def backward(self, dys, need):
        masks, shapes = self.saved
        dy = None if dys[0] is None else self._steps_first(dys[0])
        dlast, dfirst = [*dys[1:], None, None][:2], []
        packed = self.params[0].grad
        for k, lstm in reversed(list(enumerate(self.lstms))):
            for param in lstm.params:
                param.grad = None if packed is None else self.be.zeros(param.shape)
            dstates = [None if d is None else d[k : k + 1] for d in dlast]
            dy, _, *states = lstm.backward([dy, *dstates], [need[0] or k > 0, False, True, True])
            dfirst.insert(0, states)
            if k and self.ratio:
                dy = self.be.dropout_backward(dy, masks[k - 1], self.ratio)
        if packed is not None:
            packed += self._packed([[param.grad for param in lstm.params] for lstm in self.lstms]).reshape(packed.shape)
        grads = [self._steps_first(dy) if need[0] else None, None]
        for states, shape, wanted in zip(zip(*dfirst, strict=True), shapes[2:], need[2:], strict=False):
            dstate = self.xp.concatenate(states, 0)
            dstate = dstate.sum(0) if self._serves_all(shape) else dstate
            grads.append(dstate.reshape(shape) if wanted else None)
        return grads

    def to_onnx(self, graph, xs):
        y, cont = (self._turned_in(graph, x) for x in xs[:2])
        layers, size, steps = len(self.lstms), self.param.num_output, xs[0].shape[:2]
        arrays, states = self._unpacked_in(graph), [[], []]
        firsts = [graph.reshape(x, [-1, graph.sizes(y)[1], size]) for x in xs[2:]]
        for k, lstm in enumerate(self.lstms):
            own = [
                first if self._serves_all(x.shape) else graph.slice(first, [k], [k + 1], [0])
                for first, x in zip(firsts, xs[2:], strict=True)
            ]
            b = arrays[2 * layers + 2 * k] + arrays[2 * layers + 2 * k + 1]
            y, *last = lstm.in_onnx(graph, [y, cont, *own], [arrays[2 * k], b, arrays[2 * k + 1]])
            y.shape = (*(steps[::-1] if self.param.batch_first else steps), size)
            for all_of_them, state in zip(states, last, strict=True):
                all_of_them.append(state)
        return [self._turned_in(graph, y), *(graph.concat(each, 0) for each in states)][: max(1, len(self.spec.top))]

    def macs(self, bottom_shapes, top_shapes):
        steps = math.prod(bottom_shapes[0][:2])
        return steps * sum(math.prod(shape) for shape in self.parts if len(shape) > 1)

    def state(self):
        return {"carried": [self.be.to_host(state).tolist() for state in self.carried]} if self.carried else {}

    def load_state(self, state):
        self.carried = [self.be.asarray(values) for values in state.get("carried", [])] or None

    def _steps_first(self, x):
        """A shape or an array with its first axes exchanged, where batch_first says so."""
        if not self.param.batch_first:
            return x
        if isinstance(x, tuple):
            return (*x[1::-1], *x[2:])
        return self.xp.ascontiguousarray(x.swapaxes(0, 1))

    def _serves_all(self, shape):
        """Whether a first state of this shape is that of each layer."""
        return len(shape) == 2 or shape[0] == 1

    def _first_states(self, given, items):
        """h and c before the first step, (layers, N, H) each."""
        layers, size = len(self.lstms), self.param.num_output
        given = given or [state for state in self.carried or [] if state.shape[1] == items]
        if not given:
            return [self.be.zeros((layers, items, size))] * 2
        states = [state.reshape(1 if self._serves_all(state.shape) else layers, items, size) for state in given]
        return [self.xp.broadcast_to(state, (layers, items, size)) for state in states]

    def _unpacked(self, packed):
        """wx, b and wh of each LSTM, with the gates in LSTM's order."""
        layers, flat, place, arrays = len(self.lstms), packed.reshape(-1), 0, []
        for shape in self.parts:
            count = math.prod(shape)
            arrays.append(self._exchanged(flat[place : place + count].reshape(shape), (0, 1, 3, 2)))
            place += count
        biases = arrays[2 * layers :]
        return [(arrays[2 * k], biases[2 * k] + biases[2 * k + 1], arrays[2 * k + 1]) for k in range(layers)]

    def _packed(self, grads):
        """The gradient of the packed array, from those of wx, b and wh of each LSTM."""
        weights = [array for wx, _, wh in grads for array in (wx, wh)]
        biases = [b for _, b, _ in grads for _ in range(2)]
        return self.xp.concatenate([self._exchanged(array, (0, 1, 3, 2)).reshape(-1) for array in weights + biases])

    def _exchanged(self, array, order):
        """An array (4H, ...) with the gates in another order."""
        size = self.param.num_output
        return self.xp.concatenate([array[k * size : (k + 1) * size] for k in order], 0)

    def _unpacked_in(self, graph):
        """The arrays of a graph that the packed one is made of, with the gates in LSTM's order."""
        flat, place, arrays, size = graph.param(0, [-1]), 0, [], self.param.num_output
        order = [k * size + i for k in (0, 1, 3, 2) for i in range(size)]
        for shape in self.parts:
            part = graph.slice(flat, [place], [place + math.prod(shape)], [0])
            arrays.append(graph.gather(graph.reshape(part, shape), graph.constant(order, INT), 0))
            place += math.prod(shape)
        return arrays

    def _turned_in(self, graph, x):
        """x of a graph with its first axes exchanged, where batch_first says so."""
        return graph.transpose(x, [1, 0, *range(2, len(x.shape))]) if self.param.batch_first else x
