"""BitsData (joyousrabbit): pairs of numbers and their sums, bit by bit, for a recurrent net that learns to add.

Tops: the bits of both numbers (8, N, 2, 1) and of their sum (8, N, 1, 1), a step for each bit, the lowest first; N is
data_param's batch_size.  Both numbers are drawn anew in every run, from 0 to 126.

Source: the prototxts of joyousrabbit's fork.
"""

from __future__ import annotations

from demitasse.layers.layer import Layer
from demitasse.proto.errors import SchemaFault

BITS = 8
LARGEST = (1 << (BITS - 1)) - 2  # of a number, so that the sum has room


class BitsData(Layer):
    type = "BitsData"
    fields = ("data_param",)
    bottoms, tops = (0, 0), (2, 2)

    def setup(self, shapes):
        self.batch = self.spec.data_param.batch_size
        if self.batch < 1:
            raise SchemaFault("batch_size is not given or 0: write data_param { batch_size: <pairs of numbers> }")
        return []

    def infer(self, shapes):
        return [(BITS, self.batch, 2, 1), (BITS, self.batch, 1, 1)]

    def forward(self, xs):
        numbers = self.be.rng.integers(0, LARGEST + 1, (self.batch, 2))
        return [
            self.be.asarray([each >> bit & 1 for bit in range(BITS)]).reshape(shape)
            for each, shape in zip((numbers, numbers.sum(axis=1)), self.infer([]), strict=True)
        ]
