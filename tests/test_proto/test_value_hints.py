"""Values written as elsewhere: one line says what to write in a prototxt."""

import pytest

from demitasse.proto.errors import NetError
from demitasse.proto.messages import NetParameter, SolverParameter
from demitasse.proto.text import parse

LAYER = 'layer {{ name: "c" type: "Convolution" convolution_param {{\n{}\n}} }}'
IN_A_NET = {
    "kernel_size: 3x3": "kernel_size: 3",
    "kernel_size: 3 x 3": "kernel_size: 3",
    "kernel_size: 3x5": "kernel_h: 3 kernel_w: 5",
    "dilation: 2x3": "dilation: [2, 3]",
    "kernel_size: 3*3": "kernel_size: 3",
    "kernel_size: 9/3": "kernel_size: 3",
    "kernel_size: 3.0": "kernel_size: 3",
    "kernel_size: '3'": "kernel_size: 3",
    "kernel_size: 3px": "kernel_size: 3",
    "kernel_size: 3, 5": "kernel_size: [3, 5]",
    "bias_term: yes": "bias_term: true",
    "bias_term: FALSE": "bias_term: false",
    "bias_term: 'true'": "bias_term: true",
    "pad: VALID": "pad: 0",
    "kernel_size: (3, 5)": "kernel_size: [3, 5]",
    "kernel_size: [3x3]": "kernel_size: 3",
    "num_output: 256*2": "num_output: 512",
    "weight_filler { std: 1e\u20134 }": "std: 1e-4",
    "weight_filler { std: 1/100 }": "std: 0.01",
    "weight_filler { std: '0.1' }": "std: 0.1",
}
IN_A_SOLVER = {
    "base_lr: 1e\u22124": "base_lr: 1e-4",
    "base_lr: 1 e-4": "base_lr: 1e-4",
    "base_lr: 1e -4": "base_lr: 1e-4",
    "base_lr: 1d-4": "base_lr: 1e-4",
    "base_lr: 10^-4": "base_lr: 0.0001",
    "base_lr: 1/1000": "base_lr: 0.001",
    "max_iter: 100k": "max_iter: 100000",
    "max_iter: 1.5k": "max_iter: 1500",
    "max_iter: \uff13": "max_iter: 3",
    "max_iter: 1.000.000": "max_iter: 1000000",
    "max_iter: 20.000": "max_iter: 20000",
    "base_lr: 1.000,5": "base_lr: 1000.5",
    "base_lr: sqrt(2)": "base_lr: 1.41421356",
    "base_lr: np.sqrt(2) / 4": "base_lr: 0.353553391",
    "base_lr: 1e-3/10": "base_lr: 0.0001",
    "base_lr: 5*10^-4": "base_lr: 0.0005",
    "base_lr: 5 x 10^-4": "base_lr: 0.0005",
    "base_lr: 5%": "base_lr: 0.05",
    "stepvalue: (10, 20)": "stepvalue: [10, 20]",
    "stepvalue: {10, 20}": "stepvalue: [10, 20]",
    "stepvalue: [10 20]": "stepvalue: [10, 20]",
    "stepvalue: 10k,20k": "stepvalue: [10000, 20000]",
    "net: C:/nets/train.prototxt": 'net: "C:/nets/train.prototxt"',
    "max_iter: 1e5": "max_iter: 100000",
    "max_iter: 100,000": "max_iter: 100000",
    "max_iter: 100 000": "max_iter: 100000",
    "max_iter: 100_000": "max_iter: 100000",
    "stepvalue: 10, 20": "stepvalue: [10, 20]",
    "stepvalue: 10 20 30": "stepvalue: [10, 20, 30]",
    "net: train.prototxt": 'net: "train.prototxt"',
    "snapshot_prefix: runs/a": 'snapshot_prefix: "runs/a"',
}


@pytest.mark.parametrize("written", IN_A_NET)
def test_in_a_net(written):
    with pytest.raises(NetError) as caught:
        parse(LAYER.format(written), NetParameter, "net")
    said = str(caught.value)
    assert said.startswith("net:2:") and ": layer 'c' (Convolution): " in said
    assert said.endswith(f": write {IN_A_NET[written]}") and "\n" not in said


@pytest.mark.parametrize("written", IN_A_SOLVER)
def test_in_a_solver(written):
    for more in ("", ' type: "SGD"', "\nmomentum: 0.9"):
        with pytest.raises(NetError) as caught:
            parse(written + more, SolverParameter, "solver")
        assert str(caught.value).startswith("solver:1:")
        assert str(caught.value).endswith(f": write {IN_A_SOLVER[written]}")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("base_lr: auto", "base_lr takes a number, not auto"),
        ("max_iter: -1.5", "max_iter takes an integer, not -1.5"),
        ("max_iter: 1/2", "max_iter takes an integer, not 1/2: 0.5 is no whole number"),
        ("max_iter: 99999999999", "max_iter takes an integer up to 2147483647, not 99999999999"),
        ("base_lr: 0,001", "base_lr: 0,001 has a comma where a decimal point belongs: write 0.001"),
        (
            "base_lr: 0.1 max_iter: 10 momentun: 0.9",
            "SolverParameter has no field 'momentun' (did you mean 'momentum'?)",
        ),
        ("max_iter: 10 epochs", "training is counted in iterations, of which an epoch has its images by the batch"),
        ("test_iter: [1, 2 3]", "',' or ']' expected in a list, not '3'"),
        (
            "stepvalue: [(10), 20]",
            "unexpected character '(': several values are written one by one (dim: 1 dim: 3), or in brackets ([1, 3])",
        ),
    ],
)
def test_what_cannot_be_guessed_is_said_as_it_was(text, says):
    with pytest.raises(NetError) as caught:
        parse(text, SolverParameter)
    assert str(caught.value).endswith(says)


@pytest.mark.parametrize("word", ["None", "off", "never", "null"])
def test_no_value_is_left_out(word):
    for field, default in (("snapshot", "which stands for 0"), ("clip_gradients", "which stands for -1.0")):
        with pytest.raises(NetError, match=f"not {word}: leave {field} out, {default}$"):
            parse(f"{field}: {word}", SolverParameter)
    with pytest.raises(NetError, match="leave kernel_size out$"):
        parse(LAYER.format(f"kernel_size: {word}"), NetParameter)


def test_what_a_prototxt_may_hold_is_read_as_before():
    solver, _ = parse("base_lr: .5f momentum: 1.e-2; stepvalue: [1, 2] stepvalue: 0x10 max_iter: 010", SolverParameter)
    assert (solver.base_lr, list(solver.stepvalue), solver.max_iter) == (0.5, [1, 2, 16], 8)
