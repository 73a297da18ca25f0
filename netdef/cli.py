"""What `python -m netdef` can do: look at nets and weights, and change their form."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

from demitasse.layers.layer import Shape, layer_class, layer_types
from demitasse.netdef import tools
from demitasse.netdef.onnx import command as onnx
from demitasse.netdef.picture import draw
from demitasse.netdef.plan import Plan
from demitasse.netdef.report import table
from demitasse.proto.cli import OneLineParser
from demitasse.proto.errors import NetError, SchemaFault, printable
from demitasse.proto.option_values import integer


def run(arguments: Sequence[str], program: str = "python -m netdef") -> int:
    """Carry out a command line: its exit status, 1 where `diff` found differences.  program: how it was called."""
    parser = OneLineParser(prog=program, description="Look at nets and weights; change their form")
    add_commands(parser.add_subparsers(dest="command", title="commands", required=True, metavar="COMMAND"))
    options = parser.parse_args(arguments)
    return options.run(options) or 0


def _show(options) -> None:
    inputs = tools.complete_inputs(options.net, _shapes(options.input), options.phase)
    print(table(_plan(options, inputs)))


def _draw(options) -> None:
    draw(_plan(options, tools.complete_inputs(options.net, _shapes(options.input), options.phase)), options.picture)
    print(f"wrote {printable(options.picture)}")


def _plan(options, inputs: dict[str, Shape]) -> Plan:
    crop = {"auto_crop": options.auto_crop}
    try:
        return Plan(options.net, options.phase, level=options.level, stages=options.stage, inputs=inputs, **crop)
    except NetError as error:
        error.what += tools.input_hint(options.net, inputs, error)
        raise


def _upgrade(options) -> None:
    print(tools.upgrade(options.source, options.target))


def _convert(options) -> None:
    if options.target.lower().endswith(".onnx") and not options.source.lower().endswith(".onnx"):
        inputs = tools.complete_inputs(options.source, _shapes(options.input), "TEST")
        print(onnx.export_file(options, inputs))
        return
    onnx.require_unused(options)
    if options.source.lower().endswith(".onnx"):
        print(onnx.import_file(options.source, options.target, _shapes(options.input)))
        return
    if options.source.lower().endswith(".prototxt"):
        raise SchemaFault(f"{options.target}: a prototxt is converted to ONNX; let the name end in .onnx")
    print(tools.convert(options.source, options.target, options.net))


def _diff(options) -> int:
    lines = tools.diff(options.first, options.second)
    print("\n".join(lines) if lines else "no difference")
    return 1 if lines else 0


def _types(options) -> None:
    for name in layer_types():
        cls = layer_class(name)
        print(
            f"{name:28} {_range(cls.bottoms):>6} bottoms  {_range(cls.tops):>6} tops"
            f"{'  loss' if cls.is_loss else ''}{'  in place' if cls.in_place else ''}"
        )


def _range(counts: tuple[int, int | None]) -> str:
    least, most = counts
    return f"{least}+" if most is None else str(least) if least == most else f"{least}-{most}"


def _shapes(texts: Sequence[str]) -> dict[str, Shape]:
    """{"data": (1, 3, 500, 500)} of ["data=1x3x500x500"]."""
    shapes = {}
    for text in texts:
        match = re.fullmatch(r"(.+)=(\d+(?:[x,]\d+)*)", text)
        if not match:
            raise SchemaFault(f"--input {text}: write the blob's name and its shape, as data=1x3x500x500")
        shapes[match[1]] = tuple(int(size) for size in re.split("[x,]", match[2]))
    return shapes


def add_commands(commands: Any) -> None:
    """Add every command with its options to an argparse group of commands."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--traceback", action="store_true", help="show where in the program a mistake was noticed")
    net = argparse.ArgumentParser(add_help=False, parents=[common])
    net.add_argument("net", metavar="NET", help="a .prototxt file")
    net.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="BLOB=1x3x500x500",
        help="the size of an input, or of what a data layer makes, which is then not run; may be repeated",
    )
    net.add_argument("--phase", default="TEST", type=str.upper, choices=["TRAIN", "TEST"])
    net.add_argument("--level", type=integer, default=0)
    net.add_argument("--stage", action="append", default=[], help="may be repeated")
    net.add_argument("--auto-crop", action="store_true", help="compute the offset of every Crop that has no crop_param")

    def command(name: str, run, parent, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, parents=[parent], help=text, description=text)
        added.set_defaults(run=run)
        return added

    command("show", _show, net, "a table of shapes, params, costs, strides and receptive fields; checks Crop offsets")
    drawing = command("draw", _draw, net, "a picture of the net")
    drawing.add_argument("picture", metavar="OUT", help=".svg or .png")
    upgrading = command("upgrade", _upgrade, common, "bring a net, a solver or a .caffemodel to today's form")
    converting = command("convert", _convert, common, "weights of any format to another; nets to ONNX")
    for parser_of_two in (upgrading, converting):
        parser_of_two.add_argument("source", metavar="IN")
        parser_of_two.add_argument("target", metavar="OUT")
    converting.add_argument("--net", help="the .prototxt whose layer descriptions go into a .caffemodel")
    onnx.add_options(converting)
    comparing = command("diff", _diff, common, "compare two nets or two weights files; exit status 1 if they differ")
    comparing.add_argument("first", metavar="A")
    comparing.add_argument("second", metavar="B")
    command("types", _types, common, "all layer types")
