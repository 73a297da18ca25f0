"""LSTM, RNN and LSTMUnit: states carried, reset, exposed and saved; and the agreement of all three."""

import json

import numpy as np
import pytest

from demitasse.proto.errors import GraphFault, SchemaFault, ShapeFault
from tests.test_layers import golden
from tests.test_layers.building import build, normal

STATES = {"RNN": ["h"], "LSTM": ["h", "c"]}
UNIT = "type: 'LSTMUnit' bottom: 'c' bottom: 'g' bottom: 'k' top: 'c1' top: 'h1'"
T, N, D, H = 6, 3, 5, 4
every_type = pytest.mark.parametrize("name", STATES)


def make(name, expose=False, steps=T, static=False, **options):
    states = STATES[name] if expose else []
    bottoms = ["x", "cont", *(["static"] if static else []), *states]
    text = f"type: '{name}' " + " ".join(f"bottom: '{b}'" for b in bottoms)
    text += " ".join(f" top: '{t}'" for t in ["y", *(f"last_{s}" for s in states)])
    text += f" recurrent_param {{ num_output: {H} expose_hidden: {str(expose).lower()} }}"
    shapes = [(steps, N, D), (steps, N), *([(N, 2)] if static else []), *[(1, N, H)] * len(states)]
    return build(text, *shapes, **options)


@every_type
def test_a_sequence_in_two_halves_is_the_same_sequence(name):
    whole, halves, x, cont = make(name), make(name, steps=T // 2), normal(T, N, D), np.ones((T, N))
    (y,) = whole.forward([x, cont])
    first, second = (halves.forward([x[s], cont[s]])[0] for s in (slice(0, T // 2), slice(T // 2, T)))
    np.testing.assert_allclose(np.concatenate([first, second]), y)
    again = halves.forward([x[: T // 2], np.zeros((T // 2, N))])[0]  # cont 0: nothing is left of what came before
    fresh = make(name, steps=T // 2).forward([x[: T // 2], np.zeros((T // 2, N))])[0]
    np.testing.assert_allclose(again, fresh)


@every_type
def test_cont_0_begins_a_new_sequence_for_its_column_only(name):
    layer, x, cont = make(name), normal(T, N, D), np.ones((T, N))
    (straight,) = layer.forward([x, cont])
    layer.load_state({})
    cont[2, 1] = 0
    (y,) = layer.forward([x, cont])
    np.testing.assert_array_equal(y[:, [0, 2]], straight[:, [0, 2]])
    np.testing.assert_array_equal(y[:2, 1], straight[:2, 1])
    tail = make(name, steps=T - 2)
    np.testing.assert_allclose(y[2:, 1], tail.forward([x[2:], np.ones((T - 2, N))])[0][:, 1])


@every_type
def test_the_carried_state_survives_as_json(name):
    layer, copy, x, cont = make(name), make(name), normal(T, N, D), np.ones((T, N))
    layer.forward([x, cont])
    copy.load_state(json.loads(json.dumps(layer.state())))
    np.testing.assert_array_equal(copy.forward([x, cont])[0], layer.forward([x, cont])[0])
    assert make(name).state() == {}


@every_type
def test_another_batch_size_starts_afresh(name):
    layer = make(name)
    layer.forward([normal(T, N, D), np.ones((T, N))])
    layer.infer([(T, 2, D), (T, 2)])
    (y,) = layer.forward([normal(T, 2, D), np.ones((T, 2))])
    fresh = make(name)
    fresh.infer([(T, 2, D), (T, 2)])
    np.testing.assert_array_equal(y, fresh.forward([normal(T, 2, D), np.ones((T, 2))])[0])


@every_type
def test_exposed_states_are_those_that_would_be_carried(name):
    carrying, exposed, x, cont = make(name, steps=3), make(name, expose=True, steps=3), normal(3, N, D), np.ones((3, N))
    states = [np.zeros((1, N, H)) for _ in STATES[name]]
    for _ in range(3):
        (y,) = carrying.forward([x, cont])
        same, *states = exposed.forward([x, cont, *states])
        np.testing.assert_allclose(same, y)


@pytest.mark.independent("LSTMUnit")
def test_lstm_agrees_with_lstm_units():
    lstm, x, cont = make("LSTM", static=True), normal(T, N, D), np.ones((T, N))
    cont[3] = [0, 1, 0]
    static = normal(N, 2, seed=5)
    (y,) = lstm.forward([x, cont, static])
    wx, b, ws, wh = (param.data for param in lstm.params)
    unit = build(UNIT, (1, N, H), (1, N, 4 * H), (1, N))
    h = c = np.zeros((1, N, H))
    for t in range(T):
        gates = x[t] @ wx.T + b + static @ ws.T + (cont[t][:, None] * h[0]) @ wh.T
        c, h = unit.forward([c, gates[None], cont[t][None]])
        np.testing.assert_allclose(y[t], h[0])


def test_exposed_lstm_agrees_with_caffe_where_caffe_counts_all_gradients():
    """Caffe drops the gradients of the last states and of the first; with none for the last, the rest is equal."""
    case = golden.case("lstm_expose")
    chain = golden.Chain(case, make("LSTM").be)
    for i, name in enumerate(case.params):
        chain.params[name].data[...] = case.arrays[f"param_{i}"]
    chain.forward([case.arrays[f"bottom_{i}"].astype(float) for i in range(4)])
    grads = chain.backward({chain.newest["t0"]: case.arrays["top_diff_0"].astype(float)})
    assert golden.difference(grads[chain.inputs[0]], case.arrays["bottom_diff_0"], 1e-5) == ""
    for i, name in enumerate(case.params):
        assert golden.difference(chain.params[name].grad, case.arrays[f"param_diff_{i}"], 1e-5) == ""
    assert all(grads[chain.inputs[i]].any() for i in (2, 3))


X = "bottom: 'x' bottom: 'cont' "
FOUR = " recurrent_param { num_output: 4 }"
EXPOSED = " recurrent_param { num_output: 4 expose_hidden: true }"
MISTAKES = [
    ("type: 'LSTM'" + X + "top: 'y'", [(6, 3, 5), (6, 3)], SchemaFault, "needs num_output"),
    (
        "type: 'RNN'" + X + "top: 'y'" + EXPOSED,
        [(6, 3, 5), (6, 3)],
        GraphFault,
        r"2 bottoms and 1 tops: with expose_hidden true the bottoms are x, cont, \[static\], h and the tops y, h",
    ),
    ("type: 'LSTM'" + X + "top: 'y' top: 'h'" + FOUR, [(6, 3, 5), (6, 3)], GraphFault, "and the tops y$"),
    (
        "type: 'LSTM'" + X + "top: 'y'" + FOUR,
        [(6, 3, 5), (3, 6)],
        ShapeFault,
        r"\(6, 3, 5\) and \(3, 6\): needed are \(T, N, ...\) and \(T, N\)",
    ),
    (
        "type: 'LSTM'" + X + "bottom: 's' top: 'y'" + FOUR,
        [(6, 3, 5), (6, 3), (2, 9)],
        ShapeFault,
        r"static has shape \(2, 9\), but x \(6, 3, 5\) has 3 sequences",
    ),
    (
        "type: 'RNN'" + X + "bottom: 'h' top: 'y' top: 'l'" + EXPOSED,
        [(6, 3, 5), (6, 3), (1, 3, 9)],
        ShapeFault,
        r"the state h has shape \(1, 3, 9\): needed is \(1, 3, 4\)",
    ),
    (UNIT, [(1, 3, 4), (1, 3, 4), (1, 3)], ShapeFault, r"needed are \(1, N, H\), \(1, N, 4H\) and \(1, N\)"),
]


@pytest.mark.parametrize("text, shapes, fault, words", MISTAKES)
def test_mistakes(text, shapes, fault, words):
    with pytest.raises(fault, match=words):
        build(text, *shapes)


def unpacked(packed, sizes):
    """Of each LSTM Wx, b and Wh in LSTM's order of gates, out of what cuDNN packs: its order is i, f, g, o."""
    flat, first = packed.reshape(-1), 0
    arrays = []
    for shape in [s for d in sizes for s in ((4 * H, d), (4 * H, H))] + [(4 * H,)] * (2 * len(sizes)):
        i, f, g, o = np.split(flat[first : first + np.prod(shape)].reshape(shape), 4)
        arrays.append(np.concatenate([i, f, o, g]))
        first += np.prod(shape)
    assert first == flat.size
    biases = arrays[2 * len(sizes) :]
    return [(arrays[2 * k], biases[2 * k] + biases[2 * k + 1], arrays[2 * k + 1]) for k in range(len(sizes))]


@pytest.mark.independent("StackedLSTM")
def test_stacked_lstms_are_one_above_the_other():
    x, cont = normal(T, N, D), np.ones((T, N))
    fields = f"recurrent_param {{ num_output: {H} num_layers: 2 }}"
    stack = build(f"type: 'LSTM' bottom: 'x' bottom: 'cont' top: 'y' {fields}", x.shape, cont.shape)
    assert stack.type == "StackedLSTM" and [param.shape[1:] for param in stack.params] == [(1, 1)]
    y = x
    for values in unpacked(stack.params[0].data, (D, H)):
        lstm = build(f"type: 'LSTM' top: 'y' recurrent_param {{ num_output: {H} }}", y.shape, cont.shape)
        for param, given in zip(lstm.params, values, strict=True):
            param.data = given
        (y,) = lstm.forward([y, cont])
    np.testing.assert_allclose(stack.forward([x, cont])[0], y)
    before = json.loads(json.dumps(stack.state()))
    (after,) = stack.forward([x, cont])
    stack.load_state(before)
    np.testing.assert_array_equal(stack.forward([x, cont])[0], after)


def test_states_go_in_and_out_of_stacked_lstms():
    x, cont, h, c = normal(N, 2 * T, D), np.ones((N, 2 * T)), normal(N, H), normal(N, H)
    words = "batch_first: true expose_hidden_input: true expose_hidden_output: true"
    fields = (
        f"recurrent_param {{ num_output: {H} num_layers: 2 {words} auto_repeat_hidden_states_across_layers: true }}"
    )
    text = f"type: 'Lstm' bottom: 'x' bottom: 'cont' bottom: 'h' bottom: 'c' top: 'y' top: 'h1' top: 'c1' {fields}"
    stack = build(text, x.shape, cont.shape, h.shape, c.shape)
    (whole, *last), part = stack.forward([x, cont, h, c]), slice(0, T)
    assert whole.shape == (N, 2 * T, H) and last[0].shape == (2, N, H)
    np.testing.assert_array_equal(whole[:, -1], last[0][1])
    first, *between = stack.forward([x[:, part], cont[:, part], h, c])
    second, *end = stack.forward([x[:, T:], cont[:, part], *between])
    np.testing.assert_allclose(np.concatenate([first, second], 1), whole)
    np.testing.assert_allclose(end, last)


def test_lstm_attention_without_attention_is_lstm():
    x = normal(T, N, D)
    text = "type: '{}' bottom: 'x' {} {{ num_output: 4 clipping_threshold: 0.5 }}"
    other, lstm = (
        build(text.format(*words), x.shape)
        for words in (("LstmAttention", "lstm_attention_param"), ("Lstm", "lstm_param"))
    )
    np.testing.assert_array_equal(other.forward([x])[0], lstm.forward([x])[0])
    with pytest.raises(SchemaFault, match="without enable_attention"):
        build(
            "type: 'LstmAttention' bottom: 'x' lstm_attention_param { num_output: 4 enable_attention: true }", x.shape
        )


@pytest.mark.independent("CTCGreedyDecoder")
def test_how_much_of_a_sequence_is_read_right():
    layer = build("type: 'CTCGreedyDecoder' bottom: 'x' bottom: 'y' top: 'a'", (5, 2, 4), (2, 3))
    said = np.array([[1, 1, 0, 1, 2], [0, 3, 3, 0, 0]])  # read as 1 1 2 and 3
    scores = np.eye(4)[said].transpose(1, 0, 2)
    assert np.isclose(layer.forward([scores, np.array([[1, 2, 0], [3, 0, 0]])])[0], 1 - (1 / 3 + 0) / 2)
    assert layer.forward([scores, np.array([[1, 1, 2], [2, 1, 0]])])[0] == 1 - (0 + 2 / 2) / 2
