"""MultiStageMeanfield (CRF-RNN): mean-field inference of a fully connected conditional random field, in num_iterations.

Bottoms: unary scores and the scores to begin with, both (N, L, H, W), and the image (N, C, H, W), without a gradient.
In each iteration, with probabilities p = softmax(q),

    q = unary - compatibility @ (spatial @ Gs(p) + bilateral @ Gb(p))

where Gs, Gb are means under Gaussian weights of pixels near in place (theta_gamma), and in place (theta_alpha) and
colour (theta_beta); on the permutohedral lattice.  Top: q (N, L, H, W).  Params (1, 1, L, L): spatial, bilateral,
compatibility; at the start spatial_filter_weight, bilateral_filter_weight and -1 on the diagonal.

Source: "Conditional random fields as recurrent neural networks" (Zheng et al., 2015).
"""

from __future__ import annotations

from demitasse.layers.layer import Layer, Param
from demitasse.layers.onnx import lattice
from demitasse.layers.onnx.graph import INT
from demitasse.layers.permutohedral import Lattice
from demitasse.proto.errors import SchemaFault, ShapeFault


class MultiStageMeanfield(Layer):
    type = "MultiStageMeanfield"
    bottoms = (3, 3)
    never_differentiable = (2,)

    def setup(self, shapes):
        field = self.spec.multi_stage_meanfield_param
        if not field.num_iterations or min(field.theta_alpha, field.theta_beta, field.theta_gamma) <= 0:
            raise SchemaFault("num_iterations must be at least 1, theta_alpha, theta_beta and theta_gamma above 0")
        labels = shapes[0][1] if len(shapes[0]) == 4 else 1
        params = [Param((1, 1, labels, labels)) for _ in range(3)]
        if self.be is not None:
            for param, value in zip(
                params, (field.spatial_filter_weight, field.bilateral_filter_weight, -1), strict=True
            ):
                param.data = self.be.asarray((value * self.xp.eye(labels)).reshape(param.shape))
        return params

    def infer(self, shapes):
        unary, start, image = shapes
        if len(unary) != 4 or start != unary or len(image) != 4 or (image[0], *image[2:]) != (unary[0], *unary[2:]):
            raise ShapeFault(
                f"the bottoms have shapes {unary}, {start} and {image}: scores, scores of the same shape and the image "
                "of their size are needed"
            )
        if unary[1] != self.params[0].shape[2]:
            raise ShapeFault(f"the scores are for {unary[1]} labels, the weights for {self.params[0].shape[2]}")
        return [unary]

    def forward(self, xs):
        xp, (unary, q, image) = self.xp, xs
        spatial, bilateral, compatibility = (param.data[0, 0] for param in self.params)
        filters = [self._filters(item) for item in image]
        steps = []
        for _ in range(self.spec.multi_stage_meanfield_param.num_iterations):
            p = self.be.softmax_forward(q, 1)
            near, like = (
                xp.stack([self._apply(pair[k], item) for pair, item in zip(filters, p, strict=True)])
                if len(p)
                else xp.zeros_like(p)
                for k in (0, 1)
            )
            message = self._times(spatial, near) + self._times(bilateral, like)
            q = unary - self._times(compatibility, message)
            steps.append((p, near, like, message))
        if self.keep:
            self.saved = filters, steps
        return [q]

    def backward(self, dys, need):
        xp, (filters, steps), dq = self.xp, self.saved, dys[0]
        spatial, bilateral, compatibility = self.params
        dunary = xp.zeros_like(dq)
        for p, near, like, message in reversed(steps):
            dunary += dq
            self._add(compatibility, -dq, message)
            dmessage = self._times(compatibility.data[0, 0].T, -dq)
            self._add(spatial, dmessage, near)
            self._add(bilateral, dmessage, like)
            dp = xp.zeros_like(dq)
            for k, weights in enumerate((spatial, bilateral)):
                back = self._times(weights.data[0, 0].T, dmessage)
                for n, pair in enumerate(filters):
                    dp[n] += self._apply(pair[k], back[n], transposed=True)
            dq = self.be.softmax_backward(dp, p, 1)
        return [dunary if need[0] else None, dq if need[1] else None, None]

    def to_onnx(self, graph, xs):
        field, (unary, q, image) = self.spec.multi_stage_meanfield_param, xs
        (images, labels, height, width), colours = graph.sizes(unary), image.shape[1]

        def rows(maps, count):
            return graph.reshape(graph.transpose(maps, [1, 0, 2, 3]), [count, -1])

        spatial, bilateral, compatibility = (graph.param(i, (labels, labels)) for i in range(3))
        x, y = lattice.pixel_coords(graph, images, height, width)
        colour = graph.cast(rows(image / field.theta_beta, colours), lattice.DOUBLE)
        near = lattice.Lattice(graph, [x / field.theta_gamma, y / field.theta_gamma], images)
        colour = [graph.gather(colour, graph.constant(i, INT), 0) for i in range(colours)]
        like = lattice.Lattice(graph, [x / field.theta_alpha, y / field.theta_alpha, *colour], images)
        unary, q = rows(unary, labels), rows(q, labels)
        for _ in range(field.num_iterations):
            p = graph.node("Softmax", q, axis=0)
            message = graph.node("MatMul", spatial, near.means(p)) + graph.node("MatMul", bilateral, like.means(p))
            q = unary - graph.node("MatMul", compatibility, message)
        return [graph.transpose(graph.reshape(q, [labels, images, height, width]), [1, 0, 2, 3])]

    def _filters(self, image):
        """(lattice, what a filtered value is divided by) for the coordinates of an image's pixels, and with colours."""
        field, xp = self.spec.multi_stage_meanfield_param, self.xp
        channels, height, width = image.shape
        rows, columns = xp.meshgrid(xp.arange(height), xp.arange(width), indexing="ij")
        pixels = xp.stack([columns.reshape(-1), rows.reshape(-1)], 1)
        colours = image.reshape(channels, -1).T / field.theta_beta
        found = []
        for features in (pixels / field.theta_gamma, xp.concatenate([pixels / field.theta_alpha, colours], 1)):
            lattice = Lattice(xp, features)
            found.append((lattice, lattice.filtered(xp.ones((1, len(features)))) + 1e-20))
        return found

    def _apply(self, filter_, values, transposed=False):
        """(L, H, W) as its means under a filter, or the adjoint of that."""
        (lattice, total), rows = filter_, values.reshape(len(values), -1)
        taken = lattice.filtered(rows / total, True) if transposed else lattice.filtered(rows) / total
        return taken.astype(values.dtype).reshape(values.shape)

    def _times(self, matrix, maps):
        """(N, L, H, W) with a matrix over the labels of each pixel."""
        n, labels, height, width = maps.shape
        return self.xp.matmul(matrix, maps.reshape(n, labels, height * width)).reshape(maps.shape)

    def _add(self, param, dy, x):
        if param.grad is not None:
            left, right = (maps.swapaxes(0, 1).reshape(maps.shape[1], maps[:, 0].size) for maps in (dy, x))
            param.grad += (left @ right.T).reshape(param.shape)
