"""`python -m models score`: a net's scores over a labelled split, as a table; its predictions as pictures."""

from __future__ import annotations

from pathlib import Path

from demitasse.layers.backend.options import BackendOptions
from demitasse.models.commands import arguments
from demitasse.models.evaluate import Evaluation, Example
from demitasse.models.palette import PREDICTED, require_replaceable, save_labels
from demitasse.proto.cli import add_device_options, progress
from demitasse.proto.errors import DataFault
from demitasse.proto.option_values import whole_number
from demitasse.solver.heads import Head


def add_to(commands) -> None:
    """The command `score` and its options."""
    parser = arguments.add_command(commands, "score", "score a net on the split that its data layer names")
    parser.add_argument("net", metavar="NET", help="a val or test prototxt")
    parser.add_argument("--weights", required=True, metavar="W,...", help="weights files, joined by commas")
    parser.add_argument(
        "--present-only",
        action="store_true",
        help="leave classes out that never occur in the truth (as the paper does for SIFT Flow)",
    )
    parser.add_argument("--save", type=Path, metavar="DIR", help="write the predictions there, as palette PNGs")
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help="a file of class names, one a line (default: what the data or the net's folder say)",
    )
    parser.add_argument("--score", metavar="BLOB", help="the scores, where no loss names them")
    parser.add_argument("--label", metavar="BLOB", default="label", help="the labels for --score (default: label)")
    parser.add_argument("--batches", type=whole_number, metavar="N", help="how many (default: the split)")
    arguments.add_auto_crop(parser)
    add_device_options(parser, "cpu")
    parser.set_defaults(run=run)


def run(options) -> None:
    """Score the net, and print the table."""
    heads = [Head(options.score, options.label)] if options.score else None
    evaluation = Evaluation(
        options.net,
        options.weights,
        backend=BackendOptions.of(options).make(),
        heads=heads,
        batches=options.batches,
        auto_crop=options.auto_crop,
    )
    try:
        arguments.warn_of_missing(evaluation.net)
        if options.save:
            _refuse_inside_data(options.save, evaluation.source)
        for example in progress(evaluation, len(evaluation)):
            if options.save:
                save_predictions(options.save, example)
        print(evaluation.text(options.present_only, options.classes))
    finally:
        evaluation.close()


def save_predictions(folder: Path, example: Example) -> None:
    """folder/name.png; with several heads, a folder for each."""
    name = Path(example.name)
    name = name.with_suffix("") if name.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif") else name
    for head, labels in example.predicted.items():
        path = (folder / head if len(example.predicted) > 1 else folder) / f"{name}.png"
        require_replaceable(path)
        save_labels(path, labels, comment=PREDICTED)


def _refuse_inside_data(folder: Path, source) -> None:
    for data in source.folders if source else ():
        if folder.resolve().is_relative_to(data.resolve()):
            raise DataFault(
                f"--save {folder} lies in the data set's folder {data}, whose files would be "
                "overwritten: choose another"
            )
