"""pythonLayer: MTCNN's training in Caffe (CongWeilin's): faces or not, their boxes, and five points of them.

    python_param { module: "pythonLayer"  layer: "Data_Layer_train"
                   param_str: "{'root': 'faces', 'side': 24}" }

A batch teaches one of the three, drawn anew each time: what the other two are compared with is -1, and their losses
leave such items out.  A module of the name that lies beside the prototxt goes before this one.

Source: "Joint face detection and alignment using multitask cascaded convolutional networks" (Zhang et al., 2016), 3.2,
and the lists that the published programs write.
"""

from pathlib import Path

import numpy as np

import caffe
from demitasse.layers.data.images import resize
from demitasse.models.data import options, read
from demitasse.models.data.pyloss import EuclideanLossLayer
from demitasse.models.data.rcnn_layer import RCNNLayer, fill
from demitasse.proto.errors import DataFault, GraphFault, ShapeFault
from demitasse.proto.input_paths import MissingFile, located

NUMBERS = {"classes": (1, 2), "boxes": (2, 6), "points": (6, 16)}  # where in a line they stand
WIDTHS = (1, 4, 10)  # of label, box and points


class Data_Layer_train(RCNNLayer):
    """Tops: images (N, 3, side, side), labels (N, 1), boxes (N, 4), points (N, 10).

    Options: classes, boxes, points, three lists of "image label x1 y1 x2 y2 ten-numbers", of which each needs its own
    ('' leaves it out); root, the folder of the images (their .jpg may be left out); side (0: the first image's);
    batch_size; mean.  Images are BGR and transposed, as in MATLAB, which the authors' detector was made with; those
    that teach classes are mirrored, either way or both, half of the time.
    """

    options = {
        "classes": options.text("cls.txt"),
        "boxes": options.text("roi.txt"),
        "points": options.text("pts.txt"),
        "root": options.text(""),
        "side": options.whole(0, 0, options.LARGEST),
        "batch_size": options.whole(64, 1, 1 << 16),
        "mean": options.colour((128, 128, 128)),
    }

    def setup(self, bottom, top):
        """Read the lists.  MissingFile where one is not there."""
        super().setup(bottom, top)
        if len(bottom) or not 1 <= len(top) <= 4:
            raise GraphFault(f"{len(bottom)} bottoms and {len(top)} tops: it gives images, labels, boxes and points")
        self.lists = {kind: self._read_list(kind) for kind in NUMBERS if self.given[kind]}
        if not self.lists:
            raise DataFault("'classes', 'boxes' and 'points' are all '': name at least one list")
        first = next(iter(self.lists.values()))[0][0]
        self.side = self.given["side"] or len(read.image(first))
        for blob, shape in zip(top, [(3, self.side, self.side), *((width,) for width in WIDTHS)], strict=False):
            blob.reshape(self.given["batch_size"], *shape)

    def _read_list(self, kind: str) -> list[tuple[Path, list[float]]]:
        """(image, its numbers) of each line."""
        path, (first, last) = located(self.given[kind], self.net_folder), NUMBERS[kind]
        if not Path(path).exists():
            raise MissingFile(path, f"'{path}', the list of {kind}, does not exist: name it in param_str as '{kind}'")
        root, samples = Path(located(self.given["root"], self.net_folder)), []
        for number, line in enumerate(read.lines(path), 1):
            words = line.split()
            try:
                numbers = [float(word) for word in words[first:last]]
            except ValueError:
                numbers = []
            if len(numbers) != last - first:
                raise DataFault(f"{path}:{number}: '{line}' has no {last - first} number(s) for {kind}")
            image = root / words[0]
            samples.append((image if image.suffix else image.with_name(image.name + ".jpg"), numbers))
        return samples

    def forward(self, bottom, top):
        """Draw what is taught, and a batch of it."""
        kind = list(self.lists)[int(self.rng.integers(len(self.lists)))]
        samples, count = self.lists[kind], self.given["batch_size"]
        chosen = [samples[i] for i in self.rng.integers(len(samples), size=count)]
        taught = list(NUMBERS).index(kind)
        tops = [np.stack([self._image(path, kind == "classes") for path, _ in chosen])]
        tops += [np.full((count, width), -1, np.float32) for width in WIDTHS]
        tops[1 + taught][...] = [numbers for _, numbers in chosen]
        for blob, values in zip(top, tops, strict=False):
            fill(blob, values)

    def _image(self, path: Path, mirrored: bool) -> np.ndarray:
        blob = read.bgr(resize(read.image(path), self.side, self.side), self.given["mean"]).transpose(0, 2, 1)
        if mirrored and self.rng.integers(2):
            axes = [(1,), (2,), (1, 2)][int(self.rng.integers(3))]
            blob = np.flip(blob, axes)
        return blob


class cls_Layer(caffe.Layer):
    """Scores (N, C) and labels (N, 1) of the items that have a label other than -1, which come first; zeros follow."""

    def setup(self, bottom, top):
        """ShapeFault unless there are two bottoms and two tops."""
        if len(bottom) != 2 or len(top) != 2:
            raise ShapeFault(f"{len(bottom)} bottoms and {len(top)} tops: scores and labels, two of each, are needed")

    def reshape(self, bottom, top):
        """As the bottoms.  ShapeFault where an item has several places."""
        shape, labels = bottom[0].data.shape, bottom[1].data.shape
        if np.prod(shape[2:]) != 1 or np.prod(labels) != shape[0]:
            raise ShapeFault(f"scores {shape} and labels {labels}: (N, C) and (N, 1) are needed, of one place")
        top[0].reshape(*shape)
        top[1].reshape(shape[0], 1)

    def forward(self, bottom, top):
        """Bring those that count to the front."""
        self.valid = np.nonzero(bottom[1].data.reshape(-1) != -1)[0]
        for blob, source in zip(top, bottom, strict=True):
            blob.data[...] = 0
            blob.data[: len(self.valid)] = source.data.reshape(blob.data.shape)[self.valid]

    def backward(self, top, propagate_down, bottom):
        """To the items that count."""
        if propagate_down[0]:
            bottom[0].diff[...] = 0
            bottom[0].diff[self.valid] = top[0].diff[: len(self.valid)]


class cls_Layer_fc(cls_Layer):
    """The same, of a net without fully connected layers."""


class regression_Layer(EuclideanLossLayer):
    """sum((a - b)^2) / 2N over the items whose target does not begin with -1."""

    def forward(self, bottom, top):
        """Half the mean squared distance of an item."""
        targets = bottom[1].data.reshape(len(bottom[1].data), -1)
        apart = bottom[0].data.reshape(targets.shape) - targets
        self.apart = np.where(targets[:, :1] != -1, apart, 0)
        top[0].data[...] = np.square(self.apart).sum() / (2 * max(len(apart), 1))
