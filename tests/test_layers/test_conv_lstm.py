"""ConvLSTM: the paper's equations written out, states from run to run, and what it refuses."""

import numpy as np
import pytest

from demitasse.proto.errors import NetError
from tests.test_layers.building import build, normal

TEXT = "type: 'ConvLSTM' bottom: 'x' bottom: 'cont' {} lstm_conv_param {{ num_output: 2 {} }} lstm_debug_param {{ {} }}"
EXPOSED = "bottom: 'h' bottom: 'c' top: 'y' top: 'h1' top: 'c1' recurrent_param { expose_hidden: true }"
WINDOW = "kernel_size: 3 pad: 1"


def convolved(x, weights):
    """The convolution (N, K, H, W) of images by windows of 3 x 3, with a pad of 1."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = np.zeros((len(x), len(weights), *x.shape[2:]))
    for i, j in np.ndindex(3, 3):
        part = padded[:, :, i : i + x.shape[2], j : j + x.shape[3]]
        y += np.einsum("nchw,kc->nkhw", part, weights[:, :, i, j])
    return y


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.independent("ConvLSTM")
@pytest.mark.parametrize("span", ["", "axis_hadamard: 3 num_axes_hadamard: 2"])
def test_the_paper_s_equations(span):
    xs = [
        normal(3, 2, 3, 4, 5),
        np.array([[0.0, 1], [1, 1], [1, 0]]),
        normal(1, 2, 2, 4, 5),
        normal(1, 2, 2, 4, 5, seed=1),
    ]
    layer = build(TEXT.format(EXPOSED, WINDOW, span), *(x.shape for x in xs))
    wx, b, wh, p_i, p_f, p_o = (param.data for param in layer.params)
    assert p_i.shape == ((4, 5) if span else (2, 4, 5))
    h, c, steps = xs[2][0], xs[3][0], []
    for x, cont in zip(xs[0], xs[1][:, :, None, None, None], strict=True):
        h, c = cont * h, cont * c
        gates = convolved(x, wx) + b[:, None, None] + convolved(h, wh)
        i, f, o, g = (gates[:, 2 * k : 2 * k + 2] for k in range(4))
        i, f = sigmoid(i + p_i * c), sigmoid(f + p_f * c)
        c = f * c + i * np.tanh(g)
        h = sigmoid(o + p_o * c) * np.tanh(c)
        steps.append(h)
    for found, expected in zip(layer.forward(xs), (np.stack(steps), h[None], c[None]), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-10)


def test_states_go_from_run_to_run():
    x, cont = normal(4, 2, 3, 4, 5), np.ones((4, 2))
    whole, halves = (build(TEXT.format("top: 'y'", WINDOW, ""), x.shape, cont.shape) for _ in range(2))
    (y,) = whole.forward([x, cont])
    found = [halves.forward([x[k : k + 2], cont[:2]])[0] for k in (0, 2)]
    np.testing.assert_allclose(np.concatenate(found), y, atol=1e-12)


@pytest.mark.parametrize(
    ("more", "window", "span", "said"),
    [
        ("top: 'y'", "kernel_size: 3", "", r"makes \(2, 3\) of \(4, 5\): sizes must stay"),
        (
            "top: 'y' top: 'h'",
            WINDOW,
            "",
            r"2 bottoms and 2 tops: with expose_hidden false there are 2 \(x, cont\) and 1",
        ),
        ("top: 'y' recurrent_param { num_output: 2 }", WINDOW, "", "num_output is not read"),
        ("top: 'y'", WINDOW, "axis_hadamard: 1", "the axes 2, 3 and 4 can be spanned"),
    ],
)
def test_what_it_refuses(more, window, span, said):
    with pytest.raises(NetError, match=said):
        build(TEXT.format(more, window, span), (3, 2, 3, 4, 5), (3, 2))
