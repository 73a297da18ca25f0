"""VideoData (C3D, video-caffe, temporal segment networks): clips of films whose frames are image files.

Clips (C3D, video-caffe): lines "folder start label", tops (N, C, new_length, H, W) and labels (N,); sampling_rate 2
takes every other frame; with use_temporal_jitter a clip begins anywhere from `start` on, in TRAIN.
Segments (any of num_segments, modality and name_pattern is set): lines "folder frames label"; each of num_segments
equal parts of a film gives new_length frames, from its middle in TEST, from anywhere in it in TRAIN; the top is
(N, all their channels, H, W).  Frames count from 1.
All frames of a sample are cropped (multi_scale and fix_crop: data/corner_crops.py) and mirrored alike; a flow's x
changes its sign with that (transform_param is_flow).

A net is sized from new_height and crop_size without the data being there.  Film files are not decoded: cut them into
frames (ffmpeg -i film.avi film/%06d.jpg).

Source: the prototxts and lists of C3D (Tran et al., 2015) and temporal segment networks (Wang et al., 2016).
"""

from __future__ import annotations

import os

import numpy as np

from demitasse.layers.data.corner_crops import CornerCrops
from demitasse.layers.data.feed import FeedLayer
from demitasse.layers.data.images import read_image, resize
from demitasse.layers.data.listing import Entry, ListedSource, read_lines
from demitasse.layers.data.transform import OF_VIDEO, Transformer
from demitasse.proto.errors import DataFault, SchemaFault
from demitasse.proto.messages import VideoDataParameter

FRAME_NAMES = ("%06d.jpg", "image_%04d.jpg", "img_%05d.jpg")  # C3D's, video-caffe's, temporal segments'
FLOW_NAME = "flow_%c_%05d.jpg"
FIELD = "video_data_param: source"


class Films(ListedSource):
    """Clips, or segments, of the films that a text file lists."""

    kind = "film"

    def __init__(self, fields, entries, transform_param, train: bool, segments: bool):
        transform = Transformer(transform_param, train, ("resize_param", *OF_VIDEO))
        super().__init__(fields, "video_data_param", entries, transform)
        self.segments, self.train, self.is_flow = segments, train, transform_param.is_flow
        self.crops = CornerCrops(transform_param) if train and CornerCrops.wanted(transform_param) else None
        self.flow = fields.modality == VideoDataParameter.FLOW
        self.draws = self.draws or (train and (segments or fields.use_temporal_jitter))

    def load(self, record, rng):
        (number, label), where = record.label, self.where("film", record.name, record)
        folder = self.path(record.name)
        if not os.path.isdir(folder):
            raise DataFault(f"{where} is no folder of frames; film files are not decoded: cut them into images")
        starts = self.starts(folder, number, rng, where)
        steps = range(0, self.fields.new_length * self.fields.sampling_rate, self.fields.sampling_rate)
        frames = [self.frame(folder, start + step, where) for start in starts for step in steps]
        if self.crops:
            frames = self.crops.cut(frames, rng, where)
        window = self.transform.window(*frames[0].shape[1:], rng, where)
        if self.segments:
            clip = self.transform.apply(np.concatenate(frames), window, where)
        else:
            clip = np.stack([self.transform.apply(frame, window, where) for frame in frames], axis=1)
        if window.mirror and self.is_flow:
            clip[::2] *= -1  # after the mean: a flow of 0 is at 128
        return [clip, np.float32(label)], where

    def starts(self, folder: str, number: int, rng, where: str) -> list[int]:
        """The first frames of the clips of a sample.  DataFault for fewer frames."""
        length = (self.fields.new_length - 1) * self.fields.sampling_rate + 1
        if not self.segments:
            if not (self.train and self.fields.use_temporal_jitter):
                return [number]
            return [number + int(rng.integers(max(1, len(os.listdir(folder)) - number - length + 2)))]
        part = number // self.fields.num_segments
        room = part - length
        if room < 0:
            raise DataFault(f"{where}: {number} frames are too few for {self.fields.num_segments} clips of {length}")
        offsets = (int(rng.integers(room + 1)) if self.train else room // 2 for _ in range(self.fields.num_segments))
        return [1 + i * part + offset for i, offset in enumerate(offsets)]

    def frame(self, folder: str, number: int, where: str) -> np.ndarray:
        """(C, H, W) of a frame."""
        if self.flow:
            name = self.fields.name_pattern or FLOW_NAME
            images = [self.image(folder, name.replace("%c", axis), number, False, where) for axis in "xy"]
            return np.concatenate(images)
        names = (name for name in FRAME_NAMES if os.path.exists(os.path.join(folder, name % number)))
        name = self.fields.name_pattern or next(names, FRAME_NAMES[0])
        return self.image(folder, name, number, self.color, where)

    def image(self, folder: str, name: str, number: int, color: bool, where: str) -> np.ndarray:
        """(C, H, W) of one image file of a frame.  SchemaFault for a pattern without a number."""
        try:
            path = os.path.join(folder, name % number)
        except (TypeError, ValueError):
            raise SchemaFault(f"name_pattern '{name}' takes a frame's number, as in img_%05d.jpg") from None
        image = read_image(path, color, f"frame {number} of {where}: '{path}'")
        return (resize(image, *self.size) if self.size else image).transpose(2, 0, 1)


class VideoData(FeedLayer):
    """Tops: clips (N, C, new_length, H, W), or segments (N, all channels, H, W), and if wanted labels (N,)."""

    type = "VideoData"
    fields = ("video_data_param", "transform_param", "data_param")
    tops = (1, 2)

    def setup(self, shapes):
        fields, crop = self.spec.video_data_param, self.spec.transform_param.crop_size
        self.segments = any(map(fields.HasField, ("num_segments", "modality", "name_pattern")))
        if not all((fields.new_length, fields.num_segments, fields.batch_size, fields.sampling_rate)):
            raise SchemaFault("new_length, num_segments, batch_size and sampling_rate must be at least 1")
        sizes = (crop, crop) if crop else (fields.new_height, fields.new_width)
        if not all(sizes):
            raise SchemaFault("the size of a frame is not known: give new_height and new_width, or crop_size")
        channels = 2 if fields.modality == VideoDataParameter.FLOW else 3 if fields.is_color else 1
        frames = (channels, fields.new_length)
        if self.segments:
            frames = (channels * fields.new_length * fields.num_segments,)
        self.shape = (fields.batch_size, *frames, *sizes)
        return super().setup(shapes)

    def told_shapes(self):
        return [self.shape, self.shape[:1]]

    def open(self):
        fields = self.spec.video_data_param
        films = Films(fields, read_films(fields.source), self.spec.transform_param, self.train, self.segments)
        return films, fields.batch_size, fields.rand_skip

    def infer(self, shapes):
        return [self.shape, self.shape[:1]][: len(self.spec.top)]

    def forward(self, xs):
        return super().forward(xs)[: len(self.spec.top)]


def read_films(source: str) -> list[Entry]:
    """Lines "folder number label"; each entry's label is (number, label).  DataFault for another line."""
    entries = []
    for line, text in read_lines(source, FIELD, "a film: its folder, its first frame (or how many), its label"):
        try:
            name, number, label = text.rsplit(None, 2)
            entries.append(Entry(name, (int(number), int(label)), line))
        except ValueError:
            raise DataFault(
                f"{source}:{line}: '{text}' is not a folder and two whole numbers, as in a/film 1 7"
            ) from None
    return entries
