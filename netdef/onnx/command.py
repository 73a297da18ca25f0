"""`python -m netdef convert` with an .onnx file on either side."""

from __future__ import annotations

import argparse

import numpy as np

from demitasse.netdef.net import Net
from demitasse.netdef.onnx.back import import_file
from demitasse.netdef.onnx.export import Way, export
from demitasse.netdef.onnx.preprocess import Preprocessing
from demitasse.netdef.wording import count_text
from demitasse.proto.errors import SchemaFault, WeightsFault, Where, printable
from demitasse.proto.option_values import finite, names, size
from demitasse.proto.text import text_of
from demitasse.proto.warning import warn
from demitasse.proto.weights import read_mean


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `convert` can be told of a target that is an .onnx file."""
    group = parser.add_argument_group("to ONNX: IN is a .prototxt, OUT ends in .onnx")
    group.add_argument("--weights", help="the net's weights, in any format; several joined by commas")
    group.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="BLOB=1x3x500x500",
        help="the size of an input, or of what a data layer makes, which becomes an input; may be repeated",
    )
    group.add_argument(
        "--outputs",
        type=names,
        default=[],
        metavar="BLOB,BLOB",
        help="the blobs that the file gives, and no layers but those that they need",
    )
    group.add_argument("--fixed", action="store_true", help="write all sizes as constants, batch, height and width too")
    group.add_argument("--fold", action="store_true", help="take BatchNorm and Scale into the convolutions before them")
    group.add_argument("--fp16", action="store_true", help="half precision, but for inputs and outputs")
    group.add_argument("--preprocess", action="store_true", help="let the file take an RGB image: uint8, N x H x W x 3")
    group.add_argument(
        "--mean",
        metavar="104,117,123|FILE",
        help="what is taken from each channel, in the net's order; or a .binaryproto: from each pixel",
    )
    group.add_argument(
        "--scale", type=finite, default=1.0, help="what pixels are multiplied by, once the mean is taken"
    )
    group.add_argument("--rgb", action="store_true", help="the net's order of channels is RGB (BGR unless given)")
    group.add_argument("--resize", type=size, metavar="HxW", help="what every image is resized to, bilinearly")
    group.add_argument("--classes", metavar="FILE", help="the classes' names, a line each, for the file's metadata")


def require_unused(options: argparse.Namespace) -> None:
    """SchemaFault for an option that is for writing an .onnx file, where none is written."""
    flags = ("weights", "outputs", "fixed", "fold", "fp16", "preprocess", "mean", "rgb", "resize", "classes")
    given = [f"--{name}" for name in flags if getattr(options, name)] + ["--scale"] * (options.scale != 1)
    if given:
        what = f"{', '.join(given)} {'is' if len(given) == 1 else 'are'} for writing a net as an .onnx file"
        raise SchemaFault(f"{what}, and {printable(options.target)} is none")


def export_file(options: argparse.Namespace, inputs: dict) -> str:
    """Write a prototxt with its weights as an ONNX file; returns what to tell the user.

    WeightsFault where a net that learns is given no weights.
    """
    source = options.source
    way = Way(options.fixed, options.fold, options.fp16, _image(options), options.preprocess, options.outputs)
    net = Net(source, "TEST", inputs=inputs)
    try:
        if net.params and not options.weights:
            raise WeightsFault("the net has layers that learn: give what they have learned as --weights", Where(source))
        if options.weights:
            report = net.load(options.weights)
            if report.missing:
                warn(str(report))
        model = export(net, options.target, way)
    finally:
        net.close()
    sizes = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, (_, shape) in model.inputs.items())
    return f"wrote {printable(options.target)}: {count_text(len(model.nodes), 'operator')}, inputs {printable(sizes)}"


def _image(options) -> Preprocessing | None:
    """What the options say of the images; None where they say nothing."""
    given = (options.mean, options.resize, options.classes, options.rgb, options.preprocess, options.scale != 1)
    if not any(given):
        return None
    if not options.scale:
        raise SchemaFault("--scale 0: the net would see nothing but zeros")
    mean = _mean(options.mean or "")
    classes = text_of(options.classes)[0].split("\n") if options.classes else []
    return Preprocessing(
        mean, options.scale, options.rgb, options.resize, [name.strip() for name in classes if name.strip()]
    )


def _mean(text: str) -> list[float] | np.ndarray:
    """What --mean says: numbers, or the image of a file."""
    if text.endswith((".binaryproto", ".npy")):
        return read_mean(text)
    try:
        return [float(number) for number in text.split(",") if number]
    except ValueError:
        raise SchemaFault(
            f"--mean {text}: write a number for each channel, as 104,117,123, or the name of a .binaryproto"
        ) from None


__all__ = ["add_options", "export_file", "import_file"]
