"""Any bytes as a weights file, a state or a net: read, or refused in one line."""

import warnings

import numpy as np
import scipy.io
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from demitasse.proto import messages, text, weights
from demitasse.proto.errors import NetError
from tests.test_proto.weights_cases import small_model

QUICK = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def read_quietly(read, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(*arguments)
        except NetError as error:
            assert "\n" not in str(error)


def edited(whole):
    """Bytes changed, removed or put in at random places of a whole file."""
    edit = st.tuples(st.integers(0, len(whole)), st.integers(0, 3), st.binary(max_size=4))
    return st.lists(edit, min_size=1, max_size=4).map(lambda edits: apply(whole, edits))


def apply(whole, edits):
    for at, removed, put_in in edits:
        whole = whole[:at] + put_in + whole[at + removed :]
    return whole


@QUICK
@given(st.binary(max_size=200) | edited(small_model()))
@example(b"\xa2\x06\x06:\x04*\x02ab")
def test_any_bytes_as_weights(tmp_path, content):
    (tmp_path / "net").write_bytes(content)
    for read in (weights.read_model, weights.read_state, weights.read_mean, weights.read_grads):
        read_quietly(read, tmp_path / "net")


STATE = messages.SolverState(iter=300, learned_net="a", history=[messages.BlobProto(data=[1, 2])]).SerializeToString()
MEAN = messages.BlobProto(num=1, channels=1, height=2, width=1, data=[1, 2]).SerializeToString()


@QUICK
@given(edited(STATE) | edited(MEAN))
def test_any_bytes_as_a_state_or_mean(tmp_path, content):
    (tmp_path / "net").write_bytes(content)
    read_quietly(weights.read_state, tmp_path / "net")
    read_quietly(weights.read_mean, tmp_path / "net")


def test_any_bytes_in_other_formats(tmp_path):
    """Seeded edits: making these files anew for each example would be slow."""
    rng = np.random.default_rng(0)
    cell = np.empty((1, 1), object)
    cell[0, 0] = {"name": "conv1", "weights": np.ones((3, 3, 2, 2))}
    for name in ("packed", "plain"):
        scipy.io.savemat(tmp_path / f"{name}.mat", {"layers": cell, "x": "y"}, do_compression=name == "packed")
    for ending in (".npz", ".safetensors"):
        weights.write_weights(tmp_path / f"net{ending}", {"a": [np.ones((2, 3))], "b": [np.ones(1)]})
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for _ in range(150):
            path.write_bytes(
                apply(
                    whole,
                    [
                        (int(rng.integers(len(whole))), int(rng.integers(3)), rng.bytes(rng.integers(4)))
                        for _ in range(3)
                    ],
                )
            )
            read_quietly(weights.read_weights, path)


WORDS = [
    "layer",
    "name",
    "type",
    "{",
    "}",
    "<",
    ">",
    "[",
    "]",
    ":",
    ",",
    ";",
    '"x"',
    "'",
    '"',
    "3",
    "-1",
    "1e99",
    "0x",
    "#",
    "\n",
    " ",
    "convolution_param",
    "kernel_size",
    "include",
    "phase",
    "TRAIN",
    "nan",
    "\\",
    "layers",
    "input_dim",
    "input",
    "clip_param",
    "CONVOLUTION",
    "bottom",
    "loss_weight",
    "blobs",
    "shape",
    "dim",
    "param",
    "999999999999",
]


@QUICK
@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join) | st.text(max_size=80))
def test_any_text(source):
    read_quietly(text.read_net, source + "\n")
    read_quietly(text.read_solver, source + "\n")


NET = (
    'name: "n" input: "data" input_dim: [1, 3, 8, 8] layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" '
    "blobs_lr: 1 include { phase: TRAIN } convolution_param { num_output: 2 kernel_size: 3 pad: 0x1 } }\n"
)


@QUICK
@given(st.lists(st.tuples(st.integers(0, len(NET)), st.integers(0, 5), st.sampled_from(["", *WORDS])), max_size=3))
def test_any_edit_of_a_net(edits):
    read_quietly(text.read_net, apply(NET, edits) + "\n")


@QUICK
@given(st.floats(width=32), st.text(max_size=20), st.binary(max_size=20), st.integers(-(2**31), 2**31 - 1))
def test_whatever_is_printed_reads_back(number, string, data, integer):
    try:
        layer = messages.LayerParameter(name=string, loss_weight=[number])
    except UnicodeEncodeError:  # protobuf's own refusal of half a surrogate pair
        return
    layer.crop_param.axis = integer
    datum = messages.Datum(data=data)
    for message in (layer, datum):
        back, _ = text.parse(text.format(message), type(message))
        assert back.SerializeToString() == message.SerializeToString() or number != number
