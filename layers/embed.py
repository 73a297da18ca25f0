"""Embed: looks up rows of a table; InnerProduct of a one-hot vector, without the vector.

Bottom (...) holds numbers from 0 to input_dim - 1; top (..., num_output).
Params: table (input_dim, num_output) and, unless bias_term is false, bias (num_output,).
"""

from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import LabelFault, SchemaFault


class Embed(Layer):
    type = "Embed"
    never_differentiable = (0,)

    def setup(self, shapes):
        param = self.spec.embed_param
        for field in ("num_output", "input_dim"):
            if getattr(param, field) == 0:
                raise SchemaFault(f"embed_param needs {field}: the table has input_dim rows of num_output numbers")
        params = [Param((param.input_dim, param.num_output), param.weight_filler)]
        if param.bias_term:
            params.append(Param((param.num_output,), param.bias_filler))
        return params

    def infer(self, shapes):
        return [shapes[0] + (self.spec.embed_param.num_output,)]

    def forward(self, xs):
        table, index = self.params[0].data, xs[0].astype(int)
        outside = (index < 0) | (index >= len(table))
        if outside.any():
            place = int(outside.argmax())
            raise LabelFault(
                f"number {int(index.reshape(-1)[place])} at place {place} of the bottom: "
                f"the table has rows 0 to {len(table) - 1} (input_dim)"
            )
        y = table[index]
        if len(self.params) > 1:
            y += self.params[1].data
        if self.keep:
            self.saved = index
        return [y]

    def backward(self, dys, need):
        table, *bias = (param.grad for param in self.params)
        if table is not None:
            self.xp.add.at(table, self.saved, dys[0])
        if bias and bias[0] is not None:
            bias[0] += dys[0].reshape(-1, dys[0].shape[-1]).sum(0)
        return [None]

    def to_onnx(self, graph, xs):
        rows = graph.gather(graph.param(0), graph.cast(xs[0], "int64"), 0)
        return [rows + graph.param(1) if len(self.params) > 1 else rows]
