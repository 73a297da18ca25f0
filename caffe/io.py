"""Images and messages to arrays and back, as pycaffe has them: images (H, W, C) float32 RGB from 0 to 1, blobs
(C, H, W)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from caffe.files import require_file
from caffe.proto import caffe_pb2
from demitasse.layers.data.images import decode_image, read_image
from demitasse.proto import arrays
from demitasse.proto.errors import DataFault, GraphFault, NetError, ShapeFault, WeightsFault, did_you_mean
from demitasse.proto.warning import warn

# -- messages ----------------------------------------------------------------------------------------


class BlobFault(WeightsFault, ValueError):
    """A BlobProto whose numbers do not fill its shape."""


class ImageFault(DataFault, OSError):
    """An image that cannot be read; scripts catch it as IOError."""


def blobproto_to_array(blob, return_diff: bool = False) -> np.ndarray:
    """The data of a BlobProto, or its diff; BlobFault (a ValueError) where they do not fill its shape."""
    if return_diff:
        swapped = caffe_pb2.BlobProto()
        swapped.CopyFrom(blob)
        swapped.ClearField("double_data")
        swapped.data[:] = blob.diff or blob.double_diff
        swapped.raw_data, swapped.raw_data_type = blob.raw_diff, blob.raw_diff_type
        blob = swapped
    try:
        array = arrays.blobproto_to_array(blob)
    except WeightsFault as fault:
        raise BlobFault(fault.what) from None
    legacy = any(map(blob.HasField, ("num", "channels", "height", "width")))
    if not (legacy or blob.HasField("shape") or array.size == 1):
        raise BlobFault(
            f"a BlobProto with {array.size:,} values has no shape: give it one, "
            "blob.shape.dim.extend((channels, height, width))"
        )
    return array if legacy or blob.HasField("shape") else array.reshape(())


def array_to_blobproto(arr, diff=None):
    """A BlobProto of the array's shape with its values as float32, and their gradient if one is given."""
    return arrays.array_to_blobproto(np.asarray(arr), None if diff is None else np.asarray(diff))


def arraylist_to_blobprotovector_str(arraylist: Iterable[np.ndarray]) -> bytes:
    """Arrays of any shapes as the bytes of a BlobProtoVector."""
    return caffe_pb2.BlobProtoVector(blobs=map(array_to_blobproto, arraylist)).SerializeToString()


def blobprotovector_str_to_arraylist(data: bytes) -> list[np.ndarray]:
    """The arrays, float32 and in their own shapes, in the bytes of a BlobProtoVector."""
    return [blobproto_to_array(blob) for blob in caffe_pb2.BlobProtoVector.FromString(data).blobs]


def array_to_datum(arr, label: int | None = None):
    """A Datum of an array (C, H, W): bytes for uint8, floats for all else.  DataFault for other axes."""
    return arrays.array_to_datum(arr, label)


def datum_to_array(datum) -> np.ndarray:
    """The values of a Datum, (C, H, W): uint8 of bytes, else float32."""
    return arrays.datum_to_array(datum)


# -- images ------------------------------------------------------------------------------------------


GREY = np.array([0.2125, 0.7154, 0.0721], np.float32)  # of red, green and blue, as scikit-image weighs them


def load_image(filename, color: bool = True) -> np.ndarray:
    """An image file as (H, W, 3) float32 RGB from 0 to 1, or (H, W, 1) grey where not `color`; alpha is dropped.

    filename: a path, or a file open for reading bytes.  ImageFault (an IOError) where it is none.
    """
    try:
        if hasattr(filename, "read"):
            data = filename.read()
            if not isinstance(data, bytes):
                raise DataFault("an image is read from a file opened in binary mode: open(path, 'rb')")
            pixels = decode_image(data, True, f"image '{getattr(filename, 'name', 'in memory')}'")
        else:
            path = require_file(filename)
            pixels = read_image(path, True, f"image '{path}'")
    except NetError as fault:
        raise ImageFault(fault.what) from None
    pixels = pixels[:, :, ::-1].astype(np.float32) / 255
    return pixels if color else pixels @ GREY[:, None]


def resize_image(im, new_dims: Sequence[int], interp_order: int = 1) -> np.ndarray:
    """An image (H, W, C) at the size new_dims (height, width), by a spline of that order; pixel centres stay
    where they are, and nothing is averaged when shrinking.  ShapeFault for other axes, TypeError for a path."""
    from scipy import ndimage

    if isinstance(im, (str, os.PathLike)):
        raise TypeError(f"an image is an array, not a path: caffe.io.load_image({str(im)!r}) reads one")
    im = np.asarray(im, np.float32)
    if im.ndim != 3:
        raise ShapeFault(f"an image is (height, width, channels), not {im.shape}")
    if len(new_dims) < 2 or min(new_dims[:2]) < 1:
        raise ShapeFault(f"an image is resized to (height, width), each from 1, not {tuple(new_dims)}")
    zoom = (new_dims[0] / im.shape[0], new_dims[1] / im.shape[1], 1)
    return ndimage.zoom(im, zoom, order=interp_order, mode="nearest", grid_mode=True)


def require_images(images, call: str) -> None:
    """ShapeFault where one image is given in place of a list; `call` shows how a list is."""
    if isinstance(images, (str, os.PathLike)):
        raise TypeError(f"images are arrays, not a path: caffe.io.load_image({str(images)!r}) reads one")
    if isinstance(images, np.ndarray) and images.ndim == 3:
        raise ShapeFault(f"this is one image of shape {images.shape}, but a list is taken: {call}")
    if not len(images):
        raise ShapeFault(f"there is no image in the list: {call}")


def warn_of_range(images, raw_scale: float | None) -> None:
    """A warning where images from 0 to 255 meet a raw_scale that is for images from 0 to 1."""
    largest = max((float(np.max(image)) for image in images if np.size(image)), default=0.0)
    if raw_scale is not None and raw_scale * largest > 1000:  # 255 is what images reach
        warn(
            f"raw_scale {raw_scale:g} is for images from 0 to 1, as caffe.io.load_image gives them, but these reach "
            f"{largest:g}: divide them by 255, or leave raw_scale out"
        )


def oversample(images: Sequence[np.ndarray], crop_dims: Sequence[int]) -> np.ndarray:
    """(10 N, h, w, C): of each image the four corners and the centre, then their mirror images.  crop_dims: (h, w) in
    pixels.

    ShapeFault where crops are larger than an image.
    """
    height, width = (int(size) for size in crop_dims)
    crops = []
    for image in images:
        rows, cols = image.shape[:2]
        if rows < height or cols < width:
            raise ShapeFault(f"crops of {height}x{width} do not fit into an image of {rows}x{cols}")
        corners = [(y, x) for y in (0, rows - height) for x in (0, cols - width)]
        # As in Caffe: a centre between two pixels goes to the earlier one.
        corners.append(((rows - height) // 2, (cols - width) // 2))
        five = [image[y : y + height, x : x + width] for y, x in corners]
        crops += five + [crop[:, ::-1] for crop in five]
    return np.array(crops, np.float32)


class Transformer:
    """What is done to images before they go into a net, for each of its inputs.

    inputs: {input: its shape}, as {"data": net.blobs["data"].data.shape}.
    The order: resize, set_transpose, set_channel_swap, set_raw_scale, set_mean, set_input_scale.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]):
        self.inputs = dict(inputs)
        self.transpose, self.channel_swap, self.raw_scale = {}, {}, {}
        self.mean, self.input_scale = {}, {}

    def preprocess(self, in_: str, data) -> np.ndarray:
        """An image (H, W, C) as the input wants it: float32, (C, H, W) once set_transpose was called.

        GraphFault where the net has no such input, TypeError for a path.
        """
        self._check_input(in_)
        if isinstance(data, (str, os.PathLike)):
            raise TypeError(f"an array is expected, not a path: caffe.io.load_image({str(data)!r}) reads one")
        array = np.asarray(data, np.float32)
        warn_of_range([array], self.raw_scale.get(in_))
        size = tuple(self.inputs[in_][2:])
        if array.shape[:2] != size:
            array = resize_image(array, size)
        if in_ in self.transpose:
            array = array.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            array = array[self.channel_swap[in_], :, :]
        array = array * np.float32(self.raw_scale.get(in_, 1))
        if in_ in self.mean:
            array = array - self.mean[in_]
        return array * np.float32(self.input_scale.get(in_, 1))

    def deprocess(self, in_: str, data) -> np.ndarray:
        """The image, float32, of an input's array (C, H, W) or (1, C, H, W): preprocess the other way round, but not
        the size."""
        self._check_input(in_)
        array = np.array(data, np.float32).squeeze()
        array = array / np.float32(self.input_scale.get(in_, 1))
        if in_ in self.mean:
            array = array + self.mean[in_]
        array = array / np.float32(self.raw_scale.get(in_, 1))
        if in_ in self.channel_swap:
            array = array[np.argsort(self.channel_swap[in_]), :, :]
        if in_ in self.transpose:
            array = array.transpose(np.argsort(self.transpose[in_]))
        return array

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """The order of the image's axes: (2, 0, 1) for (H, W, C) to (C, H, W).  ShapeFault for no order of them."""
        self._check_input(in_)
        if sorted(order) != list(range(len(self.inputs[in_]) - 1)):
            raise ShapeFault(f"transpose needs {len(self.inputs[in_]) - 1} axes for '{in_}', not {tuple(order)}")
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """The order of channels: (2, 1, 0) for RGB to BGR.  ShapeFault for no order of the input's."""
        self._check_input(in_)
        if sorted(order) != list(range(self.inputs[in_][1])):
            raise ShapeFault(
                f"channel_swap needs an index for each of the {self.inputs[in_][1]} channels of '{in_}', "
                f"not {tuple(order)}"
            )
        self.channel_swap[in_] = list(order)

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """A factor before the mean is taken off: 255 for images from 0 to 1 and a net of 0 to 255."""
        self._check_input(in_)
        self.raw_scale[in_] = float(scale)

    def set_mean(self, in_: str, mean) -> None:
        """What is taken off: one number for each channel, or an array (C, H, W), resized to the input's size.

        Channels are in the net's order, values as set_raw_scale leaves the image's.  ShapeFault where it does not fit.
        """
        self._check_input(in_)
        if isinstance(mean, (str, os.PathLike)):
            raise TypeError(f"a mean is an array, not a path: np.load({str(mean)!r}) reads a .npy file")
        mean, shape = np.asarray(mean, np.float32), tuple(self.inputs[in_])
        if mean.ndim == 1:
            mean = mean[:, None, None]
        elif mean.ndim == 2:
            mean = mean[None]
        elif mean.ndim == 4 and len(mean) == 1:  # as blobproto_to_array gives the mean of a .binaryproto
            mean = mean[0]
        if mean.ndim != 3 or len(mean) not in (1, shape[1]):
            raise ShapeFault(
                f"a mean of shape {mean.shape} does not fit input '{in_}' of shape {shape}: give one "
                "number for each channel, or an array (channels, height, width)"
            )
        if mean.shape[1:] not in ((1, 1), shape[2:]):
            mean = resize_image(mean.transpose(1, 2, 0), shape[2:]).transpose(2, 0, 1)
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """A factor after the mean is taken off, as 0.017 of MobileNets."""
        self._check_input(in_)
        self.input_scale[in_] = scale

    def _check_input(self, in_: str) -> None:
        if in_ not in self.inputs:
            raise GraphFault(
                f"the transformer has no input '{in_}'{did_you_mean(in_, self.inputs)}: it has {', '.join(self.inputs)}"
            )
