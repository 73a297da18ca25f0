"""The published nets of ../shared/zoo: every net that is meant to be deployed, exported and run in ONNX Runtime.

With DEMITASSE_FULL=1, about half an hour; -s shows the table.
"""

import json
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest

from demitasse.netdef.net import Net
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import NetError
from tests.test_onnx.peers import run

ARCHIVE = Path(__file__).resolve().parents[2].parent / "shared" / "zoo" / "nets.tar.xz"
TOLERANCE, ROWS_TOLERANCE = 1e-4, 1e-3
FEW = 1e-3  # the share of numbers that may differ: where a maximum's place is taken, equal ones may change places
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not ARCHIVE.is_file(), reason=f"{ARCHIVE} is not there"),
    pytest.mark.filterwarnings("ignore"),
]


def to_deploy(plan):
    """Whether a net is fed by its user and gives something else than losses."""
    fed = all(step.is_input or step.bottoms or step.layer.stream() is None for step in plan.steps)
    return fed and plan.inputs and any(not plan.newest[name].producer.cls.is_loss for name in plan.outputs)


def made_up_inputs(net):
    """Random numbers; boxes where an input has five numbers a row, the image's sizes where it has three."""
    random = np.random.default_rng(1)
    inputs = {name: random.standard_normal(net.shapes[name]).astype(np.float32) for name in net.inputs}
    images = [array.shape[2:] for array in inputs.values() if array.ndim == 4]
    for array in inputs.values():
        rows = array.reshape(len(array), -1)
        if images and rows.shape[1] == 3:
            rows[:] = (*images[0], 1)
        elif images and rows.shape[1] == 5:
            first, size = random.uniform(0, 0.5, (2, len(rows), 2)) * images[0][::-1]
            rows[:] = np.concatenate([np.zeros((len(rows), 1)), first, first + size], axis=1)
    return inputs


def condition(net, inputs):
    """Gives a net random learned arrays under which the tops of its layers have a standard deviation of about 1."""
    random, values = np.random.default_rng(0), {}
    for step in net.plan.steps:
        if step.is_input:
            values |= {value: inputs[value.name] for value in step.tops}
            continue
        owners = [net.plan.shared.get(param, param) for param in step.layer.params]
        for owner in owners:
            spread = math.sqrt(2 / math.prod(owner.shape[1:]))
            matrix = sum(size > 1 for size in owner.shape) > 1
            drawn = random.normal(0, spread, owner.shape) if matrix else random.uniform(0.5, 1.5, owner.shape)
            owner.data[...] = drawn
        xs = [values[value] for value in step.bottoms]
        step.layer.keep = False
        step.layer.infer([x.shape for x in xs])
        tops = step.layer.forward(xs)
        if owners and owners[0].data.ndim > 1 and tops[0].std() > 0:
            owners[0].data /= tops[0].std()
            tops = step.layer.forward(xs)
        values |= {value: np.array(top) for value, top in zip(step.tops, tops, strict=True)}


def unmatched(rows, others):
    """How many rows (image, class, score, box) have no like among the others."""
    apart = np.abs(rows.reshape(-1, 1, 7) - others.reshape(1, -1, 7))
    same = (apart[..., :2] == 0).all(-1) & (apart[..., 2:] < ROWS_TOLERANCE).all(-1)
    return int((~same.any(1)).sum())


def compare(path, folder):
    """What differs between the net in the engine and in ONNX Runtime; "" where nothing does."""
    net = Net(path)
    inputs = made_up_inputs(net)
    condition(net, inputs)
    expected = {name: np.array(array) for name, array in net.forward(inputs).items()}
    net.to_onnx(folder / "net.onnx")
    got = run(folder / "net.onnx", inputs)
    found = {name.split("/")[0]: array for name, array in got.items()} | got
    for name, array in expected.items():
        if net.plan.newest[name].producer.cls.finds_boxes:
            odd = unmatched(array, found[name]), unmatched(found[name], array)
            if max(odd) > FEW * array.size / 7:
                return f"{name}: of {array.size // 7} boxes there {odd[0]}, here {odd[1]} are none of the other's"
            continue
        if found[name].shape != array.shape or not np.isfinite(array).all():
            return f"{name}: {found[name].shape} for {array.shape}, or not finite"
        off = np.abs(found[name] - array) > TOLERANCE * np.abs(array).max(initial=0)
        if off.mean() > FEW if off.size else False:
            return f"{name}: {off.mean():.2%} of {off.size} numbers differ by more than {TOLERANCE} of the largest"
    return ""


def test_published_nets_run_in_onnx_runtime(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    table = {}
    for item in json.loads((tmp_path / "list.json").read_text()):
        path = tmp_path / "nets" / item["net"]
        try:
            plan = Plan(path, "TEST")
        except NetError:
            continue
        if not to_deploy(plan):
            continue
        try:
            table[item["net"]] = compare(path, tmp_path)
        except NetError as error:
            table[item["net"]] = str(error)
        print(f"{table[item['net']] or 'agrees':8} {item['net']}", flush=True)
    good = sum(not fault for fault in table.values())
    print(f"{good} of {len(table)} nets agree")
    assert good >= 0.95 * len(table)
