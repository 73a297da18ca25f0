"""TransformationParameter: resize, crop, mirror, subtract the mean, scale; in Caffe's order and float32 arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demitasse.layers.data.files import require_file
from demitasse.layers.data.resampling import Resizer
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from demitasse.proto.weights import read_mean

# Fields that not all layers with a transform_param read.
OF_SOME_LAYERS = ("resize_param", "emit_constraint", "distort_param", "expand_param")
OF_SEGMENTATION = ("scale_factors",)
OF_NONE = ("mask_param",)
OF_VIDEO = ("multi_scale", "fix_crop", "more_fix_crop", "max_distort", "scale_ratios")


@dataclass(frozen=True)
class CropWindow:
    """The part of an image that is kept, and whether it is mirrored (left to right)."""

    top: int
    left: int
    height: int
    width: int
    mirror: bool

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The window of (..., H, W), as a view."""
        part = image[..., self.top : self.top + self.height, self.left : self.left + self.width]
        return part[..., ::-1] if self.mirror else part


class Transformer:
    """What a transform_param asks for, in a phase.

    Crops are random in TRAIN and central in TEST; `mirror: true` flips at random in both, as Caffe does.
    others: the fields that the layer reads itself; of those it does not read, SchemaFault.
    """

    def __init__(self, fields, train: bool, others: tuple[str, ...] = ("resize_param",)):
        if fields.force_color and fields.force_gray:
            raise SchemaFault("transform_param: force_color and force_gray exclude each other; keep one")
        if fields.HasField("mean_file") and len(fields.mean_value):
            raise SchemaFault("transform_param: mean_file and mean_value exclude each other; keep one")
        for field, _ in fields.ListFields():
            if field.name in OF_SOME_LAYERS + OF_SEGMENTATION + OF_VIDEO + OF_NONE and field.name not in others:
                raise SchemaFault(f"transform_param: this type of layer does not read {field.name}; remove it")
        if bool(fields.crop_h) != bool(fields.crop_w) or (fields.crop_h and fields.crop_size):
            raise SchemaFault(
                f"transform_param: crop_size {fields.crop_size}, crop_h {fields.crop_h}, crop_w {fields.crop_w}: "
                "give crop_size, or crop_h and crop_w"
            )
        self.crop, self.mirror, self.scale = fields.crop_size, fields.mirror, np.float32(fields.scale)
        self.crop_shape = (fields.crop_h or fields.crop_size, fields.crop_w or fields.crop_size)
        several = len(fields.resize_param) > 1
        if several and others != OF_SOME_LAYERS:
            raise SchemaFault("transform_param: several resize_param hold for AnnotatedData only; keep one")
        self.resizers = [Resizer(each, certain=several) for each in fields.resize_param]
        self.color = True if fields.force_color else False if fields.force_gray else None
        # Whether `resize` or `window` draws.
        self.random = bool(self.mirror or (train and self.crop_shape[0]) or any(each.random for each in self.resizers))
        self._random_crop = train
        crop = f"crop_size: {self.crop}" if train and self.crop else ""
        self.drawn = tuple(filter(None, (crop, "mirror: true" * self.mirror)))  # the settings that do
        self.mean_values = np.array(fields.mean_value, np.float32)
        self.mean_file, self.mean = fields.mean_file, None
        if self.mean_file:
            require_file(self.mean_file, "transform_param: mean_file")
            self.mean = read_mean(self.mean_file)

    @classmethod
    def from_fields(cls, fields, train: bool, others: tuple[str, ...] = ("resize_param",)) -> Transformer:
        """The same without its mean, whose file need not be there where nothing is loaded."""
        fields = type(fields).FromString(fields.SerializeToString())
        fields.ClearField("mean_file")
        return cls(fields, train, others)

    @property
    def sizes(self) -> tuple[int, int] | None:
        """(height, width) of all that comes out; None where that depends on the image."""
        if self.crop_shape[0]:
            return self.crop_shape
        return self.resizers[0].result if self.resizers else None

    def window(self, height: int, width: int, rng, where: str) -> CropWindow:
        """Where to cut an image of this size; rng (numpy Generator) is needed where `random`.

        ShapeFault where the crop is larger.
        """
        mirror = bool(self.mirror and rng.integers(2))
        rows, cols = self.crop_shape
        if not rows:
            return CropWindow(0, 0, height, width, mirror)
        if rows > height or cols > width:
            raise ShapeFault(
                f"{where}: crop_size {_by(self.crop_shape) if rows != cols else rows} exceeds the image's "
                f"{height} x {width} (height x width); crop less or resize the images"
            )
        down, right = height - rows, width - cols
        if self._random_crop:
            top, left = int(rng.integers(down + 1)), int(rng.integers(right + 1))
        else:
            top, left = down // 2, right // 2
        return CropWindow(top, left, rows, cols, mirror)

    def resize(self, image: np.ndarray, rng, where: str, turn: int = 0):
        """A (C, H, W) image as resize_param number `turn` asks for, and the box (x1, y1, x2, y2) that it fills, in
        shares of the new sides.  DataFault for an image of floats."""
        if not self.resizers:
            return image, (0.0, 0.0, 1.0, 1.0)
        if image.dtype != np.uint8:
            raise DataFault(f"{where}: resize_param is for images of 8 bits; store the records at the size they need")
        resized, filled = self.resizers[turn](image.transpose(1, 2, 0), rng)
        return resized.transpose(2, 0, 1), filled

    def apply(self, image: np.ndarray, window: CropWindow, where: str) -> np.ndarray:
        """(C, H, W) of any number type to the window's float32 pixels: (pixel - mean) * scale.

        ShapeFault where a mean image or the crop does not fit.
        """
        self.check_channels(len(image), where)
        part = window.cut(image).astype(np.float32)
        if self.mean is not None:
            if self.mean.shape != image.shape:
                raise ShapeFault(
                    f"{where}: the image is {_by(image.shape)} but the mean in {self.mean_file} is "
                    f"{_by(self.mean.shape)} (channels x height x width); resize the images to the mean's "
                    "size, or give mean_value"
                )
            part -= window.cut(self.mean)
        elif len(self.mean_values):
            part -= self.mean_values[:, None, None]
        if self.scale != 1:
            part *= self.scale
        return part

    def check_channels(self, channels: int, where: str) -> None:
        """ShapeFault unless there is one mean_value, or one per channel."""
        if len(self.mean_values) not in (0, 1, channels):
            raise ShapeFault(
                f"{where}: {len(self.mean_values)} mean_value for an image of {channels} channel(s); "
                f"give 1 or {channels}"
            )

    def __call__(self, image: np.ndarray, rng, where: str) -> np.ndarray:
        """A (C, H, W) image, resized, and cut at a window drawn for it."""
        image, _ = self.resize(image, rng, where)
        return self.apply(image, self.window(*image.shape[1:], rng, where), where)


def _by(shape) -> str:
    return " x ".join(str(n) for n in shape)
