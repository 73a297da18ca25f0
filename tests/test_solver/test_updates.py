"""Update rules against the formulas in plain Python numbers, the order of clip, iter_size and decay, the histories."""

import math

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.layers.layer import Param
from demitasse.proto.errors import SolverFault, WeightsFault
from demitasse.proto.messages import SolverParameter
from demitasse.solver.updates import RULES, Updater, check_update

SHAPES = [(3, 2), (4,)]


def parameters(backend, rng, lr_mults=(1.0, 2.0), decay_mults=(1.0, 0.0)):
    params = []
    for shape, lr_mult, decay_mult in zip(SHAPES, lr_mults, decay_mults, strict=True):
        p = Param(shape)
        p.data, p.lr_mult, p.decay_mult = backend.asarray(rng.normal(size=shape)), lr_mult, decay_mult
        p.grad = backend.zeros(shape)
        params.append(p)
    return params


def one_weight(param, w, gradients, rate, decay, shrink):
    """The values of one weight after each gradient, in Python's float64."""
    mu, mu2, rms, delta = param.momentum, param.momentum2, param.rms_decay, param.delta
    h = h2 = 0.0
    path = []
    for t, g in enumerate(gradients, 1):
        g = g + decay * (math.copysign(1, w) if param.regularization_type == "L1" else w)
        if param.type == "SGD":
            h = mu * h + rate * g
            update = h
        elif param.type == "Nesterov":
            old, h = h, mu * h + rate * g
            update = (1 + mu) * h - mu * old
        elif param.type == "AdaGrad":
            h += g * g
            update = rate * g / (math.sqrt(h) + delta)
        elif param.type == "RMSProp":
            h = rms * h + (1 - rms) * g * g
            update = rate * g / (math.sqrt(h) + delta)
        elif param.type == "AdaDelta":
            h = mu * h + (1 - mu) * g * g
            step = g * math.sqrt((h2 + delta) / (h + delta))
            h2 = mu * h2 + (1 - mu) * step * step
            update = rate * step
        else:
            h, h2 = mu * h + (1 - mu) * g, mu2 * h2 + (1 - mu2) * g * g
            update = rate * math.sqrt(1 - mu2**t) / (1 - mu**t) * h / (math.sqrt(h2) + delta)
            update += rate * shrink * w if param.type == "AdamW" else 0
        w -= update
        path.append(w)
    return path, ([h, h2] if param.type in ("AdaDelta", "Adam", "AdamW") else [h])


@pytest.mark.parametrize("regularization", ["L1", "L2"])
@pytest.mark.parametrize(
    "name, momentum",
    [(name, 0.0) for name in RULES] + [(name, 0.9) for name in RULES if name not in ("AdaGrad", "RMSProp")],
)
def test_rules(name, momentum, regularization):
    param = SolverParameter(
        type=name, momentum=momentum, weight_decay=0.1, delta=1e-3, rms_decay=0.8, regularization_type=regularization
    )
    backend, rng = make_backend("generic", dtype="float64"), np.random.default_rng(1)
    params = parameters(backend, rng)
    start = [p.data.copy() for p in params]
    updater = Updater(param, params, backend)
    gradients = [[rng.normal(size=shape) for shape in SHAPES] for _ in range(6)]
    for t, step in enumerate(gradients, 1):
        for p, g in zip(params, step, strict=True):
            p.grad[...] = g
        updater.apply(0.05, t)
    for i, p in enumerate(params):
        for place in np.ndindex(p.shape):
            path, histories = one_weight(
                param,
                start[i][place],
                [g[i][place] for g in gradients],
                0.05 * p.lr_mult,
                param.weight_decay * p.decay_mult,
                param.adamw_decay * p.decay_mult,
            )
            assert p.data[place] == pytest.approx(path[-1], rel=1e-12)
            for k, expected in enumerate(histories):
                assert updater.history[k][i][place] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_float32_stays_float32_and_arrays_stay_the_same_objects(name):
    backend = make_backend("generic")
    params = parameters(backend, np.random.default_rng(2))
    updater = Updater(SolverParameter(type=name, weight_decay=0.1), params, backend)

    def arrays():
        return [a for p in params for a in (p.data, p.grad)] + [h for histories in updater.history for h in histories]

    before = arrays()
    updater.apply(0.1, 1, scale=0.5)
    assert all(a is b for a, b in zip(before, arrays(), strict=True))
    assert {a.dtype for a in arrays()} == {np.dtype("float32")}


def test_clipping_looks_at_the_undivided_sum_before_decay():
    backend, rng = make_backend("generic", dtype="float64"), np.random.default_rng(3)
    params = parameters(backend, rng)
    for p in params:
        p.grad += rng.normal(size=p.shape)
    norm = math.sqrt(sum(float((p.grad**2).sum()) for p in params))
    updater = Updater(SolverParameter(clip_gradients=norm / 4, weight_decay=7.0, iter_size=5), params, backend)
    assert updater.gradient_norm() == pytest.approx(norm, rel=1e-12)
    scale, seen = updater.clip_scale()
    assert scale == pytest.approx(1 / 4, rel=1e-6) and seen == pytest.approx(norm)
    expected = [p.data - 0.1 * p.lr_mult * (p.grad * scale / 5 + 7.0 * p.decay_mult * p.data) for p in params]
    updater.apply(0.1, 1, scale=scale / 5)
    for p, w in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.data, w, rtol=1e-6)


@pytest.mark.parametrize("policy", ["scale", "clip"])
@pytest.mark.parametrize("rate", [0.5, 1e-5])
def test_larc_gives_each_array_a_rate_by_its_size_beside_its_gradient(policy, rate):
    backend, rng = make_backend("generic", dtype="float64"), np.random.default_rng(0)
    params = parameters(backend, rng)
    param = SolverParameter(larc=True, larc_policy=policy, larc_eta=0.02, weight_decay=0.1)
    updater, expected = Updater(param, params, backend), []
    for i, p in enumerate(params):
        p.grad[...] = rng.normal(size=p.shape) * (i + 1)
        g, w = p.grad * 0.5, p.data.copy()
        ratio = np.float32(0.02) * np.linalg.norm(w) / np.linalg.norm(g)
        own = min(rate, ratio) if policy == "clip" else rate * ratio
        expected.append(w - own * (g + np.float32(0.1) * p.decay_mult * w))
    updater.apply(rate, 1, 0.5)
    for p, wanted in zip(params, expected, strict=True):
        np.testing.assert_allclose(p.data, wanted)
    params[0].grad[...] = 0  # nothing to compare with: the usual rate
    before = params[0].data.copy()
    updater.apply(1e-3, 2)
    assert np.isfinite(params[0].data).all() and (params[0].data != before).all()


def test_a_norm_below_the_limit_is_left_alone():
    backend = make_backend("generic")
    params = parameters(backend, np.random.default_rng(4))
    params[0].grad += 1
    assert Updater(SolverParameter(clip_gradients=100), params, backend).clip_scale()[0] == 1
    assert Updater(SolverParameter(), params, backend).clip_scale() == (1.0, 0.0)


@pytest.mark.parametrize("name", RULES)
def test_what_is_not_learned_is_not_touched(name):
    backend = make_backend("generic")
    params = parameters(backend, np.random.default_rng(5), lr_mults=(0.0, 1.0))
    frozen = params[0].data.copy()
    params[0].grad += 1
    updater = Updater(SolverParameter(type=name, weight_decay=0.5), params, backend)
    updater.apply(0.1, 1)
    assert np.array_equal(params[0].data, frozen)
    assert [h[0] for h in updater.history] == [None] * len(updater.history)
    assert not updater.host_history()[0].any() and updater.host_history()[0].shape == SHAPES[0]


@pytest.mark.parametrize("name", RULES)
def test_histories_go_to_a_file_and_back(name):
    backend = make_backend("generic")
    updaters = []
    for seed in (6, 7):
        params = parameters(backend, np.random.default_rng(seed))
        for p in params:
            p.grad += 0.3
        updaters.append(Updater(SolverParameter(type=name), params, backend))
    updaters[0].apply(0.1, 1)
    saved = updaters[0].host_history()
    assert [h.shape for h in saved] == SHAPES * (2 if name in ("AdaDelta", "Adam", "AdamW") else 1)
    updaters[1].load_history([saved[0], *[h.reshape(1, 1, *h.shape) for h in saved[1:]]])  # legacy shapes
    for a, b in zip(saved, updaters[1].host_history(), strict=True):
        assert np.array_equal(a, b)


def test_histories_of_another_solver_or_net_are_refused():
    backend = make_backend("generic")
    updater = Updater(SolverParameter(type="Adam"), parameters(backend, np.random.default_rng(8)), backend)
    with pytest.raises(WeightsFault, match=r"2 history arrays, Adam on its net here 4"):
        updater.check_history([np.ones(s) for s in SHAPES])
    with pytest.raises(WeightsFault, match=r"history 3 of the state has shape \(5,\), the parameter \(4,\)"):
        updater.check_history([np.ones(SHAPES[0]), np.ones(SHAPES[1]), np.ones(SHAPES[0]), np.ones(5)])


def test_the_last_update_can_be_put_where_caffe_leaves_it():
    for name in RULES:
        backend = make_backend("generic")
        params = parameters(backend, np.random.default_rng(9))
        for p in params:
            p.grad += 0.5
        before = [p.data.copy() for p in params]
        updater = Updater(SolverParameter(type=name), params, backend)
        updater.apply(0.1, 1)
        updater.updates_to_grads()
        for p, w in zip(params, before, strict=True):
            np.testing.assert_allclose(p.grad, w - p.data, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"type": "Adamm"}, ["unknown solver type 'Adamm'", "did you mean 'Adam'"]),
        ({"type": "adam"}, ["did you mean 'Adam'"]),
        ({"type": "SGDD"}, ["did you mean 'SGD'"]),
        ({"type": "LBFGS"}, ["known: SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam"]),
        ({"type": "AdaGrad", "momentum": 0.9}, ["AdaGrad has no momentum", "0.9", "remove it"]),
        ({"type": "RMSProp", "momentum": 0.9}, ["RMSProp has no momentum"]),
        ({"momentum": 99}, ["momentum is 99", "below 1"]),
        ({"type": "Adam", "momentum2": 1}, ["momentum2 is 1"]),
        ({"rms_decay": 1.5}, ["rms_decay is 1.5"]),
        ({"iter_size": 0}, ["iter_size is 0", "at least 1"]),
        ({"clip_gradients": 0}, ["clip_gradients is 0", "freeze"]),
        ({"larc_policy": "auto"}, ["larc_policy 'auto'", "scale or clip"]),
        ({"larc": True, "larc_eta": 0}, ["larc_eta 0", "above 0"]),
        ({"regularization_type": "L3"}, ["unknown regularization_type 'L3'", "L1, L2"]),
    ],
)
def test_fields_that_cannot_work(fields, words):
    with pytest.raises(SolverFault) as fault:
        check_update(SolverParameter(**fields))
    for word in words:
        assert word in str(fault.value)
    assert "\n" not in str(fault.value)
