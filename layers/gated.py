"""Linear maps, gated units and gated residual networks: the parts of a temporal fusion transformer.

Each takes and gives matrices, an item or a time step a row, and has in `params` what it learns, in MyCaffe's order, to
whose gradients `backward` adds.

Sources: "Language modeling with gated convolutional networks" (Dauphin et al., 2017), 2; "Temporal fusion transformers
for interpretable multi-horizon time series forecasting" (Lim et al., 2021), 4.1.
"""

from __future__ import annotations

import math

from demitasse.layers.layer import Array, Param, axis_index
from demitasse.proto.errors import SchemaFault, ShapeFault
from demitasse.proto.messages import FillerParameter

EPSILON = 1e-10  # MyCaffe's, added to the variance of rows


def fillers(fields) -> tuple[FillerParameter, FillerParameter]:
    """Of weights and of a bias as a layer's fields say them, or what MyCaffe has where they do not."""
    weights, bias = FillerParameter(type="xavier"), FillerParameter(type="constant", value=0.1)
    return (
        fields.weight_filler if fields.HasField("weight_filler") else weights,
        fields.bias_filler if fields.HasField("bias_filler") else bias,
    )


def refuse_noise(fields) -> None:
    """SchemaFault where weights are to be noisy."""
    if fields.enable_noise:
        raise SchemaFault("enable_noise is read in InnerProduct only: leave it out")


def share(ratio: float, name: str = "dropout_ratio") -> float:
    """A dropout's ratio; SchemaFault where it is none."""
    if not 0 <= ratio < 1:
        raise SchemaFault(f"{name} is {ratio:g}: a share from 0 (drop nothing) to below 1 is needed")
    return ratio


def width(shape, axis: int, told: int = 0, field: str = "") -> int:
    """How many numbers a row of the bottom has, from `axis` on; ShapeFault where a field says otherwise (0: it says
    nothing)."""
    found = math.prod(shape[axis_index(axis, shape) :])
    if told and told != found:
        raise ShapeFault(f"the bottom has shape {shape}: {found} numbers from axis {axis} on, but {field} is {told}")
    return found


def row_count(shape, axis: int) -> int:
    """How many rows there are, where each goes from `axis` on."""
    return math.prod(shape[: axis_index(axis, shape)])


def rows(x: Array, axis: int) -> Array:
    """x as a matrix (rows, values), whose rows go from `axis` on."""
    return x.reshape(row_count(x.shape, axis), math.prod(x.shape[axis_index(axis, x.shape) :]))


def normalise(xp, x: Array, epsilon: float) -> tuple[Array, Array]:
    """(x (rows, values) with mean 0 and variance 1 in each row, what the rows were divided by (rows, 1))."""
    count = max(x.shape[1], 1)
    y = x - x.sum(1, keepdims=True) / count
    spread = xp.sqrt(xp.square(y).sum(1, keepdims=True) / count + epsilon)
    return y / spread, spread


def normalise_backward(dy: Array, y: Array, spread: Array) -> Array:
    """The gradient (rows, values) of what became y by `normalise`."""
    count = max(y.shape[1], 1)
    return (dy - dy.sum(1, keepdims=True) / count - y * ((dy * y).sum(1, keepdims=True) / count)) / spread


class Linear:
    """y = x @ W.T + b.  Params: W (outputs, inputs), b (outputs,)."""

    def __init__(self, outputs: int, inputs: int, fields, bias: bool = True):
        weights, biases = fillers(fields)
        self.params = [Param((outputs, inputs), weights)] + ([Param((outputs,), biases)] if bias else [])

    def forward(self, be, x):
        """y (rows, outputs) of x (rows, inputs)."""
        bias = self.params[1].data if len(self.params) > 1 else None
        return be.inner_product(x, self.params[0].data, bias)

    def backward(self, be, dy, x, need: bool = True):
        """The gradient of x, or None where there is no need of it."""
        weights, *bias = self.params
        if weights.grad is not None:
            be.matmul(dy, x, out=weights.grad, add=True, ta=True)
        if bias and bias[0].grad is not None:
            bias[0].grad += dy.sum(0)
        return be.matmul(dy, weights.data) if need else None


class GatedUnit:
    """y = sigmoid(x @ W1.T + b1) * (x @ W2.T + b2).  Params: W1, b1, W2, b2."""

    def __init__(self, outputs: int, inputs: int, fields, bias: bool = True):
        self.gate, self.value = (Linear(outputs, inputs, fields, bias) for _ in range(2))
        self.inputs = inputs
        self.params = self.gate.params + self.value.params

    def forward(self, be, x):
        """(y (rows, outputs) of x (rows, inputs), what `backward` needs)."""
        gate, value = be.sigmoid(self.gate.forward(be, x)), self.value.forward(be, x)
        return gate * value, (x, gate, value)

    def backward(self, be, dy, saved):
        """The gradient of x."""
        x, gate, value = saved
        return self.gate.backward(be, dy * value * gate * (1 - gate), x) + self.value.backward(be, dy * gate, x)


class ResidualNetwork:
    """y = normalised(skip(x) + gated(drop(second(ELU(first(x) + context(c)))))), ELU or ReLU.

    Params: skip, where outputs and inputs differ (else it is x itself); first; the context's weights, without a bias,
    where there is one; second; the gated unit's.
    """

    def __init__(self, sizes: tuple[int, int, int, int], fields, ratio: float, relu: bool = False):
        """sizes: of inputs, hidden values, outputs and the context, 0 without one; ratio: of the dropout."""
        inputs, hidden, outputs, context = sizes
        if not hidden or not outputs:
            raise SchemaFault("the sizes of hidden and put out values are needed: give hidden_dim and output_dim")
        refuse_noise(fields)
        self.ratio, self.relu, self.inputs = ratio, relu, (inputs, context)
        self.skip = Linear(outputs, inputs, fields) if inputs != outputs else None
        self.first = Linear(hidden, inputs, fields)
        self.context = Linear(hidden, context, fields, bias=False) if context else None
        self.second = Linear(outputs, hidden, fields)
        self.unit = GatedUnit(outputs, outputs, fields)
        parts = (self.skip, self.first, self.context, self.second, self.unit)
        self.params = [param for part in parts if part for param in part.params]

    def forward(self, be, x, context=None):
        """(y (rows, outputs) of x (rows, inputs) and the context (rows, values), what `backward` needs)."""
        xp, hidden = be.xp, self.first.forward(be, x)
        if self.context:
            hidden = hidden + self.context.forward(be, context)
        active = xp.maximum(hidden, 0) if self.relu else xp.where(hidden > 0, hidden, xp.expm1(xp.minimum(hidden, 0)))
        raw, mask = self.second.forward(be, active), None
        if self.ratio:
            raw, mask = be.dropout_forward(raw, self.ratio)
        gated, unit = self.unit.forward(be, raw)
        y, spread = normalise(xp, gated + (self.skip.forward(be, x) if self.skip else x), EPSILON)
        return y, (x, context, active, mask, unit, y, spread)

    def backward(self, be, dy, saved, need_context: bool = False):
        """The gradients of x and of the context, or None in its place."""
        x, context, active, mask, unit, y, spread = saved
        dsum = normalise_backward(dy, y, spread)
        draw = self.unit.backward(be, dsum, unit)
        if mask is not None:
            draw = be.dropout_backward(draw, mask, self.ratio)
        slope = (active > 0) if self.relu else be.xp.minimum(active, 0) + 1  # of ELU: exp(x) where x is negative
        dhidden = self.second.backward(be, draw, active) * slope
        dcontext = self.context.backward(be, dhidden, context, need_context) if self.context else None
        dx = self.first.backward(be, dhidden, x)
        return dx + (self.skip.backward(be, dsum, x) if self.skip else dsum), dcontext

    def macs(self) -> int:
        """Multiply-accumulate operations of a row."""
        return sum(param.count for param in self.params if len(param.shape) > 1)
