"""caffe_traininglayers: the layers of interactive colorization's global nets, of its authors' module of this name.

    python_param { module: "caffe_traininglayers"  layer: "SpatialRepLayer" }

The global hints of an image are made of its colours by BGR2HSVLayer, BGR2LabLayer and NNEncLayer, each is given to the
net or not by ColorGlobalDropoutLayer, and added to every pixel by SpatialRepLayer.  Their layers for training the rest
are not here; a module of the name that lies beside the prototxt goes before this one.
Sources: "Real-Time User-Guided Image Colorization with Learned Deep Priors" (Zhang et al., 2017); "Colorful Image
Colorization" (Zhang et al., 2016) for the 313 colours; CIE 15 and IEC 61966-2-1 for Lab and sRGB.
"""

import os

import numpy as np

import caffe
from demitasse.layers.data.augmentation import HALF_TURN, to_hsv
from demitasse.proto.archives import read_npy
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault

COLOURS, COLOUR_FILE = 313, "data/color_bins/pts_in_hull.npy"  # pairs of a and b that sRGB can show, ten apart
_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = np.array([0.95047, 1, 1.08883])  # D65, seen by 2 degrees


class SpatialRepLayer(caffe.Layer):
    """Bottom 0, (N, C, 1, 1), at every pixel of bottom 1's size: (N, C, H, W)."""

    def setup(self, bottom, top):
        """ShapeFault unless there are two bottoms."""
        if len(bottom) != 2:
            raise ShapeFault(f"{len(bottom)} bottoms: what is repeated, and a blob of the size, are needed")

    def reshape(self, bottom, top):
        """The top has bottom 0's channels and bottom 1's size.  ShapeFault for other axes."""
        own, like = bottom[0].data.shape, bottom[1].data.shape
        if len(own) != 4 or len(like) != 4 or own[2:] != (1, 1):
            raise ShapeFault(f"bottoms of shapes {own} and {like}: (N, C, 1, 1) and (N, C, H, W) are needed")
        top[0].reshape(*own[:2], *like[2:])

    def forward(self, bottom, top):
        """Repeat it."""
        top[0].data[...] = bottom[0].data

    def backward(self, top, propagate_down, bottom):
        """The sum over all pixels."""
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff.sum(axis=(2, 3), keepdims=True)
        if propagate_down[1]:
            bottom[1].diff[...] = 0

    def to_onnx(self, graph, xs):
        """Repeat it, in ONNX's operators."""
        x, like = xs
        return [graph.node("Expand", x, graph.vector([1, 1, *graph.sizes(like)[2:]]))]


class _ColourLayer(caffe.Layer):
    """The (N, 3, H, W) pixels of images in BGR, 0 to 255, in another space; fractions are cut off.  No gradient."""

    def setup(self, bottom, top):
        """ShapeFault unless there is one bottom of three channels."""
        if len(bottom) != 1 or len(bottom[0].data.shape) != 4 or bottom[0].data.shape[1] != 3:
            raise ShapeFault(f"bottoms of shapes {[b.data.shape for b in bottom]}: one (N, 3, H, W) in BGR is needed")

    def reshape(self, bottom, top):
        """The top is as large as the bottom."""
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        """Pixel by pixel."""
        for image, converted in zip(bottom[0].data, top[0].data, strict=True):
            pixels = np.trunc(np.moveaxis(image, 0, 2)).clip(0, 255)
            converted[...] = np.moveaxis(self.convert(pixels / 255), 2, 0)

    def backward(self, top, propagate_down, bottom):
        """Zeros."""
        if propagate_down[0]:
            bottom[0].diff[...] = 0


class BGR2HSVLayer(_ColourLayer):
    """Hue, saturation and value, each 0 to 1."""

    def convert(self, pixels):
        """(H, W, 3) of BGR from 0 to 1."""
        hue, saturation, value = to_hsv(pixels)
        return np.stack([hue / HALF_TURN, saturation, value], axis=2)


class BGR2LabLayer(_ColourLayer):
    """CIE L*a*b* of sRGB: L 0 to 100, a and b about -110 to 110."""

    def convert(self, pixels):
        """(H, W, 3) of BGR from 0 to 1."""
        rgb = pixels[:, :, ::-1]
        light = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
        xyz = light @ _TO_XYZ.T / _WHITE
        x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), 2, 0)
        return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=2)


class ColorGlobalDropoutLayer(caffe.Layer):
    """(N, C, 1, 1) and whether it is known, (N, C + 1, 1, 1): an item and its mark 1, or zeros.

    param_str: the share of items that are kept, drawn in each run in both phases.
    """

    def setup(self, bottom, top):
        """SchemaFault for a param_str that is no share."""
        try:
            self.kept = float(self.param_str.split()[0])
        except (ValueError, IndexError):
            self.kept = -1.0
        if not 0 <= self.kept <= 1:
            raise SchemaFault(f'param_str "{self.param_str}": give the share of items that are kept, 0 to 1')
        self.rng = np.random.default_rng(np.random.randint(2**31))

    def reshape(self, bottom, top):
        """One channel more.  ShapeFault unless the bottom has four axes."""
        if len(bottom[0].data.shape) != 4:
            raise ShapeFault(f"the bottom has shape {bottom[0].data.shape}: (N, C, 1, 1) is needed")
        images, channels, *sides = bottom[0].data.shape
        top[0].reshape(images, channels + 1, *sides)

    def forward(self, bottom, top):
        """Draw, and keep what is drawn."""
        self.mask = (self.rng.random(len(bottom[0].data)) < self.kept).reshape(-1, 1, 1, 1)
        top[0].data[:, -1:] = self.mask
        top[0].data[:, :-1] = bottom[0].data * self.mask

    def backward(self, top, propagate_down, bottom):
        """The gradient of what was kept."""
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff[:, :-1] * self.mask


class NNEncLayer(caffe.Layer):
    """Which of 313 colours is nearest: of a and b, (N, 2, H, W), a 1 among zeros, (N, 313, H, W).  No gradient.

    The colours are in data/color_bins/pts_in_hull.npy of the folder that the program runs in, (313, 2), as its authors
    have it; of equally near ones the first is taken.
    """

    def setup(self, bottom, top):
        """ShapeFault unless there is one bottom of two channels."""
        if len(bottom) != 1 or len(bottom[0].data.shape) != 4 or bottom[0].data.shape[1] != 2:
            raise ShapeFault(f"bottoms of shapes {[b.data.shape for b in bottom]}: one (N, 2, H, W) is needed")
        self.colours = None

    def reshape(self, bottom, top):
        """313 channels; the file is not needed yet."""
        images, _, *sides = bottom[0].data.shape
        top[0].reshape(images, COLOURS, *sides)

    def forward(self, bottom, top):
        """DataFault where the file is missing, or holds other than 313 pairs."""
        if self.colours is None:
            self.colours = _read_colours()
        for image, encoded in zip(bottom[0].data, top[0].data, strict=True):
            pixels = image.reshape(2, -1)
            apart = (self.colours**2).sum(axis=1)[:, None] - 2 * self.colours @ pixels  # without the pixels' squares
            encoded[...] = (np.arange(COLOURS)[:, None] == apart.argmin(axis=0)).reshape(encoded.shape)

    def backward(self, top, propagate_down, bottom):
        """Zeros."""
        if propagate_down[0]:
            bottom[0].diff[...] = 0


def _read_colours() -> np.ndarray:
    if not os.path.isfile(COLOUR_FILE):
        raise DataFault(f"{COLOUR_FILE} is not in {os.getcwd()}: put the file of the net's authors there")
    colours = read_npy(COLOUR_FILE)
    if colours.shape != (COLOURS, 2):
        raise DataFault(f"{COLOUR_FILE} has shape {colours.shape}: {COLOURS} pairs (a, b) are needed")
    return colours
