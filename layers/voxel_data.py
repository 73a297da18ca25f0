"""VideoSegmentationData, VideoWithVoxelTruthData (C3D): clips with labels, or other numbers, for each of their voxels.

Tops: clips (N, C, L, H, W), and what each voxel is, (N, K, L, H, W).  `image_data_param { source }` lists files, a line
each, of five 32-bit numbers, 1, C + K, L, H and W, and so many values: 8-bit numbers in VideoSegmentationData, where K
is 1, and with use_byte_input; else floats.  K is num_truth_channels.  What voxels are is multiplied by truth_scale, or
brought from clip_min ... clip_max to 0 ... 1; where it is a flow (is_flow) a mirrored clip's changes the sign of its x.

A net is sized from crop_size without the files being there, as of clips of 3 channels and 16 frames, C3D's.
Source: the prototxts of C3D, and its tools' files of features.
"""

from __future__ import annotations

import numpy as np

from demitasse.layers.data.feed import FeedLayer, Source
from demitasse.layers.data.files import read_file
from demitasse.layers.data.listing import read_lines
from demitasse.layers.data.transform import Transformer
from demitasse.proto.errors import DataFault, SchemaFault, ShapeFault
from demitasse.proto.input_paths import located
from demitasse.proto.warning import warn
from demitasse.proto.weights import read_blob

FIELD = "image_data_param: source"
HEADER = 20  # bytes of the five numbers
CLIP = (3, 16)  # channels and frames of C3D's clips


class VoxelFiles(Source):
    """The clips of listed files, cut and mirrored with what their voxels are."""

    def __init__(self, spec, train: bool, bytes_only: bool):
        super().__init__()
        self.fields, transform = spec.image_data_param, spec.transform_param
        self.names = [name for _, name in read_lines(self.fields.source, FIELD, "a file of a clip")]
        self.transform = Transformer.from_fields(transform, train)
        self.scale, self.kind = np.float32(transform.scale), "u1" if bytes_only or self.fields.use_byte_input else "<f4"
        self.truths = 1 if bytes_only else self.fields.num_truth_channels
        self.mean = np.float32(self.fields.mean_value)
        if transform.mean_file:
            self.mean = read_blob(transform.mean_file)
            self.mean = self.mean[0] if self.mean.ndim == 5 else self.mean
        self.count, self.draws = len(self.names), self.transform.random
        self.shuffles = "shuffle: true" * self.fields.shuffle

    def find(self, index):
        return self.names[self.shuffled(index) if self.fields.shuffle else index % self.count]

    def data_origin(self):
        return self.names

    def load(self, name, rng):
        path = located(name, self.folder)
        where = f"clip '{path}'"
        voxels = read_voxels(path, where, self.kind)
        clip, truth = voxels[: -self.truths], voxels[-self.truths :]
        if not len(clip):
            raise ShapeFault(
                f"{where} has {len(voxels)} channels: more than num_truth_channels {self.truths} are needed"
            )
        if self.mean.ndim and self.mean.shape != clip.shape:
            raise ShapeFault(f"{where} is {clip.shape} (channels, frames, height, width), its mean {self.mean.shape}")
        window = self.transform.window(*voxels.shape[2:], rng, where)
        clip = window.cut((clip - self.mean) * self.scale)
        return [clip, self._truth(window.cut(truth), window.mirror)], where

    def _truth(self, truth, mirrored: bool):
        fields = self.fields
        if mirrored and fields.is_flow:
            truth = np.concatenate([-truth[:1], truth[1:]])
        if fields.HasField("clip_min"):
            return ((truth - fields.clip_min) / (fields.clip_max - fields.clip_min)).clip(0, 1)
        return truth * np.float32(fields.truth_scale)


def read_voxels(path: str, where: str, kind: str) -> np.ndarray:
    """The float32 array (channels, frames, height, width) of a file; kind: NumPy's word for its numbers.

    DataFault where it is no such file.
    """
    data = read_file(path, where)
    sizes = [int(size) for size in np.frombuffer(data[:HEADER], "<i4")]
    count = (len(data) - HEADER) // np.dtype(kind).itemsize
    if len(sizes) < 5 or min(sizes) < 1 or sizes[0] != 1 or int(np.prod(sizes, dtype=object)) != count:
        raise DataFault(
            f"{where}: not 1, channels, frames, height, width and as many numbers of type {kind}: it says {sizes}, and "
            f"{count} numbers follow"
        )
    return np.frombuffer(data, kind, count, HEADER).reshape(sizes[1:]).astype(np.float32)


class VideoWithVoxelTruthData(FeedLayer):
    """Tops: clips, and num_truth_channels floats for each voxel."""

    type = "VideoWithVoxelTruthData"
    fields = ("image_data_param", "transform_param", "data_param")
    tops = (2, 2)
    bytes_only = False

    def setup(self, shapes):
        fields = self.spec.image_data_param
        self.truths = 1 if self.bytes_only else fields.num_truth_channels
        if self.truths < 1:
            raise SchemaFault("num_truth_channels says how many numbers each voxel has: at least 1")
        if fields.HasField("clip_min") and fields.clip_max <= fields.clip_min:
            raise SchemaFault(f"clip_max {fields.clip_max:g} must be above clip_min {fields.clip_min:g}")
        return super().setup(shapes)

    def told_shapes(self):
        fields = self.spec.image_data_param
        sizes = Transformer.from_fields(self.spec.transform_param, self.train).sizes
        if not sizes:
            return None
        warn(f"{FIELD}: its clips are taken as of {CLIP[0]} channels and {CLIP[1]} frames, as the net is only sized")
        return [(fields.batch_size, channels, CLIP[1], *sizes) for channels in (CLIP[0], self.truths)]

    def open(self):
        fields = self.spec.image_data_param
        return VoxelFiles(self.spec, self.train, self.bytes_only), fields.batch_size, fields.rand_skip


class VideoSegmentationData(VideoWithVoxelTruthData):
    """Tops: clips, and a label for each voxel."""

    type = "VideoSegmentationData"
    fields = ("image_data_param", "transform_param", "data_param")
    bytes_only = True
