"""Every published net from one description: equal to the release, sizes and counts as published."""

import ast
from pathlib import Path

import pytest

from demitasse.models import family, recipes
from demitasse.models.fcn import DataSource, Head, fcn, unet
from demitasse.netdef.plan import Plan
from demitasse.proto import text
from demitasse.proto.errors import SchemaFault
from demitasse.proto.messages import NetParameter, SolverParameter

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT.parent / "shared/reference-nets"
needs_reference = pytest.mark.skipif(not REFERENCE.exists(), reason="needs ../shared/reference-nets")
VALUES = {  # all learned values: published parameter counts
    "voc-fcn32s": 136152917,
    "voc-fcn16s": 134815994,
    "voc-fcn8s": 134489759,
    "voc-fcn8s-atonce": 134490527,
    "voc-fcn-alexnet": 58704590,
    "nyud-fcn32s-color": 140978024,
    "nyud-fcn32s-hha": 140978024,
    "nyud-fcn32s-color-d": 140978600,
    "nyud-fcn32s-color-hha": 275402448,
    "siftflow-fcn32s": 138905444,
    "siftflow-fcn16s": 135568424,
    "siftflow-fcn8s": 134751980,
    "pascalcontext-fcn32s": 149251964,
    "pascalcontext-fcn16s": 138281144,
    "pascalcontext-fcn8s": 135589364,
}


def shapes(plan):
    return {name: value.shape for name, value in plan.newest.items()}


def without_paths(net):
    """The data layers' options but for folders, in place of their text."""
    for layer in net.layer:
        if layer.python_param.param_str:
            options = ast.literal_eval(layer.python_param.param_str)
            layer.python_param.param_str = repr(sorted((k, v) for k, v in options.items() if not k.endswith("_dir")))
    return net


@needs_reference
@pytest.mark.parametrize("name", family.PUBLISHED)
def test_written_nets_equal_the_release(name):
    for path, words in recipes.files(name).items():
        theirs = REFERENCE / name / path
        if path == "solver.prototxt":
            assert text.parse(words, SolverParameter)[0] == text.parse(theirs.read_text(), SolverParameter)[0]
        elif theirs.exists():
            ours = without_paths(text.parse(words, NetParameter)[0])
            published = without_paths(text.parse(theirs.read_text(), NetParameter)[0])
            for mine, their in zip(ours.layer, published.layer, strict=True):
                assert mine == their
            assert ours == published
        else:
            assert path == "deploy.prototxt"


@pytest.mark.parametrize("name", recipes.NETS)
def test_committed_nets_are_what_the_function_writes(name):
    for path, words in recipes.files(name).items():
        assert (ROOT / "models" / name / path).read_text() == words, "run python -m models write all models"


@pytest.mark.parametrize("name", family.PUBLISHED)
def test_sizes_and_counts_are_as_published(name):
    plan = Plan(recipes.nets(name)["deploy"])
    assert sum(param.count for param in plan.learnable) == VALUES[name]
    sizes = {shape[-2:] for blob, shape in shapes(plan).items() if blob.startswith(("score_fr", "fc7"))}
    height = next(iter(plan.inputs.values())).shape[2]
    if "alexnet" not in name:
        assert sizes == {500: {(16, 16)}, 425: {(14, 18)}, 256: {(9, 9)}}[height]


@pytest.mark.parametrize(
    "trunk, stride, snug",
    [
        ("vgg16", 8, False),
        ("vgg16", 8, True),
        ("vgg19", 4, True),
        ("alexnet", 32, None),
        ("googlenet", 32, None),
        ("googlenet", 8, None),
        ("squeezenet", 4, None),
    ],
)
def test_scores_cover_images_of_every_size(trunk, stride, snug):
    plan = Plan(fcn(DataSource(size=(64, 64)), trunk=trunk, stride=stride, width=1 / 32, snug=snug))
    for size in (33, 47, 62, 63, 65, 97, 126, 127, 130):
        plan.resize({"data": (1, 3, size, size + 5)})
        assert shapes(plan)["score"] == (1, 21, size, size + 5)


def test_the_snug_net_needs_no_wide_border():
    plan = Plan(fcn(DataSource(size=(61, 96)), stride=8, width=1 / 16, snug=True, random=True))
    assert shapes(plan)["score"] == (1, 21, 61, 96) and shapes(plan)["fc7"][-2:] == (2, 3)


def test_unet_gives_scores_of_any_size():
    plan = Plan(unet(DataSource(size=(50, 37)), Head(5), width=1 / 16, depth=3))
    assert shapes(plan)["score"] == (1, 5, 50, 37)


def test_options():
    slim = Plan(recipes.nets("voc-fcn8s", width=1 / 8, classes=11)["deploy"])
    assert shapes(slim)["conv1_1"][1] == 8 and shapes(slim)["fc6"][1] == 512 and shapes(slim)["score"][1] == 11
    train = recipes.nets("voc-fcn8s", classes=11, root="x", random=True)["train"]
    assert ast.literal_eval(train.layer[0].python_param.param_str) == {
        "sbdd_dir": "x/sbdd/dataset",
        "seed": 1337,
        "split": "train",
        "mean": (104.00699, 116.66877, 122.67892),
        "classes": 11,
    }
    up = next(layer for layer in train.layer if layer.name == "upscore8")
    assert up.convolution_param.group == 11 and up.convolution_param.weight_filler.type == "bilinear"


@pytest.mark.parametrize(
    "call, fault",
    [
        (lambda: recipes.recipe("voc-fcn8"), "no net 'voc-fcn8' .did you mean 'voc-fcn8s'"),
        (lambda: recipes.nets("siftflow-fcn8s", classes=4), "has 2 heads"),
        (lambda: fcn(DataSource(), trunk="vgg6"), "no trunk 'vgg6' .did you mean 'vgg16'"),
        (lambda: fcn(DataSource(), trunk="alexnet", snug=True), "the trunk alexnet is never snug"),
        (lambda: fcn(DataSource(), stride=12), "no scores of stride 12 from this trunk: there are 32, 16, 8, 4, 2"),
    ],
)
def test_faults(call, fault):
    with pytest.raises(SchemaFault, match=fault):
        call()
