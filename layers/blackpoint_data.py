"""BlackpointData (joyousrabbit): discs of one grey on another, drawn anew in every run, and where they are.

Tops: images (N, 1, 160, 160) of 0 to 250; the discs (N, 5, circles), for each its centre (x, y) over 160, logarithms
of width and height over that of 160, and 1.  With `corners` x1, y1, x2, y2 over 160 and 1, which MultiboxLoss reads.

The fork has had both forms, one after the other, without a field for them: `blackpoint_data_param` is our word.
Source: the nets of joyousrabbit's fork.
"""

from __future__ import annotations

import math

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault

SIDE, GREYS = 160, 26  # greys 0, 10 ... 250
SMALLEST = {False: 10, True: 30}  # diameter, by `corners`


class BlackpointData(Layer):
    type = "BlackpointData"
    fields = ("data_param", "blackpoint_data_param")
    bottoms, tops = (0, 0), (2, 2)

    def setup(self, shapes):
        self.batch, self.param = self.spec.data_param.batch_size, self.spec.blackpoint_data_param
        if self.batch < 1:
            raise SchemaFault("batch_size is not given or 0: write data_param { batch_size: <images> }")
        if not 1 <= self.param.circles < GREYS:
            raise SchemaFault(f"circles {self.param.circles} is not 1 to {GREYS - 1}: each has a grey of its own")
        return []

    def infer(self, shapes):
        return [(self.batch, 1, SIDE, SIDE), (self.batch, 5, self.param.circles)]

    def forward(self, xs):
        xp, (images, labels) = self.xp, map(self.be.zeros, self.infer([]))
        rows, columns = xp.arange(SIDE)[:, None], xp.arange(SIDE)
        for image, label in zip(images, labels, strict=True):
            greys = [10 * int(grey) for grey in self.be.rng.permutation(GREYS)]
            image[:] = greys[0]
            for i in range(self.param.circles):
                x1, y1, size = self._square()
                x, y = int(x1 + size / 2), int(y1 + size / 2)
                image[0][xp.square(rows - y) + xp.square(columns - x) <= (size // 2) ** 2] = greys[i + 1]
                label[:, i] = self.be.asarray(self._label(x1, y1, size))
        return [images, labels]

    def _square(self):
        """(x1, y1, side) of the square around a disc."""
        smallest, rng = SMALLEST[self.param.corners], self.be.rng
        x1, y1 = (int(rng.integers(SIDE - smallest)) for _ in "xy")
        return x1, y1, max(smallest, int(rng.integers(SIDE - max(x1, y1))))

    def _label(self, x1, y1, size):
        if self.param.corners:
            return [x1 / SIDE, y1 / SIDE, (x1 + size) / SIDE, (y1 + size) / SIDE, 1]
        extent = math.log(size) / math.log(SIDE)
        return [(x1 + size / 2) / SIDE, (y1 + size / 2) / SIDE, extent, extent, 1]
