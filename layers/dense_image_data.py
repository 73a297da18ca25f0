"""DenseImageData (SegNet): images with a label image each, named in a text file, a line for both.

The label image goes through the same crop and mirror as its image, and is resized by nearest neighbour; it is read
as class indices, so a palette PNG (PASCAL VOC's form) gives its indices, where the fork read its colours' grey.  With
`label_divide_factor` (ENet) the labels are then taken from every so-manieth row and column.

Source: the prototxts and lists of SegNet.
"""

from __future__ import annotations

from demitasse.layers.data.feed import FeedLayer
from demitasse.layers.data.images import read_image, read_labels, resize, resize_nearest
from demitasse.layers.data.listing import ListedSource, read_pairs, told_image_shape
from demitasse.layers.data.transform import Transformer
from demitasse.proto.errors import SchemaFault, ShapeFault


class ImagePairs(ListedSource):
    """Images and their label images."""

    def load(self, record, rng):
        where = self.where("image", record.name, record)
        label_where = self.where("label image", record.label, record)
        image = read_image(self.path(record.name), self.color, where)
        labels = read_labels(self.path(record.label), label_where)
        if self.size:
            image, labels = resize(image, *self.size), resize_nearest(labels, *self.size)
        if image.shape[:2] != labels.shape:
            raise ShapeFault(
                f"{label_where} is {labels.shape[0]} x {labels.shape[1]} but its image is "
                f"{image.shape[0]} x {image.shape[1]} (height x width); they must agree, "
                "or give new_height and new_width"
            )
        window, every = self.transform.window(*labels.shape, rng, where), self.fields.label_divide_factor
        labels = window.cut(labels[None])[:, ::every, ::every]
        return [self.transform.apply(image.transpose(2, 0, 1), window, where), labels], where


class DenseImageData(FeedLayer):
    """Tops: images (N, C, H, W) and labels (N, 1, H, W)."""

    type = "DenseImageData"
    tops = (2, 2)

    def told_shapes(self):
        fields = self.spec.dense_image_data_param
        shape = told_image_shape(fields, self.spec.transform_param, self.train)
        every = max(fields.label_divide_factor, 1)
        return [shape, (shape[0], 1, *(-(-n // every) for n in shape[2:]))] if shape else None

    def open(self):
        fields = self.spec.dense_image_data_param
        transform = Transformer(self.spec.transform_param, self.train, others=())
        if fields.mean_file:
            raise SchemaFault("dense_image_data_param: mean_file is read by none; give it in transform_param")
        if not fields.label_divide_factor:
            raise SchemaFault("dense_image_data_param: label_divide_factor is at least 1")
        entries = read_pairs(fields.source, "dense_image_data_param: source")
        return ImagePairs(fields, "dense_image_data_param", entries, transform), fields.batch_size, fields.rand_skip
