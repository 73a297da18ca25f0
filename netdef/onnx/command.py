"""`python -m netdef convert` with an .onnx file on either side."""

from __future__ import annotations

import argparse
import warnings

from demitasse.netdef.net import Net
from demitasse.netdef.onnx.back import import_file
from demitasse.netdef.onnx.export import export
from demitasse.netdef.words import count_text
from demitasse.proto.errors import WeightsFault, Where, printable


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
    group.add_argument("--fixed", action="store_true", help="write all sizes as constants, batch, height and width too")


def export_file(source: str, target: str, weights: str | None, inputs: dict, **options) -> str:
    """Write a prototxt with its weights as an ONNX file; returns what to tell the user."""
    net = Net(source, "TEST", inputs=inputs)
    try:
        if net.params and not weights:
            raise WeightsFault("the net has layers that learn: give what they have learned as --weights", Where(source))
        if weights:
            report = net.load(weights)
            if report.missing:
                warnings.warn(str(report), stacklevel=2)
        model = export(net, target, **options)
    finally:
        net.close()
    sizes = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, (_, shape) in model.inputs.items())
    return f"wrote {printable(target)}: {count_text(len(model.nodes), 'operator')}, inputs {printable(sizes)}"


__all__ = ["add_options", "export_file", "import_file"]
