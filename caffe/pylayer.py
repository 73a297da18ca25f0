"""What a Python layer is written against: `import caffe; class MyLayer(caffe.Layer)`, and the blobs it is given.

class EuclideanLoss(caffe.Layer):
    def setup(self, bottom, top):                        # once: check, read self.param_str, self.blobs.add_blob
    def reshape(self, bottom, top):                      # before every forward: top[i].reshape(...)
        top[0].reshape(1)
    def forward(self, bottom, top):                      # fill top[i].data
        self.diff = bottom[0].data - bottom[1].data
        top[0].data[...] = (self.diff ** 2).sum() / bottom[0].num / 2
    def backward(self, top, propagate_down, bottom):     # fill bottom[i].diff where propagate_down[i]
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * self.diff * top[0].diff / bottom[0].num
"""

from __future__ import annotations

import math

import numpy as np


def own_memory(name: str) -> property:
    """A blob's `data` or `diff`: an array to write into, which no assignment replaces.  The class has `_{name}_array`,
    which gives it.  An assignment is an AttributeError."""

    def read(self) -> np.ndarray:
        return getattr(self, f"_{name}_array")()

    def assign(self, array) -> None:
        if array is not read(self):  # `blob.data += 1` hands back the array itself
            raise AttributeError(
                f"{name} is the blob's own memory, which cannot be replaced: write {name}[...] = array to fill it"
            )

    return property(read, assign, doc=f"The blob's `{name}`: a float32 array to read and to write into.")


class Shaped:
    """What follows from a `shape`."""

    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    # The four axes that every blob once had; missing ones count as 1.

    @property
    def num(self) -> int:
        """The size of axis 0; 1 where there is none."""
        return self._axis(0)

    @property
    def channels(self) -> int:
        """The size of axis 1; 1 where there is none."""
        return self._axis(1)

    @property
    def height(self) -> int:
        """The size of axis 2; 1 where there is none."""
        return self._axis(2)

    @property
    def width(self) -> int:
        """The size of axis 3; 1 where there is none."""
        return self._axis(3)

    def _axis(self, index: int) -> int:
        if len(self.shape) > 4:
            raise ValueError(f"a blob of shape {self.shape} has more axes than num, channels, height and width")
        return self.shape[index] if index < len(self.shape) else 1

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.shape}"


class Blob(Shaped):
    """An array on the host, `data`, with its gradient, `diff`; each is made when it is first looked at."""

    def __init__(self, shape=(), dtype=np.float32):
        self._shape = tuple(int(size) for size in shape)
        self.sized = shape != ()  # whether anybody has said its shape
        self._dtype = dtype
        self._data: np.ndarray | None = None
        self._diff: np.ndarray | None = None

    def _data_array(self) -> np.ndarray:
        if self._data is None:
            self._data = np.zeros(self._shape, self._dtype)
        return self._data

    def _diff_array(self) -> np.ndarray:
        if self._diff is None:
            self._diff = np.zeros(self._shape, self._dtype)
        return self._diff

    data, diff = own_memory("data"), own_memory("diff")

    def reshape(self, *shape: int) -> None:
        """Take new sizes. The values stay where their number does; else they are zeros.

        TypeError for a tuple in their place.
        """
        if any(isinstance(size, (tuple, list)) for size in shape):
            raise TypeError(f"reshape takes the sizes one by one, as in reshape(*shape), not {shape}")
        self.sized = True
        shape = tuple(int(size) for size in shape)
        if any(size < 0 for size in shape):
            raise ValueError(f"a blob cannot have the shape {shape}")
        keeps = math.prod(shape) == self.count
        self._shape = shape
        self._data = self._data.reshape(shape) if keeps and self._data is not None else None
        self._diff = self._diff.reshape(shape) if keeps and self._diff is not None else None

    def hold(self, data: np.ndarray | None = None, diff: np.ndarray | None = None) -> None:
        """Use these arrays, which must be of one shape, as data and diff; None: fresh zeros when looked at."""
        given = data if data is not None else diff
        if given is not None:
            self._shape = given.shape
        self._data, self._diff = data, diff

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes, an axis each."""
        return self._shape


class BlobVec(list):
    """A layer's learned blobs."""

    def __init__(self, dtype=np.float32):
        super().__init__()
        self._dtype = dtype

    def add_blob(self, *shape: int) -> None:
        """Declare, in setup, one more learned blob; what setup writes into its data is where learning starts."""
        self.append(Blob(shape, self._dtype))

    def __setitem__(self, index, value) -> None:
        if not isinstance(value, Shaped):
            raise TypeError(f"a blob's numbers are written into it: blobs[{index}].data[...] = array")
        super().__setitem__(index, value)


class RawBlobVec(list):
    """The bottoms or the tops that a layer is called with."""


class Layer:
    """The base of Python layers: `param_str` and `phase` (caffe.TRAIN or caffe.TEST) are set before setup is called."""

    type = "Python"
    param_str = ""
    phase = 1
    blobs: BlobVec

    def __init__(self, param=None):
        """param: the LayerParameter message."""

    def setup(self, bottom, top):
        """Called once, when the net is built."""

    @property
    def param_str_(self) -> str:
        """The name of param_str in older Caffe."""
        return self.param_str
