"""MultiheadAttentionInterp (MyCaffe): attention whose heads share their values, so that its weights can be read.

Bottom x (N, T, D), T being num_historical_steps + num_future_steps: each of the last num_future_steps asks all steps up
to itself; without any each step does.  Or, with enable_self_attention: false, four: queries (N, Q, D), keys and values
(N, K, D) and a mask (Q, K), 1 where a query may not ask.
Tops: y (N, Q, embed_dim), what has been attended to (N, Q, embed_dim), and how much (N, Q, K), the mean over num_heads.

    a = mean over heads of softmax(q k.T / sqrt(embed_dim))       y = (a v) @ Wo.T + bo

Params: of queries and of keys the weights (num_heads * embed_dim, D) and a bias, of values and of the output
(embed_dim, D) and (embed_dim, embed_dim) and a bias.  The paper's heads have embed_dim / num_heads numbers each.

Source: "Temporal fusion transformers for interpretable multi-horizon time series forecasting" (Lim et al., 2021), 4.4;
the shapes of params are MyCaffe's.
"""

import math

from demitasse.layers.gated import Linear, refuse_noise, rows
from demitasse.layers.layer import Layer
from demitasse.proto.errors import GraphFault, SchemaFault, ShapeFault


class MultiheadAttentionInterp(Layer):
    type = "MultiheadAttentionInterp"
    fields = ("multihead_attention_interp_param",)
    bottoms, tops = (1, 4), (1, 3)
    never_differentiable = (3,)

    def setup(self, shapes):
        param = self.param = self.spec.multihead_attention_interp_param
        refuse_noise(param)
        if len(shapes) != (1 if param.enable_self_attention else 4):
            raise GraphFault(
                f"{len(shapes)} bottoms: with enable_self_attention {str(param.enable_self_attention).lower()} there "
                f"{'is one' if param.enable_self_attention else 'are queries, keys, values and a mask'}"
            )
        if not param.embed_dim or not param.num_heads:
            raise SchemaFault("embed_dim and num_heads are needed, each at least 1")
        query, key, value = (shape[-1] for shape in (shapes * 3)[:3])
        wide = param.num_heads * param.embed_dim
        self.parts = [
            Linear(outputs, inputs, param)
            for outputs, inputs in (
                (wide, query),
                (wide, key),
                (param.embed_dim, value),
                (param.embed_dim, param.embed_dim),
            )
        ]
        return [each for part in self.parts for each in part.params]

    def infer(self, shapes):
        param, (query, key, value, *mask) = self.param, shapes if len(shapes) > 1 else shapes * 3
        steps = param.num_historical_steps + param.num_future_steps
        inputs = tuple(part.params[0].shape[1] for part in self.parts[:3])
        if any(len(shape) != 3 for shape in (query, key, value)) or (query[2], key[2], value[2]) != inputs:
            raise ShapeFault(f"the bottoms have shapes {shapes}: (N, T, D) are needed, D being {inputs}")
        if not mask and query[1] != steps:
            raise ShapeFault(
                f"the bottom {query} has {query[1]} steps, but num_historical_steps {param.num_historical_steps} and "
                f"num_future_steps {param.num_future_steps} make {steps}"
            )
        asking = query[1] if mask or not param.num_future_steps else param.num_future_steps
        if mask and ({query[0], key[0], value[0]} != {query[0]} or key[1] != value[1] or mask[0] != (asking, key[1])):
            raise ShapeFault(f"the bottoms have shapes {shapes}: (N, Q, D), (N, K, D), (N, K, D), (Q, K) are needed")
        y = query[0], asking, param.embed_dim
        return [y, y, (query[0], asking, key[1])][: max(1, len(self.spec.top))]

    def forward(self, xs):
        be, xp, param = self.be, self.xp, self.param
        query, key, value = (xs * 3)[:3]
        if len(xs) == 1 and param.num_future_steps:
            query = xp.ascontiguousarray(query[:, param.num_historical_steps :])
        asking, steps = query.shape[1], key.shape[1]
        if len(xs) > 1:
            masked = xs[3] == 1
        else:
            masked = xp.arange(steps) > xp.arange(steps - asking, steps)[:, None]
        inputs = [rows(x, 2) for x in (query, key, value)]
        made = [part.forward(be, x) for part, x in zip(self.parts, inputs, strict=False)]
        q, k = (self._heads(x, count) for x, count in zip(made, (asking, steps), strict=False))
        v = made[2].reshape(len(key), steps, param.embed_dim)
        scores = q @ k.swapaxes(2, 3) / math.sqrt(param.embed_dim)
        scores = xp.where(masked, -xp.inf, scores).astype(v.dtype)
        weights = be.softmax_forward(xp.ascontiguousarray(scores), 3)
        mean = weights.sum(1) / param.num_heads
        attended = rows(xp.ascontiguousarray(mean @ v), 2)
        y = self.parts[3].forward(be, attended)
        shapes = [x.shape for x in xs]
        if self.keep:
            self.saved = shapes, inputs, (q, k, v), weights, mean, attended
        tops = zip((y, attended, mean), self.infer(shapes), strict=False)
        return [top.reshape(shape) for top, shape in tops]

    def backward(self, dys, need):
        be, xp, param, (shapes, inputs, (q, k, v), weights, mean, attended) = self.be, self.xp, self.param, self.saved
        dattended = (
            be.zeros(attended.shape) if dys[0] is None else self.parts[3].backward(be, rows(dys[0], 2), attended)
        )
        if len(dys) > 1 and dys[1] is not None:
            dattended = dattended + rows(dys[1], 2)
        dattended = dattended.reshape(*mean.shape[:2], param.embed_dim)
        dmean = dattended @ v.swapaxes(1, 2)
        if len(dys) > 2 and dys[2] is not None:
            dmean = dmean + dys[2]
        dweights = xp.broadcast_to((dmean / param.num_heads)[:, None], weights.shape)
        dscores = be.softmax_backward(xp.ascontiguousarray(dweights), weights, 3) / math.sqrt(param.embed_dim)
        dq, dk, dv = dscores @ k, dscores.swapaxes(2, 3) @ q, mean.swapaxes(1, 2) @ dattended
        dmade = [self._together(dq), self._together(dk), rows(xp.ascontiguousarray(dv), 2)]
        outer = [(len(v), count) for count in (q.shape[2], k.shape[2], k.shape[2])]
        dquery, dkey, dvalue = (
            part.backward(be, xp.ascontiguousarray(dy), x).reshape(*shape, x.shape[1])
            for part, dy, x, shape in zip(self.parts, dmade, inputs, outer, strict=False)
        )
        if len(shapes) == 1:
            dx = dkey + dvalue
            dx[:, dx.shape[1] - dquery.shape[1] :] += dquery
            return [dx if need[0] else None]
        return [dx if wanted else None for dx, wanted in zip((dquery, dkey, dvalue, None), need, strict=True)]

    def macs(self, bottom_shapes, top_shapes):
        items, asking, size = top_shapes[0]
        steps, heads = bottom_shapes[min(1, len(bottom_shapes) - 1)][1], self.param.num_heads
        query, key, value, out = (part.params[0].count for part in self.parts)
        return items * (asking * (query + out) + steps * (key + value) + asking * steps * size * (heads + 1))

    def _heads(self, x, steps):
        """(N * steps, heads * embed_dim) as (N, heads, steps, embed_dim)."""
        heads, size = self.param.num_heads, self.param.embed_dim
        return x.reshape(len(x) // max(steps, 1), steps, heads, size).transpose(0, 2, 1, 3)

    def _together(self, x):
        """The inverse of `_heads`."""
        items, heads, steps, size = x.shape
        return self.xp.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(items * steps, heads * size)
