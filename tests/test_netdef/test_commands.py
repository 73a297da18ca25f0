"""python -m netdef ..."""

import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from demitasse.layers.layer import layer_types
from demitasse.netdef.__main__ import main
from demitasse.netdef.diff import diff_weights
from demitasse.proto.text import read_net
from demitasse.proto.weights import read_model, read_weights, write_weights
from tests.test_netdef import goldens
from tests.test_netdef.texts import SMALL, blob, build, conv, layer


@pytest.fixture
def file(tmp_path):
    def write(text, name="net.prototxt"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def run(*arguments):
    command = [sys.executable, "-m", "netdef", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=goldens.ROOT)


def test_show(file, capsys):
    assert main(["show", file(SMALL)]) == 0
    out = capsys.readouterr().out
    assert "1x4x6x6" in out and "SoftmaxWithLoss" in out


def test_show_with_other_sizes(file, capsys):
    net = file(SMALL)
    assert main(["show", net, "--input", "data=2x3x20x20", "--input", "label=2,1,18,18"]) == 0
    assert "2x4x18x18" in capsys.readouterr().out
    assert main(["show", net, "--input", "data:2x3"]) == 2
    assert "write the blob's name and its shape, as data=1x3x500x500" in capsys.readouterr().err
    assert main(["show", net, "--input", "dta=1x3x8x8"]) == 2
    assert "no input 'dta' (did you mean 'data'?)" in capsys.readouterr().err


def test_show_without_the_data(file, capsys):
    text = (
        layer("Python", "data", "", "data label", "python_param { module: 'no_such_module' layer: 'X' }")
        + conv("c", "data", 4, 1)
        + layer("SoftmaxWithLoss", "loss", "c label")
    )
    net = file(text)
    assert main(["show", net]) == 2
    assert "to size the net without this layer: --input data=1x3x500x500" in capsys.readouterr().err
    assert main(["show", net, "--input", "data=1x3x50x60"]) == 0
    assert "1x3x50x60 + 1x1x50x60" in capsys.readouterr().out


def test_show_of_a_phase_and_stage(file, capsys):
    net = file(
        blob()
        + layer("ReLU", "train", "data", more="include { phase: TRAIN }")
        + layer("TanH", "deep", "data", more='include { stage: "deploy" min_level: 2 }')
    )
    main(["show", net, "--phase", "train"])
    assert "ReLU" in capsys.readouterr().out
    main(["show", net, "--stage", "deploy", "--level", "2"])
    assert "TanH" in capsys.readouterr().out


def test_a_mistake_is_one_line_and_status_2(file):
    net = file(blob() + layer("ReLU", "r", "dta"))
    done = run("show", net)
    assert done.returncode == 2 and done.stdout == ""
    assert (
        done.stderr == f"{net}:2:40: layer 'r' (ReLU): bottom 0 reads 'dta', which no layer makes "
        "(did you mean 'data'?)\n"
    )
    done = run("show", net, "--traceback")
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_draw(file, tmp_path, capsys):
    assert main(["draw", file(SMALL), str(tmp_path / "net.svg")]) == 0
    assert (tmp_path / "net.svg").read_text().startswith("<svg")


def test_types(capsys):
    assert main(["types"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == layer_types()


OLD = """input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1 blobs_lr: 2
         convolution_param { num_output: 2 kernel_size: 3 } }
"""


def test_upgrade_of_text(file, tmp_path, capsys):
    target = str(tmp_path / "new.prototxt")
    assert main(["upgrade", file(OLD), target]) == 0
    net, _ = read_net(target)
    assert [layer.type for layer in net.layer] == ["Input", "Convolution"] and not net.layers
    assert main(["diff", file(OLD), target]) == 0


def test_upgrade_of_a_solver(file, tmp_path, capsys):
    target = tmp_path / "new.prototxt"
    assert main(["upgrade", file('net: "n.prototxt"\nbase_lr: 0.1\nsolver_type: ADAM\n'), str(target)]) == 0
    assert 'type: "Adam"' in target.read_text() and "solver_type" not in target.read_text()
    assert main(["upgrade", file("neither: 1\n"), str(target)]) == 2
    assert "NetParameter has no field 'neither'" in capsys.readouterr().err


def test_upgrade_of_weights(tmp_path, capsys):
    old = goldens.ROOT.parent / "shared" / "weights" / "lenet-v1" / "lenet_iter_10000.caffemodel"
    if not old.exists():
        pytest.skip(f"needs {old}")
    new = str(tmp_path / "new.caffemodel")
    assert main(["upgrade", str(old), new]) == 0
    assert main(["diff", str(old), new]) == 0
    assert main(["upgrade", str(tmp_path / "none.caffemodel"), new]) == 2


def test_convert_to_every_format_and_back(file, tmp_path, capsys):
    net = build("name: 'small'\n" + SMALL)
    first = tmp_path / "w.caffemodel"
    net.save(first)
    paths = [first, *(tmp_path / name for name in ("w.h5", "w.npz", "w.safetensors", "back.caffemodel"))]
    for source, target in zip(paths, paths[1:], strict=False):
        assert main(["convert", str(source), str(target), "--net", file("name: 'small'\n" + SMALL)]) == 0
        assert diff_weights(read_weights(source), read_weights(target)) == []
    assert read_model(paths[-1])[0].name == "small"
    assert main(["convert", str(first), str(tmp_path / "w.onnx")]) == 2


def test_diff_of_nets(file, capsys):
    other = SMALL.replace("kernel_size: 1", "kernel_size: 1 bias_term: true").replace("r1", "r2")
    assert main(["diff", file(SMALL), file(other, "other.prototxt")]) == 1
    assert capsys.readouterr().out == "layer 'r1' (ReLU): only in the first\nlayer 'r2' (ReLU): only in the second\n"
    other = SMALL.replace("kernel_size: 1", "kernel_size: 1 pad: 2").replace('"xavier"', '"msra"')
    main(["diff", file(SMALL), file(other, "other.prototxt")])
    assert "layer 'c2': convolution_param.pad: not given -> 2" in capsys.readouterr().out
    swapped = "".join(reversed(SMALL.splitlines(keepends=True)[:2])) + "".join(SMALL.splitlines(keepends=True)[2:])
    assert main(["diff", file(SMALL), file(swapped, "other.prototxt")]) == 1
    assert capsys.readouterr().out == "net: the layers that both have come in another order\n"


def test_diff_of_weights(tmp_path, capsys):
    a = {"c": [np.zeros((2, 2)), np.zeros(2)], "d": [np.ones(3)], "e": [np.full(2, np.nan)]}
    b = {"c": [np.zeros((2, 2)) + [[0, 0], [0, 0.5]], np.zeros(3)], "f": [np.ones(3)], "e": [np.full(2, np.nan)]}
    paths = []
    for name, weights in (("a.npz", a), ("b.npz", b)):
        paths.append(str(tmp_path / name))
        write_weights(paths[-1], weights)
    with pytest.warns(UserWarning, match="NaN"):
        assert main(["diff", *paths]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "layer 'c'[0]: 1 of 4 values differ, by at most 0.5 (largest value 0)",
        "layer 'c'[1]: shape 2 in the first, 3 in the second",
        "layer 'd' (3): only in the first",
        "layer 'f' (3): only in the second",
    ]


def test_inputs_that_replace_a_data_layer_need_all_its_tops(capsys):
    from demitasse.netdef.plan import Plan
    from demitasse.proto.errors import GraphFault

    text = layer("DummyData", "d", "", "data label", "dummy_data_param { shape { dim: 1 } }")
    with pytest.raises(GraphFault, match="layer 'd' .DummyData.: is replaced by inputs, .* 2 tops: give .* 'label'"):
        Plan(text, inputs={"data": (1, 2)})
    assert Plan(text, inputs={"data": (1, 2), "label": (1,)}).steps[0].is_input


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_picture_that_cannot_be_written(file, tmp_path, capsys, ending):
    net = file(SMALL)
    assert main(["draw", net, str(tmp_path / "no_folder" / f"net.{ending}")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    (tmp_path / f"folder.{ending}").mkdir()
    assert main(["draw", net, str(tmp_path / f"folder.{ending}")]) == 2
    assert "is a directory" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"folder.{ending}", "net.prototxt"]


@pytest.mark.parametrize(
    "words, line",
    [
        (["shwo", "net"], "unknown command 'shwo' (did you mean 'show'?); known: show, draw"),
        (["show", "net", "--phase", "VAL"], "argument --phase: invalid choice: 'VAL'"),
        (["show"], "the following arguments are required: NET"),
    ],
)
def test_mistakes_in_the_command_line_are_one_line(words, line, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    err = capsys.readouterr().err
    assert stop.value.code == 2 and line in err and err.count("\n") == 1


def test_no_advice_on_data_where_no_data_are_missing(file, capsys):
    assert main(["show", file(blob() + layer("ReLU", "r", "", "r"))]) == 2
    line = capsys.readouterr().err
    assert 'ReLU reads 1 bottom, but here are none: add bottom: "..."' in line and "--input" not in line


def test_a_solver_in_another_encoding_is_upgraded(tmp_path, capsys):
    path, out = tmp_path / "solver.prototxt", tmp_path / "new.prototxt"
    path.write_bytes(b"\xef\xbb\xbf# stra\xdfe\nnet: 'x'\nsolver_type: ADAM\n")
    assert main(["upgrade", str(path), str(out)]) == 0
    assert out.read_text() == 'net: "x"\ntype: "Adam"\n'


def test_names_that_would_steer_a_terminal_are_spelled_out(file, tmp_path, capsys):
    steering = SMALL.replace('"r1"', '"r\\x1b[31m\\n\\x07\\xe2\\x80\\xae"')
    assert steering != SMALL
    net = file(steering, "steering.prototxt")
    assert main(["show", net]) == 0
    assert main(["diff", net, file(SMALL)]) == 1
    for weights, name in (("a.npz", "c\x1b]0;x\x07"), ("b.npz", "c")):
        write_weights(str(tmp_path / weights), {name: [np.ones(3)]})
    assert main(["diff", str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]) == 1
    out = capsys.readouterr().out
    assert "r\\x1b[31m\\n\\x07\\u202e" in out and "c\\x1b]0;x\\x07" in out
    assert all(char.isprintable() for char in out.replace("\n", ""))
    for ending in ("svg", "png"):
        assert main(["draw", net, str(tmp_path / f"net.{ending}")]) == 0
    ElementTree.parse(tmp_path / "net.svg")  # raises where it is not XML
