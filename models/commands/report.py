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
from demitasse.models.palette import save_picture
from demitasse.models.report import Extremes, find_file, log_of, panels, sheet, weights_of
from demitasse.models.run_log import RunLog
from demitasse.proto.cli import add_device_options, progress
from demitasse.proto.errors import DataFault
from demitasse.proto.files import write_text
from demitasse.proto.option_values import whole_number
from demitasse.proto.text import read_solver
from demitasse.solver.pictures import beside


def shown(path: str | Path) -> str:
    """A path as a report gives it: from the working directory where it lies below, so that both can be moved."""
    full = Path(path).resolve()
    return str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else str(path)


def facts(log: RunLog, net: Path, weights, count: int) -> dict[str, str]:
    """What a run is, for its page: net, weights, identity, data, versions, and how many images were scored."""
    found = {"net": shown(net), "weights": ",".join(map(shown, str(weights).split(","))), **log.about()}
    found |= {f"layer {name}": text for name, text in log.data.items()}
    versions = ", ".join(f"{name} {version}" for name, version in log.versions.items())
    return {**found, **({"versions": versions} if versions else {}), "images": str(count)}


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
    parser.add_argument("--weights", metavar="W,...", help="files, joined by commas (default: the run's best)")
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
    """Score the net, and write the page, its pictures and the scores.

    DataFault where the net, or a labelled pixel, is not there.
    """
    if not options.net.exists():
        raise DataFault(f"{options.net}: no such file or folder")
    folder = options.net if options.net.is_dir() else options.net.parent
    net = find_file(folder, ("val.prototxt", "test.prototxt")) if options.net.is_dir() else options.net
    log = options.log or options.run_folder / "log.jsonl"
    weights = options.weights or weights_of(folder, options.run_folder, log)
    if judges_boxes(net):
        _report_boxes(options, folder, net, weights, log)
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
        of_run = log_of(weights, log)
        about = facts(of_run, net, weights, evaluation.count)
        results = evaluation.scores(options.present_only)
        page = report_page.page(
            title=evaluation.net.name or folder.name,
            log=of_run,
            extremes=extremes,
            about=about,
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


def _report_boxes(options, folder: Path, net: Path, weights, log: Path) -> None:
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
        of_run = log_of(weights, log)
        about = {**facts(of_run, net, weights, run.count), "average precision": param.ap_version}
        page = report_page.detection_page(
            title=run.net.name or folder.name,
            log=of_run,
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
