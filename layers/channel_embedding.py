"""ChannelEmbedding, NumericTransformation, CategoricalTransformation (MyCaffe): features of series as vectors.

NumericTransformation: bottom (..., num_input); for each feature a top (rows, state_size), the feature times weights
plus a bias.  Params, for each feature: weights (state_size, 1), bias (state_size,).
CategoricalTransformation: bottom (..., num_input) of whole numbers from 0 to below the feature's `cardinality`; for
each feature a top (rows, state_size), rows of a table.  Params, for each feature: table (cardinality, state_size), and
with bias_term a bias (state_size,).
ChannelEmbedding: bottoms numeric and categorical features, (N, ...) or (N, T, ...); a kind of which num_input is 0 is
not read.  Top (N, values) or (N, T, values): the vectors of all features side by side, the numeric ones first.  Params:
those of NumericTransformation, then those of CategoricalTransformation.

Source: "Temporal fusion transformers for interpretable multi-horizon time series forecasting" (Lim et al., 2021), 4.2;
the prototxts of MyCaffe.
"""

from demitasse.layers.gated import Linear, row_count, rows
from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import LabelFault, SchemaFault, ShapeFault
from demitasse.proto.messages import FillerParameter, GluParameter, LayerParameter

TABLE, TABLE_BIAS = FillerParameter(type="gaussian"), FillerParameter(type="constant", value=1)


class NumericTransformation(Layer):
    """Each number as a vector: weights times it, plus a bias."""

    type = "NumericTransformation"
    fields = ("numeric_trans_param",)
    tops = (1, None)

    def setup(self, shapes):
        param = self.spec.numeric_trans_param
        _check(param)
        self.parts = [Linear(param.state_size, 1, GluParameter()) for _ in range(param.num_input)]
        return [each for part in self.parts for each in part.params]

    def infer(self, shapes):
        param = self.spec.numeric_trans_param
        return _features(shapes[0], param, self.spec.top)

    def forward(self, xs):
        x = rows(xs[0], -1)
        if self.keep:
            self.saved = xs[0].shape, x
        columns = [self.xp.ascontiguousarray(x[:, i : i + 1]) for i in range(len(self.parts))]
        return [part.forward(self.be, column) for part, column in zip(self.parts, columns, strict=True)]

    def backward(self, dys, need):
        (shape, x), columns = self.saved, []
        for i, (part, dy) in enumerate(zip(self.parts, dys, strict=True)):
            column = self.xp.ascontiguousarray(x[:, i : i + 1])
            columns.append(self.be.zeros(column.shape) if dy is None else part.backward(self.be, dy, column))
        return [self.be.concatenate(columns, 1).reshape(shape) if need[0] else None]


class CategoricalTransformation(Layer):
    """Each category as a vector: a row of a table."""

    type = "CategoricalTransformation"
    fields = ("categorical_trans_param",)
    tops = (1, None)
    never_differentiable = (0,)

    def setup(self, shapes):
        param, params = self.spec.categorical_trans_param, []
        _check(param)
        if len(param.cardinality) != param.num_input or not all(param.cardinality):
            raise SchemaFault(
                f"cardinality is given {len(param.cardinality)} times for num_input {param.num_input}: give one, of at "
                "least 1, for each feature"
            )
        for count in param.cardinality:
            params.append(Param((count, param.state_size), TABLE))
            if param.bias_term:
                params.append(Param((param.state_size,), TABLE_BIAS))
        return params

    def infer(self, shapes):
        return _features(shapes[0], self.spec.categorical_trans_param, self.spec.top)

    def forward(self, xs):
        param, index, tops = self.spec.categorical_trans_param, rows(xs[0], -1).astype(int), []
        for i, (table, *bias) in enumerate(self._groups()):
            column = index[:, i]
            outside = (column < 0) | (column >= len(table.data))
            if outside.any():
                raise LabelFault(
                    f"categorical feature {i + 1} is {int(column[int(outside.argmax())])} somewhere: its cardinality "
                    f"{param.cardinality[i]} means 0 to {param.cardinality[i] - 1}"
                )
            tops.append(table.data[column] + bias[0].data if bias else table.data[column])
        if self.keep:
            self.saved = index
        return tops

    def backward(self, dys, need):
        for i, (dy, group) in enumerate(zip(dys, self._groups(), strict=True)):
            for param in group if dy is not None else ():
                if param.grad is not None and len(param.shape) > 1:
                    self.xp.add.at(param.grad, self.saved[:, i], dy)
                elif param.grad is not None:
                    param.grad += dy.sum(0)
        return [None]

    def _groups(self):
        """The params of each feature."""
        size = 1 + self.spec.categorical_trans_param.bias_term
        return [self.params[i : i + size] for i in range(0, len(self.params), size)]


class ChannelEmbedding(Layer):
    """The vectors of all features of both kinds, side by side."""

    type = "ChannelEmbedding"
    fields = ("numeric_trans_param", "categorical_trans_param")
    bottoms = (2, 2)
    never_differentiable = (1,)

    def setup(self, shapes):
        numeric, categorical = self.spec.numeric_trans_param, self.spec.categorical_trans_param
        counts = numeric.num_input, categorical.num_input
        if not sum(counts) or (all(counts) and numeric.state_size != categorical.state_size):
            raise SchemaFault(
                f"numeric_trans_param has num_input {counts[0]} and state_size {numeric.state_size}, "
                f"categorical_trans_param {counts[1]} and {categorical.state_size}: one num_input of at least 1, and "
                "the same state_size, are needed"
            )
        kinds = (NumericTransformation, CategoricalTransformation)
        self.halves = [
            (i, kind(LayerParameter(type=kind.type, **{kind.fields[0]: param}), self.phase, self.be))
            for i, (kind, param) in enumerate(zip(kinds, (numeric, categorical), strict=True))
            if param.num_input
        ]
        for i, half in self.halves:
            half.params = half.setup([shapes[i]])
        return [param for _, half in self.halves for param in half.params]

    def infer(self, shapes):
        used = [(shapes[i], half.infer([shapes[i]])) for i, half in self.halves]
        if any(shape[:-1] != used[0][0][:-1] for shape, _ in used):
            raise ShapeFault(f"numeric features {shapes[0]} and categorical ones {shapes[1]}: equal N and T are needed")
        return [(*used[0][0][:-1], sum(len(tops) * tops[0][1] for _, tops in used))]

    def forward(self, xs):
        vectors = []
        for i, half in self.halves:
            half.be, half.keep = self.be, self.keep
            vectors += half.forward([xs[i]])
        shapes = [x.shape for x in xs]
        if self.keep:
            self.saved = shapes
        return [self.be.concatenate(vectors, 1).reshape(self.infer(shapes)[0])]

    def backward(self, dys, need):
        dy, first, grads = rows(dys[0], -1), 0, [None, None]
        size = max(self.spec.numeric_trans_param.state_size, self.spec.categorical_trans_param.state_size)
        for i, half in self.halves:
            count = half.infer([self.saved[i]])
            parts = [dy[:, first + k * size : first + (k + 1) * size] for k in range(len(count))]
            first += len(count) * size
            (grads[i],) = half.backward([self.xp.ascontiguousarray(part) for part in parts], [need[i]])
        if need[0] and grads[0] is None:
            grads[0] = self.be.zeros(self.saved[0])
        return grads


def _check(param) -> None:
    if not param.num_input or not param.state_size:
        raise SchemaFault("num_input and state_size are needed: how many features, and of how many numbers each")


def _features(shape, param, tops) -> list:
    """The shapes of the tops of a layer for the features of one kind."""
    if len(shape) < 2 or shape[-1] != param.num_input:
        raise ShapeFault(f"the features have shape {shape}: (N, num_input {param.num_input}) or (N, T, ...) is needed")
    if len(tops) not in (0, param.num_input):
        raise ShapeFault(f"{len(tops)} tops for num_input {param.num_input}: there is one for each feature")
    return [(row_count(shape, -1), param.state_size)] * param.num_input
