"""Scenes as MS-CNN and Cascade R-CNN are trained on them: resized, zoomed at an object, on a canvas, with field maps.

A batch has one canvas, whose size its first image decides; where an image does not reach it is 0.  What is drawn for a
sample depends on the seed and its place in the stream alone.
"""

from __future__ import annotations

import math

import numpy as np

from demitasse.layers.data.augmentation import distort
from demitasse.layers.data.field_maps import Field, Objects, Rules, field_maps, nearest
from demitasse.layers.data.images import resize
from demitasse.layers.data.scene_geometry import mirrored, moved, place, zoomed
from demitasse.layers.data.scenes import CLASS, CORNERS, DIFFICULT, IGNORED, Scene, SceneImages

JITTER = 10  # pixels by which the canvas may miss what it looks at


class SceneSamples(SceneImages):
    """For training.  A subclass says the sizes, the zoom and the rules of a fork."""

    draws = True
    rules: Rules
    numbers = 8  # of a row of true boxes: image, corners, class, ignored and, of 8, difficult

    def __init__(self, fields, scenes, transform, map_fields: list[Field]):
        super().__init__(fields, scenes, transform)
        self.map_fields = map_fields
        self.drawn = ()

    def records(self, indices):
        """(scene, size to resize it to, canvas's size) for each sample."""
        scenes, ratio = (
            [self.find(index) for index in indices],
            self.ratio(np.random.default_rng((self.seed, indices[0], 1))),
        )
        canvas = self.canvas(scenes[0], ratio)
        return [(scene, self.resized(scene, ratio), canvas) for scene in scenes]

    def load(self, record, rng):
        scene, size, canvas = record
        image, mirror = self.image(scene), bool(self.transform.mirror and rng.integers(2))
        image = self.coloured(image, rng)
        corners, regions = scene.objects[:, CORNERS].astype(float), scene.regions.astype(float)
        factors = size[1] / image.shape[1], size[0] / image.shape[0]
        if mirror:
            image, (corners, regions) = image[:, ::-1], (mirrored(each, image.shape[1]) for each in (corners, regions))
        image = resize(image, *size)
        corners, regions = (moved(each, factors, (0, 0)) for each in (corners, regions))
        centre, chosen = self._centre(corners, size, canvas, rng)
        image, factors, shift = zoomed(image, centre, self.zoom(chosen, rng))
        ways = [(centre[i] + shift[i]) * factors[i] for i in (0, 1)]
        pieces = [place(image.shape[1 - i], canvas[1 - i], ways[i], int(rng.integers(-JITTER, JITTER))) for i in (0, 1)]
        corners, regions = (
            moved(
                each, factors, [s * f + to - start for s, f, (to, start, _) in zip(shift, factors, pieces, strict=True)]
            )
            for each in (corners, regions)
        )
        (left, x, width), (top, y, height) = pieces
        pixels = np.zeros((3, *canvas), np.float32)
        pixels[:, top : top + height, left : left + width] = self.normalised(image[y : y + height, x : x + width])
        ignored = (scene.objects[:, IGNORED] != 0) | self._too_little(corners, canvas)
        objects = Objects(corners, scene.objects[:, CLASS], ignored, regions)
        maps = field_maps(objects, self.map_fields, canvas, (left, top, width, height), self.rules)
        rows = [corners, objects.classes[:, None], ignored[:, None], scene.objects[:, DIFFICULT, None]]
        return [pixels, *maps, np.concatenate(rows, axis=1)[:, : self.numbers - 1]], self.where(scene)

    def stack(self, samples):
        tops = super().stack([(arrays[:-1], name) for arrays, name in samples])
        rows = [np.insert(arrays[-1], 0, i, axis=1) for i, (arrays, _) in enumerate(samples)]
        boxes = np.concatenate(rows).astype(np.float32) if any(map(len, rows)) else np.array([self.none], np.float32)
        return [*tops, boxes[:, :, None, None]]

    def ratio(self, rng) -> float:
        """By what the sizes of a batch are multiplied."""
        return 1.0

    def coloured(self, image, rng):
        """The image in other colours."""
        return image

    def resized(self, scene: Scene, ratio: float) -> tuple[int, int]:
        """(height, width) of an image before it is zoomed."""
        raise NotImplementedError

    def canvas(self, scene: Scene, ratio: float) -> tuple[int, int]:
        """(height, width) of a batch that begins with this scene."""
        raise NotImplementedError

    def zoom(self, chosen, rng) -> tuple[float, float]:
        """The factors, of width and height, of an image in which the object `chosen` (4,) is looked at, if any."""
        raise NotImplementedError

    def _centre(self, corners, size, canvas, rng):
        """What is looked at: (x, y), and the object (4,) that is there, or None."""
        if len(corners):
            chosen = corners[int(rng.integers(len(corners)))]
            return tuple((chosen[:2] + chosen[2:]) / 2), chosen
        spare = [own - wanted for own, wanted in zip(size, canvas, strict=True)]
        y, x = (
            own / 2 if left < 0 else int(rng.integers(left + 1)) + wanted / 2
            for own, wanted, left in zip(size, canvas, spare, strict=True)
        )
        return (x, y), None

    def _too_little(self, corners, canvas) -> np.ndarray:
        """Which boxes (G,) have their middle outside, or are smaller than min_gt_width and min_gt_height."""
        middle, sides = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2] + 1
        least = self.fields.min_gt_width, self.fields.min_gt_height
        return ((middle < 0) | (middle >= canvas[::-1])).any(1) | (sides < least).any(1)


class DetectionScenes(SceneSamples):
    """As a DetectionDataParameter says."""

    none = (-1.0,) * 8

    def __init__(self, fields, scenes, transform, map_fields):
        super().__init__(fields, scenes, transform, map_fields)
        optional = [
            getattr(fields, name) if fields.HasField(name) else None
            for name in ("anchor_ignore_margin_ratio", "anchor_ignore_iou_thr")
        ]
        self.rules = Rules(
            fields.fg_threshold, fields.pickup_iou_thr, fields.ignore_fg_threshold, 1.0, False, *optional
        )
        self.in_order = not fields.HasField("shuffle")
        self.shuffles = "" if self.in_order else f'shuffle: "{fields.shuffle}"'
        tall = np.array([scene.height >= scene.width for scene in scenes])
        self.groups = [np.nonzero(tall)[0], np.nonzero(~tall)[0]]

    def find(self, index: int) -> Scene:
        return self.scenes[index % self.count if self.in_order else self.shuffled(index)]

    def order(self, epoch: int, count: int) -> np.ndarray:
        """(count,): any order; or upright images together and wide ones together; or both in turns of
        mix_group_size."""
        if self.fields.shuffle == "random":
            return super().order(epoch, count)
        rng = np.random.default_rng((self.seed, epoch, count))
        groups = [rng.permutation(group) for group in self.groups][:: 1 if rng.integers(2) else -1]
        turn, mixed = 0, []
        while self.fields.shuffle == "random_mix_aspect" and all(map(len, groups)):
            size = self.fields.mix_group_size
            mixed.append(groups[turn][:size])
            groups[turn], turn = groups[turn][size:], 1 - turn
        return np.concatenate([*mixed, *groups])

    def ratio(self, rng):
        ratios = self.fields.template_ratio
        return ratios[int(rng.integers(len(ratios)))] if ratios else 1.0

    def coloured(self, image, rng):
        return distort(image, self.fields.distort_param, rng) if self.fields.HasField("distort_param") else image

    def resized(self, scene, ratio):
        fields, size = self.fields, (scene.height, scene.width)
        if fields.resize_width and fields.resize_height:
            return fields.resize_height, fields.resize_width
        if fields.resize_ratio:
            return tuple(nearest(side * fields.resize_ratio) for side in size)
        if fields.short_size and fields.long_size:
            return tuple(nearest(side * _by_32(fields.short_size * ratio) / min(size)) for side in size)
        return size

    def canvas(self, scene, ratio):
        fields = self.fields
        if fields.crop_width and fields.crop_height:
            return fields.crop_height, fields.crop_width
        sides = fields.crop_short_size, fields.crop_long_size
        if not all(sides) and fields.short_size and fields.long_size:
            sides = _by_32(fields.short_size * ratio), _by_32(fields.long_size * ratio)
        height, width = self.resized(scene, ratio)
        return (sides[::-1] if height >= width else sides) if all(sides) else (height, width)

    def zoom(self, chosen, rng):
        fields = self.fields
        limits = fields.low_scale_ratio, fields.high_scale_ratio
        if fields.min_scale and fields.max_scale:
            scale = 1.0 if chosen is None else math.sqrt(math.prod(chosen[2:] - chosen[:2] + 1))
            limits = (2.0, 2.0) if chosen is None else (fields.min_scale / scale, fields.max_scale / scale)
        if not all(limits) or rng.random() >= fields.multiscale_prob:
            return 1.0, 1.0
        factor, stretch = 2 ** rng.uniform(*np.log2(limits)), 1.0
        if fields.min_whaspect and fields.max_whaspect:
            stretch = 2 ** (rng.uniform(*np.log2((fields.min_whaspect, fields.max_whaspect))) / 2)
        return factor * stretch, factor / stretch


class ImageGtScenes(SceneSamples):
    """As an ImageGtDataParameter says."""

    numbers = 7
    none = 0.0, 1.0, 1.0, 2.0, 2.0, 1.0, 1.0  # an ignored box

    def __init__(self, fields, scenes, transform, map_fields):
        scenes = [scene for scene in scenes for _ in range(fields.fg_img_multiple if _has_objects(scene) else 1)]
        super().__init__(fields, scenes, transform, map_fields)
        self.rules = Rules(fields.fg_threshold, 0.2, 0.4, 0.0, True)
        self.scale = np.float32(fields.scale)  # the fork reads this one, and not transform_param's
        self.shuffles = "shuffle: true" * fields.shuffle

    def find(self, index):
        return self.scenes[self.shuffled(index) if self.fields.shuffle else index % self.count]

    def resized(self, scene, ratio):
        both = self.fields.resize_width and self.fields.resize_height
        return (self.fields.resize_height, self.fields.resize_width) if both else (scene.height, scene.width)

    def canvas(self, scene, ratio):
        height, width = self.resized(scene, ratio)
        return self.fields.crop_height or height, self.fields.crop_width or width

    def zoom(self, chosen, rng):
        fields = self.fields
        zooms = fields.do_multiple_scale and fields.min_scale and fields.max_scale
        if not zooms or chosen is None or not rng.integers(2):
            return 1.0, 1.0
        width, height = np.maximum(chosen[2:] - chosen[:2], 1)
        octaves = np.arange(nearest(2 * math.log2(fields.max_scale / fields.min_scale) + 1)) / 2
        own = np.abs(np.log2(width * height / (fields.min_scale * 2**octaves) ** 2)).argmin()
        factors = [2 ** (octaves[int(rng.integers(len(octaves)))] - octaves[own])] * 2
        if fields.min_whaspect and fields.max_whaspect and rng.integers(2):
            steps = max(1, nearest((fields.max_whaspect - fields.min_whaspect) / 0.05))
            stretch = (int(rng.integers(steps)) * 0.05 + fields.min_whaspect) / (width / height)
            side, by = ((0, width), stretch) if rng.integers(2) else ((1, height), 1 / stretch)
            if 0.8 * fields.min_scale <= side[1] * factors[side[0]] * by <= 1.2 * fields.max_scale:
                factors[side[0]] *= by
        return tuple(factors)


def _by_32(side: float) -> int:
    return nearest(side / 32) * 32


def _has_objects(scene: Scene) -> bool:
    return bool((scene.objects[:, IGNORED] == 0).any())
