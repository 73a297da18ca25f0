"""caffe.Classifier: class probabilities of images, each resized and cut ten ways."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe import io
from caffe.net import Net
from demitasse.layers.layer import TEST
from demitasse.proto.errors import ShapeFault


def make_transformer(net: Net, mean, input_scale, raw_scale, channel_swap) -> io.Transformer:
    """From images (H, W, C) to the net's first input.

    mean: (C,), (C, H, W) or None; input_scale and raw_scale: factors behind and before the mean, or None; channel_swap:
    the image's channels in the net's order, as (2, 1, 0), or None.
    """
    name = net.inputs[0]
    transformer = io.Transformer({name: net.blobs[name].shape})
    transformer.set_transpose(name, (2, 0, 1))
    for given, set_it in (
        (mean, transformer.set_mean),
        (input_scale, transformer.set_input_scale),
        (raw_scale, transformer.set_raw_scale),
        (channel_swap, transformer.set_channel_swap),
    ):
        if given is not None:
            set_it(name, given)
    return transformer


class Classifier(Net):
    """A net in the TEST phase that classifies images.

    image_dims: (height, width) that images are resized to before they are cut; None: the net's own.
    mean, input_scale, raw_scale, channel_swap: as in io.Transformer.
    """

    def __init__(
        self,
        model_file,
        pretrained_file,
        image_dims=None,
        mean=None,
        input_scale=None,
        raw_scale=None,
        channel_swap=None,
    ):
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = make_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else np.array(image_dims)
        if self.image_dims.shape != (2,) or (self.image_dims < self.crop_dims).any():
            raise ShapeFault(
                f"image_dims is {image_dims}, but crops of {'x'.join(map(str, self.crop_dims))}, the size of input "
                f"'{self.inputs[0]}', are cut out: give (height, width), at least as large"
            )

    def predict(self, inputs: Sequence[np.ndarray], oversample: bool = True) -> np.ndarray:
        """The net's first output for images (H, W, C) from 0 to 1.

        oversample: the mean over four corners, the centre and their mirror images, (N, numbers); else that of the
        centre alone, in the shape that the net gives it.
        """
        io.require_images(inputs, "predict([image, ...])")
        io.warn_of_range(inputs, self.transformer.raw_scale.get(self.inputs[0]))
        images = [io.resize_image(image, self.image_dims) for image in inputs]
        if oversample:
            crops = io.oversample(images, self.crop_dims)
        else:
            (top, left), (height, width) = (self.image_dims - self.crop_dims) // 2, self.crop_dims
            crops = [image[top : top + height, left : left + width] for image in images]
        name = self.inputs[0]
        batch = np.array([self.transformer.preprocess(name, crop) for crop in crops])
        scores = self.forward_all(**{name: batch})[self.outputs[0]]
        return scores.reshape(len(images), len(crops) // len(images), -1).mean(axis=1) if oversample else scores
