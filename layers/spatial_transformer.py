"""SpatialTransformer: an image seen through an affine map that other layers have found.

Bottoms: images (N, C, H, W) and the map's numbers theta (N, 6), or fewer, in order, where st_param gives some; top
(N, C, output_H, output_W), by default of the bottom's size.  With positions from -1 (the first pixel) up to 1 (one
pixel beyond the last), row v and column u of the top show the bottom's

    row    theta_1_1 v + theta_1_2 u + theta_1_3
    column theta_2_1 v + theta_2_2 u + theta_2_3

between whose pixels is interpolated; 0 outside.  (The paper's map has columns first, the layer that spread rows.)

Source: "Spatial transformer networks" (Jaderberg et al., 2015); the fields of daerduoCarey's SpatialTransformerLayer.
"""

import itertools
import math

from demitasse.layers.layer import Layer
from demitasse.layers.onnx.graph import FLOAT
from demitasse.layers.onnx.sampling import sampled as sampled_in
from demitasse.layers.onnx.tensor import Tensor
from demitasse.layers.sampling import corners_of, image_gradient, point_gradients, sampled
from demitasse.proto.errors import SchemaFault, ShapeFault

NUMBERS = [f"theta_{i}_{j}" for i in (1, 2) for j in (1, 2, 3)]


class SpatialTransformer(Layer):
    type = "SpatialTransformer"
    fields = ("st_param",)
    bottoms = (2, 2)

    def setup(self, shapes):
        param = self.spec.st_param
        for name, known in (("transform_type", "affine"), ("sampler_type", "bilinear")):
            if getattr(param, name) != known:
                raise SchemaFault(f'{name} "{getattr(param, name)}" is not known: "{known}" is')
        self.given = [getattr(param, name) if param.HasField(name) else None for name in NUMBERS]
        return []

    def infer(self, shapes):
        images, theta = shapes
        free = self.given.count(None)
        if len(images) != 4:
            raise ShapeFault(f"bottom 0 has shape {images}: images (N, C, H, W) are expected")
        if theta[:1] != images[:1] or math.prod(theta[1:]) != free:
            raise ShapeFault(
                f"bottom 1 has shape {theta}: the map takes {free} numbers for each of {images[0]} images, 6 less the "
                f"{6 - free} that st_param gives"
            )
        return [(*images[:2], *self._size(images))]

    def _size(self, images):
        param = self.spec.st_param
        return param.output_H or images[2], param.output_W or images[3]

    def forward(self, xs):
        x, theta = xs
        grid, corners = self._corners(x.shape, theta)
        image = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
        if self.keep:
            self.saved = image, grid, corners, x.shape, theta.shape
        y = sampled(self.xp, image, corners) if image.size else self.be.zeros((*x.shape[:2], len(grid)))
        return [y.astype(x.dtype).reshape(*x.shape[:2], *self._size(x.shape))]

    def backward(self, dys, need):
        image, grid, corners, shape, theta_shape = self.saved
        dy = dys[0].reshape(*shape[:2], len(grid))
        dx = dtheta = None
        if need[0] and self.spec.st_param.to_compute_dU:
            dx = image_gradient(self.be, dy, corners, image.shape).reshape(shape)
        if need[1]:
            gradients = point_gradients(self.xp, dy, image, corners)
            whole = [
                along * (size / 2) @ grid[:, i]
                for along, size in zip(gradients, shape[2:], strict=True)
                for i in range(3)
            ]
            free = [column for column, given in zip(whole, self.given, strict=True) if given is None]
            dtheta = self.xp.stack(free, axis=1).astype(dy.dtype).reshape(theta_shape) if free else None
        return [dx, dtheta]

    def to_onnx(self, graph, xs):
        x, theta = xs
        (images, channels, *size), own = graph.sizes(x), self._size(x.shape)
        height, width = (graph.size(x, 2 + i) if n is None else n for i, n in enumerate(own))
        theta, free = graph.reshape(theta, [images, -1]), itertools.count()
        numbers = [
            graph.slice(theta, [i], [i + 1], [1]) if given is None else float(given)
            for given, i in ((given, next(free) if given is None else 0) for given in self.given)
        ]
        v, u = (graph.cast(graph.arange(n), FLOAT) * 2.0 / graph.as_float(n) - 1.0 for n in (height, width))
        v, u = graph.reshape(v, [1, -1, 1]), graph.reshape(u, [1, 1, -1])
        points = []
        for axis, n in enumerate(size):
            a, b, c = (
                graph.reshape(t, [images, 1, 1]) if isinstance(t, Tensor) else t
                for t in numbers[3 * axis : 3 * axis + 3]
            )
            point = (v * a + u * b + c + 1.0) * (graph.as_float(n) * 0.5) + (v + u) * 0.0
            points.append(graph.reshape(point + graph.filled([images, 1, 1]), [images, -1]))
        return [graph.reshape(sampled_in(graph, x, *points), [images, channels, height, width])]

    def _corners(self, shape, theta):
        """The positions (P, 3) of the top's pixels, each with a 1, and the bottom's pixels around what they show."""
        xp, (height, width) = self.xp, self._size(shape)
        rows, columns = (2 * xp.arange(n, dtype=theta.dtype) / n - 1 for n in (height, width))
        ones = xp.ones(height * width, theta.dtype)
        grid = xp.stack([xp.repeat(rows, width), xp.tile(columns, height), ones], axis=1)
        whole = self._map(theta.reshape(len(theta), math.prod(theta.shape[1:])))
        points = [(whole[:, 3 * axis : 3 * axis + 3] @ grid.T + 1) * (shape[2 + axis] / 2) for axis in (0, 1)]
        return grid, corners_of(xp, *points, shape[2:])

    def _map(self, theta):
        """All six numbers of each image's map (N, 6), those of the bottom and those of st_param."""
        free = iter(range(theta.shape[1]))
        columns = [
            theta[:, next(free)] if given is None else self.xp.full(len(theta), given, theta.dtype)
            for given in self.given
        ]
        return self.xp.stack(columns, axis=1)
