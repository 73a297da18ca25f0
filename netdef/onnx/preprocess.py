"""How an image becomes a net's input: taken into the graph, or said in the file's metadata.

input = scale * (pixels in the net's order of channels - mean)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demitasse.proto.errors import SchemaFault
from demitasse.proto.onnx_file import Model, Node
from demitasse.proto.warning import warn


@dataclass
class Preprocessing:
    """mean: one number for each channel in the net's order, or an array (channels, height, width), of which images take
    the middle; rgb: that order is RGB, else BGR as in Caffe; resize: (height, width) that every image is brought to;
    classes: their names, in the order of the scores."""

    mean: Sequence[float] | np.ndarray = ()
    scale: float = 1.0
    rgb: bool = False
    resize: tuple[int, int] | None = None
    classes: Sequence[str] = ()

    def describe(self, model: Model) -> None:
        """Say it in the metadata.  SchemaFault where no input has as many channels as there are means."""
        channels = {shape[1] for _, shape in model.inputs.values() if len(shape) > 1}
        if len(self.mean) > 1 and len(self.mean) not in channels:
            there = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, (_, shape) in model.inputs.items())
            raise SchemaFault(
                f"{len(self.mean)} means, and no input has as many channels: {there}; give one for all, or one for each"
            )
        model.metadata["channels"] = "RGB" if self.rgb else "BGR"
        if len(self.mean):
            means = [float(np.mean(channel)) for channel in self.mean]
            model.metadata["mean"] = ",".join(f"{number:g}" for number in means)
        if self.scale != 1:
            model.metadata["scale"] = f"{self.scale:g}"
        if self.resize:
            model.metadata["resize"] = "x".join(map(str, self.resize))
        scores = {shape[1] for _, shape in model.outputs.values() if len(shape) > 1 and isinstance(shape[1], int)}
        if self.classes and max(scores, default=0) > 1 and len(self.classes) not in scores:
            there = " or ".join(map(str, sorted(scores)))
            warn(f"{len(self.classes):,} classes are named, and the net gives {there} scores: a name for each is meant")
        if self.classes:
            model.metadata["classes"] = "\n".join(self.classes)

    def take_in(self, model: Model, sizes: Sequence[int]) -> None:
        """Let the graph begin with an image: RGB, uint8, (N, height, width, 3).  SchemaFault where it takes none.

        sizes: (height, width) of the net's images, which those of a mean image count for.
        """
        images = [name for name, (_, shape) in model.inputs.items() if len(shape) == 4 and shape[1] in (1, 3)]
        if len(images) != 1 or len(model.inputs) != 1:
            raise SchemaFault(
                f"--preprocess is for nets with one input, an image of 3 channels; this has {', '.join(model.inputs)}"
            )
        (name,) = images
        _, (batch, channels, height, width) = model.inputs[name]
        if channels != 3 or len(self.mean) not in (0, 1, 3):
            raise SchemaFault(f"--preprocess is for 3 channels and 1 or 3 means, not {channels} and {len(self.mean)}")
        mean = self._mean_of(*(self.resize or sizes))
        if np.ndim(self.mean) == 3:
            height, width = mean.shape[1:]
        steps: list[Node] = []
        current = "image"

        def add(op: str, *others: str, **attrs) -> None:
            nonlocal current
            made = f"preprocess/{op}_{len(steps)}"
            steps.append(Node(op, [current, *others], [made], attrs, made))
            current = made

        def constant(what: str, value, dtype: str = "float32") -> str:
            model.arrays[f"preprocess/{what}"] = np.asarray(value, dtype)
            return f"preprocess/{what}"

        add("Cast", to="float32")
        add("Transpose", perm=[0, 3, 1, 2])
        if not self.rgb:
            add("Gather", constant("bgr", [2, 1, 0], "int64"), axis=1)
        if self.resize:
            add("Shape")
            add("Slice", constant("0", [0], "int64"), constant("2", [2], "int64"))
            add("Concat", constant("sizes", self.resize, "int64"), axis=0)
            steps[-1].outputs, shape = ["preprocess/shape"], "preprocess/shape"
            current = steps[-4].outputs[0]
            add("Resize", "", "", shape, mode="linear", coordinate_transformation_mode="half_pixel")
        if mean.size:
            add("Sub", constant("mean", mean))
        if self.scale != 1:
            add("Mul", constant("scale", self.scale))
        steps[-1].outputs = [name]
        model.nodes = [*steps, *model.nodes]
        free = [f"image_{axis}" if self.resize else size for axis, size in (("height", height), ("width", width))]
        model.inputs = {"image": ("uint8", [batch, *free, 3])}

    def _mean_of(self, height: int, width: int) -> np.ndarray:
        """What is taken from images of this size, (channels, 1, 1) or, as Caffe does in TEST, the mean's middle."""
        mean = np.asarray(self.mean)
        if mean.ndim < 3:
            return mean.reshape(-1, 1, 1)
        top, left = (mean.shape[1] - height) // 2, (mean.shape[2] - width) // 2
        if min(top, left) < 0:
            raise SchemaFault(
                f"the mean image measures {mean.shape[1]}x{mean.shape[2]}, and the net's images {height}x{width}: "
                "give a mean of that size or more, or one number for each channel"
            )
        return mean[:, top : top + height, left : left + width]
