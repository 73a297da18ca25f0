"""Whole nets of any kind under random weights: the engine's numbers against ONNX Runtime's."""

import math

import numpy as np

from demitasse.netdef.net import Net
from demitasse.netdef.onnx.part import Part
from demitasse.netdef.onnx.sizes import fixed_sizes
from tests.test_onnx.peers import run

TOLERANCE, ROWS_TOLERANCE = 1e-4, 1e-3
ROUNDING = 1e-7
FEW = 1e-3  # the share of numbers that may differ: where a maximum's place is taken, equal ones may change places


def made_up_inputs(net):
    """Random numbers; boxes where an input has five numbers a row, the image's sizes where it has three; classes 0 and
    1 where a loss takes it for labels."""
    random = np.random.default_rng(1)
    inputs = {name: random.standard_normal(net.shapes[name]).astype(np.float32) for name in net.inputs}
    losses = [step for step in net.plan.steps if step.cls.is_loss]
    labels = {step.bottoms[i].name for step in losses for i in step.cls.never_differentiable if i < len(step.bottoms)}
    for name in labels & inputs.keys():
        inputs[name][...] = random.integers(0, 2, net.shapes[name])
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
    """How many rows have no like among the others."""
    rows, others = (array.reshape(-1, array.shape[-1]) for array in (rows, others))
    near = ROWS_TOLERANCE * np.maximum(np.abs(rows).max(0, initial=0), 1)
    return sum(not (np.abs(others - row) < near).all(1).any() for row in rows)


def ties(net, inputs, name, rows):
    """How many rows the engine itself exchanges when its inputs change in the last digit: boxes of equal scores."""
    random = np.random.default_rng(2)
    moved = {blob: x * (1 + ROUNDING * random.standard_normal(x.shape)) for blob, x in inputs.items()}
    return unmatched(rows, np.array(net.forward({blob: x.astype(np.float32) for blob, x in moved.items()})[name]))


def decides_alike(net, inputs, name, folder, run):
    """Whether the layer that decides on rows does it alike for the same bottoms, and its bottoms agree: then boxes
    change places whose scores or overlaps lie nearer to each other, or to a threshold, than rounding."""
    step = net.plan.newest[name].producer
    if not step.layer.shapes_from_data:
        return False
    made = [value for value in step.bottoms if not value.producer.is_input]
    net.to_onnx(folder / "part.onnx", outputs=[*(value.name for value in made), name])
    got = run(folder / "part.onnx", inputs)
    for value in made:
        own = np.array(net.forward(inputs, end=value.producer.name)[value.name])
        if np.abs(got[value.name] - own).max() > TOLERANCE * np.abs(own).max():
            return False
    rows = np.array(net.forward({value.name: got[value.name] for value in made}, start=step.name)[name])
    return not unmatched(rows, got[name]) and not unmatched(got[name], rows)


def compare(path, folder, run=run):
    """What differs between the net in the engine and in another (ONNX Runtime); "" where nothing does."""
    net = Net(path)
    inputs = made_up_inputs(net)
    condition(net, inputs)
    expected = {name: np.array(array) for name, array in net.forward(inputs).items()}
    shapes, _ = fixed_sizes(Part(net.plan))
    net.to_onnx(folder / "net.onnx")
    got = run(folder / "net.onnx", inputs)
    found = {name.split("/")[0]: array for name, array in got.items()} | got
    for name, array in expected.items():
        if net.plan.newest[name].producer.is_input:
            continue
        if None in shapes[net.plan.newest[name]]:  # as many rows as the data decide
            width = array.shape[-1]
            odd = unmatched(array, found[name]), unmatched(found[name], array)
            excused = max(odd) <= FEW * array.size / width or max(odd) <= ties(net, inputs, name, array)
            if not excused and not decides_alike(net, inputs, name, folder, run):
                return f"{name}: of {array.size // width} rows there {odd[0]}, here {odd[1]} are none of the other's"
            continue
        if found[name].shape != array.shape or not np.isfinite(array).all():
            return f"{name}: {found[name].shape} for {array.shape}, or not finite"
        off = np.abs(found[name] - array) > TOLERANCE * np.abs(array).max(initial=0)
        if off.mean() > FEW if off.size else False:
            return f"{name}: {off.mean():.2%} of {off.size} numbers differ by more than {TOLERANCE} of the largest"
    return ""
