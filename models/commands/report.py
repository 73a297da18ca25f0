"""`python -m models report`: a page about a run: its curve, the scores on the val split, best and worst images.

report.html     one file, pictures inside          scores.txt     the table, as `score` prints it
pictures.png    rows of image, truth, prediction   of the split's first images
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demitasse.layers.backend.options import BackendOptions
from demitasse.models import report_page
from demitasse.models.class_names import names_of
from demitasse.models.commands import arguments
from demitasse.models.detection_report import DetectionRun, judges_boxes, text_of
from demitasse.models.evaluate import Evaluation
from demitasse.models.palette import beside, save_picture
from demitasse.models.report import Extremes, curves, find_file, log_of, newest_weights, panels, run_lines, sheet
from demitasse.proto.cli import add_device_options, progress
from demitasse.proto.errors import DataFault
from demitasse.proto.files import write_text
from demitasse.proto.option_values import whole_number
from demitasse.proto.text import read_solver


def shown(path: str | Path) -> str:
    """A path as a report gives it: from the working directory where it lies below, so that both can be moved."""
    full = Path(path).resolve()
    return str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else str(path)


def add_to(commands) -> None:
    """The command `report` and its options."""
    parser = arguments.add_command(commands, "report", "a page about a run: curve, scores, best and worst images")
    parser.add_argument(
        "net",
        type=Path,
        metavar="NET",
        help="a folder with a *val.prototxt (or *test.prototxt) and a *solver.prototxt, or the val prototxt itself",
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN_FOLDER", help="where the page goes")
    parser.add_argument("--weights", metavar="W,...", help="files, joined by commas (default: the newest snapshot)")
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="of the run, for the curve (default: RUN_FOLDER/log.jsonl)"
    )
    parser.add_argument(
        "--images",
        type=whole_number,
        default=6,
        metavar="N",
        help="how many of the best, of the worst and of the first images to show (default: 6)",
    )
    parser.add_argument("--present-only", action="store_true", help="leave classes out that never occur in the truth")
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help="a file of class names, one a line (default: what the data or the net's folder say)",
    )
    arguments.add_auto_crop(parser)
    add_device_options(parser, "cpu")
    parser.set_defaults(run=run)


def run(options) -> None:
    """Score the net, and write the page, its pictures and the scores."""
    if not options.net.exists():
        raise DataFault(f"{options.net}: no such file or folder")
    folder = options.net if options.net.is_dir() else options.net.parent
    net = find_file(folder, ("val.prototxt", "test.prototxt")) if options.net.is_dir() else options.net
    weights = options.weights or newest_weights(folder, options.run_folder)
    if judges_boxes(net):
        _report_boxes(options, folder, net, weights)
        return
    extremes = Extremes(options.images)
    evaluation = Evaluation(net, weights, backend=BackendOptions.of(options).make(), auto_crop=options.auto_crop)
    try:
        arguments.warn_of_missing(evaluation.net)
        for example in progress(evaluation, len(evaluation)):
            extremes.add(example)
        if not extremes.first:
            raise DataFault(f"{net}: no image of the split has a labelled pixel")
        text = evaluation.text(options.present_only, options.classes)
        log = log_of(weights, options.log or options.run_folder / "log.jsonl")
        about = {"net": shown(net), "weights": ",".join(map(shown, str(weights).split(","))), **run_lines(log)}
        results = evaluation.scores(options.present_only)
        page = report_page.page(
            title=evaluation.net.name or folder.name,
            curves=curves(log),
            extremes=extremes,
            about={**about, "images": str(evaluation.count)},
            heads=[(head, results[head.score], evaluation.names(head, options.classes)) for head in evaluation.heads],
            panels=panels,
        )
        head = evaluation.heads[0]
        picture = sheet([example for _, example in extremes.first], head.score, evaluation.names(head, options.classes))
    finally:
        evaluation.close()
    write_text(
        options.run_folder / "scores.txt", "".join(f"{key} {value}\n" for key, value in about.items()) + f"{text}\n"
    )
    save_picture(options.run_folder / "pictures.png", picture)
    write_text(options.run_folder / "report.html", page)
    print(text)
    print(f"wrote report.html, pictures.png and scores.txt into {options.run_folder}")


def _report_boxes(options, folder: Path, net: Path, weights) -> None:
    """The page of a detector: as many batches as its solver tests with."""
    param, _ = read_solver(str(find_file(folder, ("solver.prototxt",))))
    if not param.test_iter:
        raise DataFault(f"{folder}: its solver has no test_iter: it says how many batches a test has")
    run = DetectionRun(net, str(weights), param.ap_version, BackendOptions.of(options).make(), options.auto_crop)
    try:
        arguments.warn_of_missing(run.net)
        names = names_of(options.classes, (), run.step.spec.detection_evaluate_param.num_classes, net)
        for _ in progress(range(param.test_iter[0]), param.test_iter[0]):
            run.batch(options.images, names)
        mean, by_class = run.precision()
        log = log_of(weights, options.log or options.run_folder / "log.jsonl")
        about = {"net": shown(net), "weights": ",".join(map(shown, str(weights).split(","))), **run_lines(log)}
        about = {**about, "images": str(run.count), "average precision": param.ap_version}
        page = report_page.detection_page(
            title=run.net.name or folder.name,
            curves=curves(log),
            about=about,
            mean=mean,
            by_class=by_class,
            names=names,
            pictures=run.pictures,
        )
        picture = np.concatenate([beside(pair) for pair in run.pictures])
    finally:
        run.close()
    text = text_of(mean, by_class, names)
    write_text(
        options.run_folder / "scores.txt", "".join(f"{key} {value}\n" for key, value in about.items()) + text + "\n"
    )
    save_picture(options.run_folder / "pictures.png", picture)
    write_text(options.run_folder / "report.html", page)
    print(text)
    print(f"wrote report.html, pictures.png and scores.txt into {options.run_folder}")
