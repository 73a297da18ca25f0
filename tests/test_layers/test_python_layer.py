"""Python layers: what pycaffe's contract promises to the user's class, in a net."""

import sys
import textwrap
import traceback

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.netdef.net import Net
from demitasse.proto.cli import run_command
from demitasse.proto.errors import SchemaFault
from tests.test_layers.building import build, normal
from tests.test_layers.harness import Bench, Input, Specimen, gradient_error
from tests.test_layers.user_layers import CLASSES


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the module `their_layers` of this test, which can be imported from nowhere else."""
    (tmp_path / "their_layers.py").write_text(textwrap.dedent(CLASSES))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "their_layers", raising=False)
    yield tmp_path
    sys.modules.pop("their_layers", None)


def net_of(folder, text, phase="TRAIN", **options):
    path = folder / "net.prototxt"
    path.write_text(text)
    return Net(path, phase, backend=make_backend("generic"), **options)


def python(name, layer, bottoms="", tops="", more=""):
    names = [f"bottom: '{b}'" for b in bottoms.split()] + [f"top: '{t}'" for t in (tops or name).split()]
    param = f"python_param {{ module: 'their_layers' layer: '{layer}' }}"
    return f"layer {{ name: '{name}' type: 'Python' {' '.join(names)} {param} {more} }}\n"


def an_input(name, *shape):
    dims = " ".join(f"dim: {n}" for n in shape)
    return f"layer {{ name: '{name}' type: 'Input' top: '{name}' input_param {{ shape {{ {dims} }} }} }}\n"


def test_a_loss_written_for_pycaffe_trains_a_layer(folder):
    inner = "type: 'InnerProduct' bottom: 'x' top: 'fc' inner_product_param { num_output: 3 bias_term: false }"
    inputs = an_input("x", 4, 5) + an_input("t", 4, 3)
    loss = python("loss", "Difference", "fc t", more="loss_weight: 2")
    net = net_of(folder, f"{inputs} layer {{ name: 'fc' {inner} }}\n {loss}")
    x, t = normal(4, 5).astype("f"), normal(4, 3, seed=1).astype("f")
    net.params["fc"][0].data[...] = w = normal(3, 5, seed=2)
    net.forward({"x": x, "t": t})
    diff = x @ w.T - t
    assert net.loss == pytest.approx(2 * (diff**2).sum() / 8, rel=1e-5)
    net.backward()
    np.testing.assert_allclose(net.params["fc"][0].grad, 2 * diff.T @ x / 4, rtol=1e-4)


@pytest.mark.independent("Python")
def test_its_gradients_are_derivatives_in_double_precision(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    text = "type: 'Python' bottom: 'a' bottom: 'b' top: 'c' python_param { module: 'their_layers' layer: 'Difference' }"
    spec = build(text, (4, 3), (4, 3)).spec
    bench = Bench(Specimen("python", spec, (Input((4, 3)), Input((4, 3)))))
    assert bench.forward()[0].dtype == np.float64 and gradient_error(bench) < 1e-6
    assert bench.backward([True, False])[1] is None


def test_a_learned_blob_starts_where_setup_left_it_and_gradients_accumulate(folder):
    net = net_of(folder, python("p", "Learned", more="loss_weight: 3 param { lr_mult: 2 }"))
    (param,) = net.learnable
    assert param.shape == (2, 3) and param.lr_mult == 2
    net.forward()
    assert net.loss == 3 * 5 * 6
    for times in (1, 2):
        net.forward()
        net.backward()
        assert np.all(param.grad == 3 * times)
    param.data -= 1
    assert np.all(net.forward()["p"] == 4)


def test_reshape_runs_at_build_and_once_before_every_forward(folder):
    net = net_of(folder, python("data", "Images"))
    calls = sys.modules["their_layers"].calls
    assert calls == ["setup", "reshape"]
    for n in (2, 3):
        del calls[:]
        assert net.forward()["data"].shape == (1, 1, n, 2)
        assert calls == ["reshape", "forward"]


def test_an_array_that_was_handed_out_stays_as_it_was(folder):
    net = net_of(folder, python("p", "Learned", more="loss_weight: 1"))
    first = net.forward()["p"]
    net.params["p"][0].data += 1
    second = net.forward()["p"]
    assert np.all(first == 5) and np.all(second == 6)


def test_sizes_may_depend_on_values(folder):
    net = net_of(
        folder,
        an_input("x", 3) + python("y", "LargestFirst", "x") + "layer { name: 'r' type: 'ReLU' bottom: 'y' top: 'r' }\n",
    )
    assert net.forward({"x": [1, 4, 2]})["r"].shape == (4,)
    assert net.forward({"x": [1, 2, 2]})["r"].shape == (2,)


def test_a_layer_may_work_in_place(folder):
    net = net_of(folder, an_input("x", 3) + python("add", "Add", "x", "x"), "TEST")
    assert net.forward({"x": [1, 2, 3]})["x"].tolist() == [2, 3, 4]
    layer = net.layers[1]
    layer.keep = True
    layer.forward([np.zeros(3, np.float32)])
    assert layer.backward([np.ones(3, np.float32)], [True])[0].tolist() == [2, 2, 2]


@pytest.mark.parametrize("phase, number", [("TRAIN", 0), ("TEST", 1)])
def test_the_phase_is_known(folder, phase, number):
    assert net_of(folder, python("p", "Phase"), phase).forward()["p"] == number


def test_the_state_goes_through_to_the_class(folder):
    net = net_of(folder, python("data", "Images") + an_input("x", 1) + python("add", "Add", "x", "y"))
    data, add = net.layers[0], net.layers[2]
    assert data.state() == {"count": 1} and add.state() == {}
    data.load_state({"count": 8})
    add.load_state({})
    assert net.forward()["data"].shape == (1, 1, 9, 2)


def test_errors_keep_their_traceback_and_name_the_layer(folder):
    net = net_of(folder, an_input("x", 3) + python("wrong", "Faulty", "x"))
    with pytest.raises(KeyError, match="the user's own") as caught:
        net.forward()
    text = "".join(traceback.format_exception(caught.value))
    assert "their_layers.py" in text
    if sys.version_info >= (3, 11):
        assert "'wrong' (Python)" in text and "net.prototxt:2" in text
    with pytest.raises(Exception, match="same dimension"):
        net_of(folder, an_input("x", 3) + an_input("z", 4) + python("d", "Difference", "x z"))


def test_bottoms_are_not_to_be_written(folder):
    with pytest.raises(ValueError, match="read-only"):
        net_of(folder, an_input("x", 3) + python("wrong", "Writer", "x")).forward()


def test_modules_are_found_beside_the_prototxt_and_in_the_working_directory(folder, monkeypatch, tmp_path_factory):
    assert net_of(folder, python("p", "Phase")) is not None
    del sys.modules["their_layers"]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(folder)])
    with pytest.raises(SchemaFault, match="no module 'their_layers' on sys.path.*put their_layers.py there"):
        net_of(elsewhere, python("p", "Phase"))
    monkeypatch.chdir(folder)
    assert net_of(elsewhere, python("p", "Phase")) is not None


@pytest.mark.parametrize(
    "fields, words",
    [
        ("module: 'no_such_module_at_all' layer: 'X'", "no module 'no_such_module_at_all'"),
        ("module: 'xml.no_such_part' layer: 'X'", "no module 'xml.no_such_part'"),
        ("module: 'their_layers' layer: 'Pase'", r"has no class 'Pase' \(did you mean 'Phase'\?\)"),
        ("module: 'their_layers' layer: 'NotAClass'", "has no class 'NotAClass'"),
        ("module: 'os' layer: 'NoSuchLayer'", "has no class 'NoSuchLayer'"),
        ("module: 'their_layers'", "needs both"),
    ],
)
def test_what_cannot_be_found_is_said(folder, fields, words):
    with pytest.raises(SchemaFault, match=words) as caught:
        net_of(folder, f"layer {{ name: 'p' type: 'Python' top: 'p'\n  python_param {{ {fields} }} }}\n")
    assert "layer 'p' (Python)" in str(caught.value)


def test_a_module_that_misses_another_says_which(folder):
    (folder / "half_there.py").write_text("import a_module_nobody_has\n")
    with pytest.raises(ModuleNotFoundError, match="a_module_nobody_has"):
        net_of(
            folder, "layer { name: 'p' type: 'Python' top: 'p'\n  python_param { module: 'half_there' layer: 'X' } }\n"
        )


@pytest.mark.parametrize(
    "code, words",
    [
        ("class L:\n    pass\n", r"class 'L' is not derived from caffe.Layer: write class L\(caffe.Layer\)"),
        ("def L():\n    pass\n", "has no class 'L'"),
    ],
)
def test_what_is_no_layer_is_told(folder, monkeypatch, code, words):
    (folder / "no_layer.py").write_text(f"import caffe\n{code}")
    monkeypatch.delitem(sys.modules, "no_layer", raising=False)
    with pytest.raises(SchemaFault, match=words):
        net_of(folder, "layer { name: 'p' type: 'Python' top: 'p' python_param { module: 'no_layer' layer: 'L' } }\n")


def test_a_relative_module_is_not_found(folder):
    with pytest.raises(SchemaFault, match=r"layer 'p' \(Python\): no module '..x'"):
        net_of(folder, "layer { name: 'p' type: 'Python' top: 'p' python_param { module: '..x' layer: 'L' } }\n")


@pytest.mark.parametrize(
    "code, frames, line",
    [
        (
            "import caffe\nclass L(caffe.Layer):\n  def setup(self, b, t): self.n = {}['n']\n",
            ["in setup"],
            "net.prototxt:1:1: layer 'p' (Python): L.setup raised KeyError: 'n'",
        ),
        (
            "import a_module_nobody_has\n",
            ["in <module>"],
            "layer 'p' (Python): module 'failing' raised ModuleNotFoundError: No module named 'a_module_nobody_has'",
        ),
        (
            "def x(:\n",
            [],
            "layer 'p' (Python): module 'failing' raised SyntaxError: invalid syntax (failing.py, line 1)",
        ),
    ],
)
def test_a_command_shows_the_users_frames_only(folder, monkeypatch, capsys, code, frames, line):
    monkeypatch.delitem(sys.modules, "failing", raising=False)
    (folder / "failing.py").write_text(code)
    (folder / "net.prototxt").write_text(
        "layer { name: 'p' type: 'Python' top: 'p' python_param { module: 'failing' layer: 'L' } }\n"
    )
    assert run_command(lambda: Net(str(folder / "net.prototxt"))) == 2
    shown = capsys.readouterr().err.rstrip().splitlines()
    assert shown[-1].endswith(line)
    assert [text.split(", ")[-1] for text in shown if ", in " in text] == frames
    assert not any("layers/python.py" in text or "importlib" in text for text in shown)


def test_a_class_without_a_method_is_told(folder):
    (folder / "their_layers.py").write_text("import caffe\nclass Empty(caffe.Layer):\n    pass\n")
    with pytest.raises(SchemaFault, match=r"class 'Empty' has no method reshape\(self, bottom, top\)"):
        net_of(folder, python("p", "Empty"))


class TestBlob:
    """The part of pycaffe's Blob that Python layers use."""

    def test_sizes(self):
        from caffe import Blob

        blob = Blob((2, 3))
        assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 3, 1, 1, 6)
        assert blob.data.dtype == np.float32 and blob.data.shape == blob.diff.shape == blob.shape == (2, 3)

    def test_reshape_keeps_values_of_the_same_number(self):
        from caffe import Blob

        blob = Blob((2, 3))
        blob.data[...] = 1
        blob.reshape(3, 2)
        assert blob.data.shape == blob.diff.shape == (3, 2) and blob.data.all()
        blob.reshape(4, 2)
        assert blob.data.shape == (4, 2) and not blob.data.any()
        with pytest.raises(ValueError):
            blob.reshape(-1)
