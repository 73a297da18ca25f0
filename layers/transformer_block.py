"""TransformerBlock (MyCaffe): a block of GPT: x + attention(norm x), then y + mlp(norm y).

Bottom and top: (N, T, embed).  The attention's keys are those of the same and earlier steps; its `heads` see embed /
heads numbers each.  The mlp has 4 embed hidden values.  In TRAIN dropout acts on the attention's weights (attn_dropout)
and on what either part adds (resid_dropout).  The norms are LayerNorm, which learns nothing.
Params, in pairs of weights and bias, each (outputs, inputs): queries, keys and values (3 embed), the attention's
output, the mlp's hidden values, its output.

Source: "Language Models are Unsupervised Multitask Learners" (Radford et al., 2019); the params of MyCaffe's nets.
"""

import math

from demitasse.layers.layer import Layer, Param
from demitasse.layers.layer_norm import LayerNorm
from demitasse.layers.onnx.graph import INT
from demitasse.layers.onnx.windows import LOWEST
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import FillerParameter, LayerParameter, TransformerBlockParameter

SPREAD = 0.02  # the standard deviation of first weights
SMOOTH, CUBE = math.sqrt(2 / math.pi), 0.044715  # of GELU by a tanh, as BERT has it


class TransformerBlock(Layer):
    type = "TransformerBlock"

    def setup(self, shapes):
        param = self.param = self.spec.transformer_block_param
        self.norm = LayerNorm(LayerParameter(type="LayerNorm"), self.phase, self.be)
        if param.block_type != TransformerBlockParameter.CAUSAL_SELF_ATTENTION:
            raise SchemaFault("block_type: CAUSAL_SELF_ATTENTION is the one that is read here")
        if param.activation == TransformerBlockParameter.GELU:
            raise SchemaFault(
                "activation: GELU is not read here; GELU_BERT, from which it differs by 1e-3, or RELU are"
            )
        if param.heads < 1 or param.layers < 1 or param.embed < 1 or param.embed % param.heads:
            raise SchemaFault(
                f"embed {param.embed}, heads {param.heads} and layers {param.layers}: each is at least 1, and embed a "
                "multiple of heads"
            )
        if not (0 <= param.attn_dropout < 1 and 0 <= param.resid_dropout < 1):
            raise SchemaFault("attn_dropout and resid_dropout are shares from 0 (drop nothing) to below 1")
        size, last = param.embed, SPREAD / math.sqrt(2 * param.layers)
        sizes = ((3 * size, size, SPREAD), (size, size, last), (4 * size, size, SPREAD), (size, 4 * size, last))
        return [each for sizes_of in sizes for each in _linear(*sizes_of)]

    def infer(self, shapes):
        (shape,), param = shapes, self.spec.transformer_block_param
        if len(shape) != 3 or shape[2] != param.embed or shape[1] > param.block_size:
            raise ShapeFault(
                f"the bottom has shape {shape}: (N, T, {param.embed}) is expected, with T at most block_size "
                f"{param.block_size}"
            )
        return [shape]

    def forward(self, xs):
        x = xs[0]
        normal, spread = self.norm.normalised(x)
        mixed, attention = self._attention(self._times(normal, 0))
        added, mask = self._dropped(self._times(mixed, 1), self.param.resid_dropout)
        x = x + added
        again, wide = self.norm.normalised(x)
        hidden = self._times(again, 2)
        active, slope = self._activation(hidden)
        added, second = self._dropped(self._times(active, 3), self.param.resid_dropout)
        if self.keep:
            self.saved = normal, spread, mixed, attention, mask, again, wide, active, slope, second
        return [x + added]

    def backward(self, dys, need):
        normal, spread, mixed, attention, mask, again, wide, active, slope, second = self.saved
        dx, ratio = dys[0], self.param.resid_dropout
        dhidden = self._back(self._undropped(dx, second, ratio), active, 3) * slope
        dx = dx + self.norm.derivative(self._back(dhidden, again, 2), again, wide)
        dmixed = self._back(self._undropped(dx, mask, ratio), mixed, 1)
        dnormal = self._back(self._attention_back(dmixed, *attention), normal, 0)
        return [dx + self.norm.derivative(dnormal, normal, spread) if need[0] else None]

    def to_onnx(self, graph, xs):
        (x,), param = xs, self.param
        items, steps, size = graph.sizes(x)
        heads, each = param.heads, size // param.heads

        def times(y, i):
            weights, bias = self.params[2 * i], graph.param(2 * i + 1)
            return graph.node("MatMul", y, graph.transpose(graph.param(2 * i, weights.shape), [1, 0])) + bias

        packed = graph.reshape(times(self.norm.normalised_in(graph, x, [2]), 0), [items, steps, 3, heads, each])
        query, key, value = (graph.gather(packed, graph.constant(i, INT), 2) for i in range(3))
        query, value = (graph.transpose(part, [0, 2, 1, 3]) for part in (query, value))
        scores = graph.node("MatMul", query, graph.transpose(key, [0, 2, 3, 1])) / math.sqrt(each)
        step = graph.arange(steps)
        earlier = graph.reshape(step, [-1, 1]) >= graph.reshape(step, [1, -1])
        weights = graph.node("Softmax", graph.where(earlier, scores, LOWEST), axis=3)
        mixed = graph.transpose(graph.node("MatMul", weights, value), [0, 2, 1, 3])
        x = x + times(graph.reshape(mixed, [items, steps, size]), 1)
        hidden = times(self.norm.normalised_in(graph, x, [2]), 2)
        if param.activation == TransformerBlockParameter.RELU:
            active = graph.node("Relu", hidden)
        else:
            bent = graph.node("Tanh", (hidden + hidden * hidden * hidden * CUBE) * SMOOTH)
            active = hidden * 0.5 * (bent + 1.0)
        return [x + times(active, 3)]

    def macs(self, bottom_shapes, top_shapes):
        items, steps, size = bottom_shapes[0]
        return items * steps * size * (12 * size + 2 * steps)

    def _attention(self, packed):
        """((N, T, embed), what its backward pass needs) of queries, keys and values (N, T, 3 embed)."""
        xp, (items, steps, width), heads = self.xp, packed.shape, self.param.heads
        parts = packed.reshape(items, steps, 3, heads, width // (3 * heads)).transpose(2, 0, 3, 1, 4)
        query, key, value = parts  # (N, heads, T, embed / heads)
        scores = query @ key.swapaxes(2, 3) / math.sqrt(query.shape[3])
        scores = xp.where(xp.arange(steps)[:, None] >= xp.arange(steps), scores, -xp.inf)
        weights = self.be.softmax_forward(scores.astype(packed.dtype), 3)
        kept, mask = self._dropped(weights, self.param.attn_dropout)
        mixed = (kept @ value).transpose(0, 2, 1, 3)
        return xp.ascontiguousarray(mixed).reshape(items, steps, width // 3), (parts, weights, kept, mask)

    def _attention_back(self, dmixed, parts, weights, kept, mask):
        """The gradient of queries, keys and values (N, T, 3 embed)."""
        xp, (query, key, value) = self.xp, parts
        items, heads, steps, size = query.shape
        dmixed = dmixed.reshape(items, steps, heads, size).transpose(0, 2, 1, 3)
        dvalue = kept.swapaxes(2, 3) @ dmixed
        dweights = self._undropped(dmixed @ value.swapaxes(2, 3), mask, self.param.attn_dropout)
        dscores = self.be.softmax_backward(xp.ascontiguousarray(dweights), weights, 3) / math.sqrt(size)
        packed = xp.stack([dscores @ key, dscores.swapaxes(2, 3) @ query, dvalue])
        packed = xp.ascontiguousarray(packed.transpose(1, 3, 0, 2, 4))
        return packed.reshape(items, steps, 3 * heads * size).astype(dmixed.dtype)

    def _activation(self, x):
        """(y, dy / dx)."""
        xp = self.xp
        if self.param.activation == TransformerBlockParameter.RELU:
            return xp.maximum(x, 0), x > 0
        bent = xp.tanh(SMOOTH * (x + CUBE * x**3))
        return 0.5 * x * (1 + bent), 0.5 * (1 + bent + x * (1 - bent**2) * SMOOTH * (1 + 3 * CUBE * x**2))

    def _times(self, x, i):
        """x (N, T, inputs) times the weights of pair i, plus its bias."""
        weights, bias = self.params[2 * i : 2 * i + 2]
        y = self.be.matmul(x.reshape(math.prod(x.shape[:2]), x.shape[2]), weights.data, tb=True)
        y += bias.data
        return y.reshape(*x.shape[:2], len(bias.data))

    def _back(self, dy, x, i):
        """The gradient of x; adds to those of pair i."""
        weights, bias = self.params[2 * i : 2 * i + 2]
        count = math.prod(x.shape[:2])
        rows, ahead = x.reshape(count, x.shape[2]), dy.reshape(count, dy.shape[2])
        if weights.grad is not None:
            self.be.matmul(ahead, rows, out=weights.grad, add=True, ta=True)
        if bias.grad is not None:
            bias.grad += ahead.sum(0)
        return self.be.matmul(ahead, weights.data).reshape(x.shape)

    def _dropped(self, x, ratio):
        return self.be.dropout_forward(x, ratio) if self.train and ratio else (x, None)

    def _undropped(self, dy, mask, ratio):
        return dy if mask is None else self.be.dropout_backward(self.xp.ascontiguousarray(dy), mask, ratio)


def _linear(outputs, inputs, spread):
    """The weights and the bias from so many inputs to so many outputs."""
    return Param((outputs, inputs), FillerParameter(type="gaussian", std=spread)), Param((outputs,))
