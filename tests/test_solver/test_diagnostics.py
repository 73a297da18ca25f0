"""Warnings before a night is lost: weights of zeros, rates and schedules that teach nothing."""

from types import SimpleNamespace

import numpy as np
import pytest

from demitasse.layers.fillers import diagonal_bilinear, fill
from demitasse.netdef.plan import Plan
from demitasse.proto.messages import FillerParameter
from demitasse.proto.text import read_net, read_solver
from demitasse.solver import diagnostics
from demitasse.solver.bilinear import fill_zero_deconvolutions
from tests.test_solver import small
from tests.test_solver.fcn_net import fcn


def test_a_deconvolution_that_stays_zero(make_at):
    solver, log = make_at(fcn())
    solver.solve()
    first, second = log.warnings
    assert "'up' (Deconvolution) are all zero and lr_mult 0 keeps them so" in first and "--bilinear" in first
    assert "'loss' (SoftmaxWithLoss) reads are still all the same" in second and "ln 5 = 1.6094" in second
    assert "the weights of 'up' (Deconvolution) and of 'score' (Convolution) are zero" in second


def test_bilinear_weights_cure_it_and_only_it(make_at):
    solver, log = make_at(fcn())
    assert fill_zero_deconvolutions(solver.net) == ["up"]
    assert fill_zero_deconvolutions(solver.net) == []
    solver.solve()
    assert log.warnings == [] and solver.net.loss < 1.6
    weights = solver.net.params["up"][0].data
    kernel = fill((1, 1, 4, 4), FillerParameter(type="bilinear"), None)[0, 0]
    for i in range(5):
        for j in range(5):
            assert np.array_equal(weights[i, j], kernel if i == j else np.zeros((4, 4)))


def test_bilinear_weights_of_a_grouped_deconvolution():
    weights = diagonal_bilinear((4, 1, 3, 3))
    assert all(np.array_equal(weights[i, 0], weights[0, 0]) and weights[i, 0].sum() == 4 for i in range(4))


def test_layers_of_zeros_behind_each_other(make_at):
    solver, log = make_at(fcn(weights=""))
    fill_zero_deconvolutions(solver.net)
    solver.step(1)
    assert len(log.warnings) == 1
    assert "'score' (Convolution) are all zero, and so are those of a layer before" in log.warnings[0]


def test_score_layers_that_start_at_zero_are_how_fcn_starts(make_at):
    solver, log = make_at(fcn())
    fill_zero_deconvolutions(solver.net)
    solver.step(3)
    assert log.warnings == []
    assert solver.net.before_forward == [], "who has seen enough leaves"


@pytest.mark.parametrize("fields", ["iter_size: 3", "iter_size: 2 momentum: 0.9 clip_gradients: 0.1"])
def test_scores_may_be_equal_until_the_first_update(make_at, fields):
    """Several passes an update: all of the first iteration's see scores of zero."""
    solver, log = make_at(fcn(), fields=fields)
    fill_zero_deconvolutions(solver.net)
    solver.step(3)
    assert log.warnings == [] and solver.net.loss < np.log(5)


def test_the_smallest_published_rate_makes_scores_differ(make_at):
    solver, log = make_at(fcn(normalize="false"), rate=1e-14, fields="momentum: 0.99")
    fill_zero_deconvolutions(solver.net)
    solver.step(3)
    assert not [line for line in log.warnings if "all the same" in line]


def test_images_without_labels_teach_nothing_yet(make_at):
    """The first images are all void: equal scores after an update on them are no fault."""
    net = fcn().replace("loss_param { ", "loss_param { ignore_label: 1 ")
    solver, log = make_at(net)
    fill_zero_deconvolutions(solver.net)
    solver.step(3)
    assert log.warnings == [] and float(solver.net.loss) == 0


def muted(layer):
    """The net with a layer between the upsampled scores and the loss."""
    net = fcn().replace(
        'layer { name: "loss" ', f'layer {{ name: "mute" bottom: "up" top: "mute" {layer} }}\nlayer {{ name: "loss" '
    )
    return net.replace('bottom: "up" bottom: "label"', 'bottom: "mute" bottom: "label"')


def test_a_frozen_scale_of_zeros(make_at):
    net = muted('type: "Scale" param { lr_mult: 0 } scale_param { filler { type: "constant" value: 0 } }')
    solver, log = make_at(net)
    fill_zero_deconvolutions(solver.net)
    solver.step(2)
    first, second = log.warnings
    assert "'mute' (Scale) are all zero and lr_mult 0 keeps them so" in first and "bilinear" not in first
    assert "the weights of 'mute' (Scale) and of 'score' (Convolution) are zero" in second


def test_zeros_without_weights_are_found_in_the_second_iteration_only(make_at):
    """No rule on weights sees a Power of scale 0, the equal scores show it."""
    net = muted('type: "Power" power_param { scale: 0 }')
    solver, log = make_at(net, fields="iter_size: 2")
    fill_zero_deconvolutions(solver.net)
    solver.step(1)
    assert log.warnings == []
    solver.step(1)
    (line,) = log.warnings
    assert "still all the same after an update" in line and "the weights of 'score' (Convolution) are zero" in line
    solver.step(2)
    assert len(log.warnings) == 1


def test_a_summed_loss_is_said_beside_the_rate_and_shown_per_label(make_at):
    solver, log = make_at(fcn(normalize="false"), rate=1e-4)
    solver.step(1)
    assert "sums its loss over 64 labels: base_lr 0.0001 acts as 0.0064 would on the mean" in log.lines[0]
    assert f"    loss per label = {solver.net.loss / 64:g}" in log.lines


@pytest.mark.parametrize(
    "normalize, rate, fields, words",
    [
        ("false", 0.1, "momentum: 0.99", ["base_lr 0.1", "64 times its mean", "NaN", "normalize: true"]),
        ("true", 0.5, "momentum: 0.99", ["1 times its mean", "a base_lr near 1e-03"]),
        ("true", 1e-10, "", ["changes next to nothing", "normalize: false"]),
    ],
)
def test_rates_that_have_never_trained_anything(make_at, normalize, rate, fields, words):
    solver, log = make_at(fcn(normalize=normalize), rate, fields)
    fill_zero_deconvolutions(solver.net)
    solver.step(1)
    assert len(log.warnings) == 1 and [word for word in words if word not in log.warnings[0]] == []


@pytest.mark.parametrize(
    "normalize, rate, fields",
    [
        ("false", 1e-10, "momentum: 0.99"),
        ("true", 1e-4, "momentum: 0.9"),
        ("true", 0.01, "momentum: 0.9"),
        ("true", 1e-10, 'type: "AdaDelta"'),
    ],
)
def test_rates_that_do_train(make_at, normalize, rate, fields):
    solver, log = make_at(fcn(normalize=normalize), rate, fields)
    fill_zero_deconvolutions(solver.net)
    solver.step(1)
    assert log.warnings == []


@pytest.mark.parametrize(
    "fields, words",
    [
        ('lr_policy: "multistep" gamma: 0.1', "multistep without a stepvalue: the rate stays at base_lr"),
        ('lr_policy: "fixed"', ""),
        ('lr_policy: "step" stepsize: 2 gamma: 2', "gamma is 2: with lr_policy step the rate grows"),
        ('lr_policy: "exp" gamma: 1', "gamma is 1: with lr_policy exp the rate stays at base_lr"),
        ('lr_policy: "exp" gamma: 1.1', "gamma is 1.1: with lr_policy exp the rate grows"),
        ('lr_policy: "step" stepsize: 8 gamma: 0.1', "stepsize 8 is not before max_iter 8"),
        ('lr_policy: "multistep" stepvalue: 4 stepvalue: 9 gamma: 0.1', "stepvalue 9 is not before max_iter 8"),
        ('lr_policy: "step" stepsize: 4 gamma: 0.1', ""),
    ],
)
def test_schedules_that_do_nothing(fields, words):
    lines = diagnostics.schedule_warnings(read_solver(f"base_lr: 0.1 max_iter: 8\n{fields}")[0])
    assert [words in line for line in lines] == [True] * bool(words)


def test_a_rate_of_zero():
    still = diagnostics.schedule_warnings(read_solver('base_lr: 0 lr_policy: "fixed"\n')[0])
    assert still == ["base_lr is 0: nothing is learned"]


RELEASED = (
    "nyud-fcn32s-color nyud-fcn32s-color-d nyud-fcn32s-color-hha nyud-fcn32s-hha pascalcontext-fcn16s "
    "pascalcontext-fcn32s pascalcontext-fcn8s siftflow-fcn16s siftflow-fcn32s siftflow-fcn8s voc-fcn-alexnet "
    "voc-fcn16s voc-fcn32s voc-fcn8s voc-fcn8s-atonce"
).split()


@pytest.mark.parametrize("name", RELEASED)
def test_no_warning_on_what_the_authors_did(name):
    """Their rates on our nets, of images as small and as large as their data sets have."""
    folder = small.ROOT / "models" / name
    param, _ = read_solver(str(folder / "solver.prototxt"))
    text = (folder / param.train_net).read_text()
    images = {"data": 3, "color": 3, "depth": 1, "hha": 3, "label": 1, "sem": 1, "geo": 1}
    tops = [top for layer in read_net(text)[0].layer if not layer.bottom for top in layer.top]
    for size in ((96, 128), (240, 360), (500, 500)):
        plan = Plan(text, "TRAIN", inputs={top: (1, images[top], *size) for top in tops})
        net = SimpleNamespace(plan=plan, backend=None)
        assert diagnostics.schedule_warnings(param) + diagnostics.rate_warnings(net, param) == []
        sums = diagnostics.normalisation_lines(net, param)
        assert all(f"over {size[0] * size[1]} labels" in line for line in sums)
        assert bool(sums) == ("alexnet" not in name)


def test_a_rate_that_is_too_small_for_a_sum_too(make_at):
    solver, log = make_at(fcn(normalize="false"), 1e-15)
    fill_zero_deconvolutions(solver.net)
    solver.step(1)
    assert "whose loss sums over 64 labels, changes next to nothing: the slowest published" in log.warnings[0]
