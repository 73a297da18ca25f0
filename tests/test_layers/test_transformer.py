"""MyCaffe's layers of GPT, against loops over heads and steps; and a net of them that learns a text."""

import numpy as np
import pytest

from demitasse.layers.layer import TEST
from demitasse.netdef.net import Net
from demitasse.netdef.plan import Plan
from demitasse.proto.errors import DataFault, NetError
from tests.test_layers.building import build, normal
from tests.test_layers.data_sets import batches, layer


def normalised(row):
    return (row - row.mean()) / np.sqrt(row.var() + 1e-10)


@pytest.mark.independent("LayerNorm")
def test_layer_norm_is_of_each_vector():
    x = normal(2, 3, 4, 5)
    (y,) = build("type: 'LayerNorm'", x.shape).forward([x])
    for n, t in np.ndindex(2, 3):
        np.testing.assert_allclose(y[n, t], normalised(x[n, t]))


@pytest.mark.independent("TransformerBlock")
@pytest.mark.parametrize("activation", ["RELU", "GELU_BERT"])
def test_block_attends_to_the_same_and_earlier_steps(activation):
    heads, size, steps = 2, 6, 4
    fields = f"transformer_block_param {{ heads: {heads} embed: {size} activation: {activation} }}"
    x = normal(2, steps, size)
    block = build(f"type: 'TransformerBlock' {fields}", x.shape, phase=TEST)
    in_w, in_b, out_w, out_b, up_w, up_b, down_w, down_b = (param.data for param in block.params)
    (y,) = block.forward([x])
    for item in range(2):
        packed = [in_w @ normalised(row) + in_b for row in x[item]]
        for t in range(steps):
            mixed = np.empty(size)
            for head in range(heads):
                part = [slice(k * size + head * 3, k * size + head * 3 + 3) for k in range(3)]
                scores = [packed[t][part[0]] @ packed[s][part[1]] / np.sqrt(3) for s in range(t + 1)]
                weights = np.exp(scores) / np.exp(scores).sum()
                mixed[part[0]] = sum(weight * packed[s][part[2]] for s, weight in enumerate(weights))
            row = x[item, t] + out_w @ mixed + out_b
            hidden = up_w @ normalised(row) + up_b
            if activation == "RELU":
                hidden = hidden.clip(0)
            else:
                hidden = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
            np.testing.assert_allclose(y[item, t], row + down_w @ hidden + down_b, rtol=1e-9)


@pytest.mark.parametrize(
    "fields, said",
    [
        ("embed: 7 heads: 2", "a multiple of heads"),
        ("embed: 6 heads: 2 block_type: ENCODER", "CAUSAL_SELF_ATTENTION"),
        ("embed: 6 heads: 2 activation: GELU", "GELU_BERT"),
        ("embed: 6 heads: 2 block_size: 3", "T at most block_size 3"),
        ("embed: 12 heads: 2", r"\(N, T, 12\)"),
    ],
)
def test_what_a_block_cannot_be_is_said(fields, said):
    with pytest.raises(NetError, match=said):
        build(f"type: 'TransformerBlock' transformer_block_param {{ {fields} }}", (1, 4, 6))


TEXT = "the cat sat on the mat, and the rat ate the cat's fat hat. " * 4
DATA = "type: 'TokenizedData' tokenized_data_param {{ source: '{}' batch_size: 5 block_size: 8 }}"


@pytest.mark.independent("TokenizedData")
def test_tokens_are_followed_by_those_of_the_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(TEXT)
    letters = sorted(set(TEXT))
    made = layer(DATA.format(path) + " top: 'a' top: 'b' top: 'c'")
    for tokens, places, following in batches(made, 3):
        assert np.array_equal(places, np.tile(np.arange(8), (5, 1)))
        for row, after in zip(tokens, following, strict=True):
            assert "".join(letters[int(t)] for t in [*row, after[-1]]) in TEXT and np.array_equal(row[1:], after[:-1])
    path.write_text("short")
    with pytest.raises(DataFault, match="has 5 characters: more than block_size 8"):
        layer(DATA.format(path))


GPT = """
layer {{ name: 'd' {data} top: 'tok' top: 'pos' top: 'next' }}
layer {{ name: 'wte' type: 'Embed' bottom: 'tok' top: 't'
        embed_param {{ num_output: 16 input_dim: 20 bias_term: false weight_filler {{ type: 'gaussian' std: 0.1 }} }} }}
layer {{ name: 'wpe' type: 'Embed' bottom: 'pos' top: 'p'
        embed_param {{ num_output: 16 input_dim: 8 bias_term: false weight_filler {{ type: 'gaussian' std: 0.1 }} }} }}
layer {{ name: 'sum' type: 'Eltwise' bottom: 't' bottom: 'p' top: 's'
        eltwise_param {{ allow_single_batch_input: true }} }}
layer {{ name: 'b' type: 'TransformerBlock' bottom: 's' top: 'b'
        transformer_block_param {{ heads: 2 embed: 16 layers: 1 block_size: 8 resid_dropout: 0 attn_dropout: 0 }} }}
layer {{ name: 'ln' type: 'LayerNorm' bottom: 'b' top: 'n' }}
layer {{ name: 'ip' type: 'InnerProduct' bottom: 'n' top: 'y'
        inner_product_param {{ num_output: 20 axis: 2 weight_filler {{ type: 'gaussian' std: 0.1 }} }} }}
layer {{ name: 'loss' type: 'SoftmaxCrossEntropy2Loss' bottom: 'y' bottom: 'next' top: 'loss'
        softmax_param {{ axis: 2 }} loss_param {{ normalization: BATCH_SIZE }} }}
"""


@pytest.mark.filterwarnings("ignore:without effect here")
def test_a_small_gpt_learns_what_follows(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    net = Net(GPT.format(data=DATA.format(tmp_path / "a.txt")), "TRAIN", seed=1)
    losses = []
    for _ in range(60):
        losses.append(float(net.forward()["loss"]))
        net.backward()
        for param in net.plan.learnable:
            param.data -= 0.5 * param.grad
            param.grad[...] = 0
    net.close()
    assert losses[0] > 2.5 and np.mean(losses[-5:]) < 0.75 * losses[0]


@pytest.mark.filterwarnings("ignore:without effect here")
def test_a_gpt_is_sized_without_its_text():
    plan = Plan(GPT.format(data=DATA.format("gone")), "TRAIN")
    assert [value.shape for value in plan.values][:3] == [(5, 8)] * 3
    plan.close()


@pytest.mark.independent("LogSoftmax")
@pytest.mark.parametrize("text, logs", [("algorithm: LOG", True), ("algorithm: ACCURATE algorithm_train: LOG", False)])
def test_softmax_by_logarithms_is_the_logarithm_of_softmax(text, logs):
    net = (
        "layer {{ name: 'i' type: 'Input' top: 'x' input_param {{ shape {{ dim: 4 dim: 5 }} }} }}\n"
        "layer {{ name: 's' type: 'Softmax' bottom: 'x' top: 'y' softmax_param {{ {} }} }}\n"
    )
    x = normal(4, 5).astype(np.float32)
    plain, trained, tested = (
        np.asarray(Net(net.format(fields), phase).forward({"x": x})["y"])
        for fields, phase in (("", "TEST"), (text, "TRAIN"), (text, "TEST"))
    )
    np.testing.assert_allclose(trained, np.log(plain), atol=1e-6)
    np.testing.assert_allclose(tested, np.log(plain) if logs else plain, atol=1e-6)


@pytest.mark.independent("NLLLoss")
def test_nll_loss_is_the_mean_of_what_labels_have():
    x, labels = normal(2, 3, 4), np.array([[0, 2, 2, 1], [1, 1, 0, 2]])
    layer = build("type: 'NLLLoss' bottom: 'x' bottom: 'l'", x.shape, labels.shape)
    own = [x[n, labels[n, i], i] for n, i in np.ndindex(2, 4)]
    np.testing.assert_allclose(layer.forward([x, labels])[0], -np.mean(own))
