"""FlowWarp (FlowNet 2): an image seen at other places, those that a flow points to.

Bottoms: images (N, C, H, W) and flows (N, 2, H, W), of columns and of rows.  Pixel (y, x) of the top is the image at
(y + flow's row, x + flow's column), between pixels bilinear, beyond the last pixel its value; outside the image it is
0, or NaN with fill_value: NOT_A_NUMBER.  Both bottoms take gradients.

Source: "FlowNet 2.0: Evolution of Optical Flow Estimation with Deep Networks" (Ilg et al., 2017), 4.1, and its nets.
"""

from demitasse.layers.layer import Layer
from demitasse.proto.errors import ShapeFault


class FlowWarp(Layer):
    type = "FlowWarp"
    bottoms = (2, 2)

    def infer(self, shapes):
        image, flow = shapes
        if len(image) != 4 or flow != (image[0], 2, *image[2:]):
            raise ShapeFault(f"the bottoms have shapes {image} and {flow}: images (N, C, H, W) and flows (N, 2, H, W)")
        return [image]

    def forward(self, xs):
        xp, (image, flow), param = self.xp, xs, self.spec.flow_warp_param
        rows, columns = image.shape[2:]
        x, y = (xp.arange(n, dtype=flow.dtype) for n in (columns, rows))
        x, y = x + flow[:, 0], y[:, None] + flow[:, 1]
        inside = (x >= 0) & (y >= 0) & (x < columns) & (y < rows)
        x, y = xp.where(inside, x, 0), xp.where(inside, y, 0)
        left, top = xp.floor(x).astype("int64"), xp.floor(y).astype("int64")
        right, below = xp.minimum(left + 1, columns - 1), xp.minimum(top + 1, rows - 1)
        a, b = (x - left.astype(x.dtype))[:, None], (y - top.astype(y.dtype))[:, None]
        places = [
            self._places(image.shape, *each) for each in ((top, left), (top, right), (below, left), (below, right))
        ]
        flat = image.reshape(*image.shape[:2], rows * columns)
        corners = [xp.take_along_axis(flat, place, 2).reshape(image.shape) for place in places]
        weights = (1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b
        seen = sum(weight * corner for weight, corner in zip(weights, corners, strict=True))
        if self.keep:
            self.saved = places, weights, corners, a, b, inside[:, None]
        return [xp.where(inside[:, None], seen, xp.nan if param.fill_value == param.NOT_A_NUMBER else 0)]

    def backward(self, dys, need):
        xp, (places, weights, corners, a, b, inside) = self.xp, self.saved
        dy, dxs = xp.where(inside, dys[0], 0), [None, None]
        shape = dy.shape
        if need[0]:
            count, pixels = shape[0] * shape[1], shape[2] * shape[3]
            first = (xp.arange(count) * pixels).reshape(*shape[:2], 1)
            parts = [
                xp.bincount((first + place).reshape(-1), (dy * weight).reshape(-1), minlength=count * pixels)
                for place, weight in zip(places, weights, strict=True)
            ]
            dxs[0] = sum(parts).astype(dy.dtype).reshape(shape)
        if need[1]:
            tl, tr, bl, br = corners
            along = (
                (dy * ((1 - b) * (tr - tl) + b * (br - bl))).sum(1),
                (dy * ((1 - a) * (bl - tl) + a * (br - tr))).sum(1),
            )
            dxs[1] = xp.stack(along, 1)
        return dxs

    def _places(self, shape, y, x):
        """(N, C, H W): where in a plane the pixels (y, x), (N, H, W) each, are."""
        flat = (y * shape[3] + x).reshape(len(y), 1, shape[2] * shape[3])
        return self.xp.broadcast_to(flat, (*shape[:2], shape[2] * shape[3]))
