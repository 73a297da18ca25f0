"""`python -m models recipe NET`: the paper's recipe, stage by stage, each from the last one's weights.

    runs/voc-fcn8s/0-vgg16-fcn.caffemodel                 the classifier, made convolutional (--from VGG16.caffemodel)
    runs/voc-fcn8s/1-voc-fcn32s/                          nets, solver, snapshot/, log.jsonl, scores.txt
    runs/voc-fcn8s/1-voc-fcn32s.caffemodel                what the stage has learned: where it is, the stage is done
    runs/voc-fcn8s/2-voc-fcn16s/ ...

The command goes on where it was stopped, in the middle of a stage too: at its newest snapshot.  Paths and settings
are those of models/recipes.py; the stages follow from where each recipe starts.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np

from demitasse.layers.backend.options import BackendOptions
from demitasse.models import recipes
from demitasse.models.base_weights import BASES, make_base
from demitasse.models.commands import arguments
from demitasse.models.evaluate import Evaluation
from demitasse.models.fcn import fcn
from demitasse.models.stages import Stage, solver_of, stages, starting_weights
from demitasse.proto import text
from demitasse.proto.cli import add_device_options, progress
from demitasse.proto.errors import NetError, SolverFault, WeightsFault
from demitasse.proto.files import make_folder, replacing, write_text
from demitasse.proto.messages import SolverParameter
from demitasse.proto.option_values import integer, whole_number
from demitasse.proto.weights import write_weights
from demitasse.solver.bilinear import fill_zero_deconvolutions
from demitasse.solver.log import Log
from demitasse.solver.signals import Signals
from demitasse.solver.solver import Solver


def _solver(stage: Stage, options) -> SolverParameter:
    return solver_of(stage, snapshot=options.snapshot, iterations=options.iterations, seed=options.seed)


def plan_lines(steps: list[Stage], options) -> list[str]:
    """What would be done, and what of it is done."""
    lines = []
    for stage in steps:
        state = stage.newest_state()
        status = "done" if stage.result.exists() else f"resumes from {state.name}" if state else "to do"
        if not stage.trains:
            lines.append(f"{stage.number}  {stage.name:22} {BASES[stage.name][1]} made convolutional [{status}]")
            continue
        recipe, param = recipes.recipe(stage.name), _solver(stage, options)
        values = recipes.param_count(stage.name, options.width)
        averaged = recipe.net.get("normalize", recipe.builder is not fcn)
        kept = -(-param.max_iter // param.snapshot)
        lines += [
            f"{stage.number}  {stage.name:22} {recipe.about} [{status}]",
            f"   from {' and '.join(recipe.start) or 'random weights'}; {values / 1e6:.1f} M values; "
            f"{param.max_iter} iterations of {param.iter_size} image{'s' if param.iter_size > 1 else ''}, "
            f"loss {'averaged' if averaged else 'summed'} over pixels",
            f"   rate {param.base_lr:g}, momentum {param.momentum:g}, decay {param.weight_decay:g}; a snapshot "
            f"each {param.snapshot} ({kept} of {8 * values / 1e6:.0f} MB in all)",
        ]
    return lines


def run_stage(stage: Stage, before: dict[str, Path], options) -> bool:
    """Do what is left of a stage; False when a signal stopped it.  before: {recipe or base: its weights}."""
    if not stage.trains:
        source = _only(options.source, stage, f"the weights of {BASES[stage.name][1]}, a file that you have")
        weights, report = make_base(stage.name, source, options.width)
        print(f"{stage.name} from {source}: {report}")
        make_folder(stage.result.parent)
        write_weights(stage.result, weights)
        return True
    recipes.write(
        stage.name,
        stage.folder.parent,
        folder_name=stage.folder.name,
        overwrite=True,  # a stage's folder is the command's own
        root=options.data,
        width=options.width,
        random=not recipes.recipe(stage.name).start,
    )
    file = stage.folder / "solver.prototxt"
    write_text(file, text.format(_solver(stage, options)))
    state = stage.newest_state()
    # Overflows need no warning of NumPy's: a loss that is not finite stops the run.
    with Signals() as signals, np.errstate(all="ignore"):
        log = Log(jsonl=stage.folder / "log.jsonl")
        solver = Solver(
            str(file),
            device=BackendOptions.of(options),
            log=log,
            requests=signals,
            snapshot=str(state) if state else None,
            existing="refuse" if state else "replace",  # without a state there is nothing to go on from
        )
        try:
            if not state:
                _start(solver, stage, before)
            if solver.iter < solver.param.max_iter:
                solver.solve()
            if solver.stopped:
                return False
            weights = f"{solver.param.snapshot_prefix}_iter_{solver.iter}.caffemodel"
        finally:
            solver.close()
    with replacing(stage.result) as temporary:
        try:
            os.link(weights, temporary)  # no second copy on the disk
        except OSError:
            shutil.copyfile(weights, temporary)
    if not options.no_score:
        _score(stage, options)
    return True


def _start(solver: Solver, stage: Stage, before: dict[str, Path]) -> None:
    names = recipes.recipe(stage.name).start
    if names:
        weights, note = starting_weights(stage, [before[name] for name in names])
        solver.log.info(f"Starting from {', '.join(str(before[name]) for name in names)}{': ' if note else ''}{note}")
        report = solver.net.load(weights)
        solver.log.info(str(report))
    filled = fill_zero_deconvolutions(solver.net)
    if filled:
        solver.log.info(f"Filled with bilinear weights: {', '.join(filled)}")


def _score(stage: Stage, options) -> None:
    """The stage's scores on its test split; without the test data the weights stand, and it is said."""
    try:
        evaluation = Evaluation(
            stage.folder / f"{recipes.recipe(stage.name).splits[1]}.prototxt",
            stage.result,
            backend=BackendOptions.of(options).make(),
        )
        try:
            for _ in progress(evaluation, len(evaluation)):
                pass
            # The paper leaves SIFT Flow's absent classes out.
            lines = evaluation.text(present_only=stage.name.startswith("siftflow"))
        finally:
            evaluation.close()
    except NetError as error:
        print(f"{stage.name} is trained, but not scored: {error}", file=sys.stderr)
        return
    write_text(stage.folder / "scores.txt", lines + "\n")
    print(f"{stage.name}\n{lines}")


def _only(sources: list[Path], stage: Stage, what: str) -> Path:
    if len(sources) != 1:
        raise WeightsFault(
            f"stage {stage.number}, {stage.name}, needs --from FILE: {what}"
            + (f"; {len(sources)} are given" if sources else "")
        )
    return sources[0]


def add_to(commands) -> None:
    """The command `recipe`, which is `train` too, and its options."""
    about = "run a net's recipe: every stage, each from the last one's weights"
    parser = arguments.add_command(commands, "recipe", about, aliases=["train"])
    parser.add_argument("name", metavar="NET", help="a net of `list`")
    parser.add_argument("--data", default="data", metavar="DIR", help="the folder of the data sets (default: data)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results go (default: runs/NET)")
    parser.add_argument(
        "--from",
        "--weights",
        dest="source",
        type=Path,
        action="append",
        default=[],
        metavar="W",
        help="the weights that the first stage to be run starts from (given twice for two)",
    )
    parser.add_argument(
        "--stage", type=integer, metavar="N", help="begin with this stage; --from gives what comes before"
    )
    parser.add_argument("--iterations", type=whole_number, metavar="N", help="of every stage, to try it out")
    parser.add_argument("--snapshot", type=whole_number, metavar="N", help="take one each N iterations")
    arguments.add_width(parser)
    parser.add_argument("--seed", type=integer, metavar="N", help="of dropout and fillers (default: another each time)")
    parser.add_argument("--no-score", action="store_true", help="do not score the stages")
    parser.add_argument("--dry-run", action="store_true", help="print the plan only")
    add_device_options(parser, "cpu")
    parser.set_defaults(run=run)


def run(options) -> int:
    """Run the stages that are left; 130 where Ctrl-C stopped one."""
    out = options.out or Path("runs") / options.name
    steps = stages(options.name, out)
    print(f"{options.name}: data in {options.data}, files in {out}\n" + "\n".join(plan_lines(steps, options)))
    if options.dry_run:
        return 0
    before, left = _what_is_left(steps, options)
    for stage in left:
        print(f"\nstage {stage.number}: {stage.name}", flush=True)
        if not run_stage(stage, before, options):
            print("stopped; the same command resumes from here", file=sys.stderr)
            return 130
        before[stage.name] = stage.result
    print(f"{steps[-1].result} is trained")
    return 0


def _what_is_left(steps: list[Stage], options) -> tuple[dict[str, Path], list[Stage]]:
    """({stage: its weights} of what is there, the stages to run); WeightsFault where one could not start."""
    before = {stage.name: stage.result for stage in steps if stage.result.exists()}
    numbers = [stage.number for stage in steps]
    begin = numbers[0] if options.stage is None else options.stage
    if begin not in numbers:
        raise SolverFault(f"there is no stage {begin}: {options.name} has {numbers[0]} to {numbers[-1]}")
    for source in options.source:
        if not source.is_file():
            raise WeightsFault(f"--from {source}: no such file")
    chosen = steps[numbers.index(begin)]
    if options.source and chosen.trains:
        needed = recipes.recipe(chosen.name).start
        if len(options.source) != len(needed):
            raise WeightsFault(
                f"stage {chosen.number}, {chosen.name}, starts from {' and '.join(needed) or 'nothing'}"
                f": --from is given {len(options.source)} times, not {len(needed)}"
            )
        before.update(zip(needed, options.source, strict=True))
    left = [stage for stage in steps if stage.number >= begin and stage.name not in before]
    if options.source and chosen not in left:
        print(f"--from is not used: {chosen.result} is there already", file=sys.stderr)
    known = {*before, *(stage.name for stage in left)}
    for stage in left:
        missing = [name for name in recipes.recipe(stage.name).start if name not in known] if stage.trains else []
        if missing:
            raise WeightsFault(
                f"stage {stage.number}, {stage.name}, starts from {' and '.join(missing)}, not there "
                "yet: begin with an earlier --stage, or with that one and --from FILE"
            )
    return before, left
