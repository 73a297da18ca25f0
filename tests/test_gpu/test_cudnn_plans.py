"""cuDNN itself, without a GPU, plans every convolution of the FCN nets for an H200 (cuDNN 9.11 and later can).

The description of the device, h200.json, is written by hand after the keys that libcudnn_graph reads.
Needs `pip install nvidia-cudnn-cu12 "nvidia-cudnn-frontend>=1.20,<1.24"` (0.9 GB) and DEMITASSE_FULL=1.
"""

import warnings
from pathlib import Path

import pytest

from demitasse.layers.layer import layer_class
from demitasse.netdef.plan import Plan

MODELS = Path(__file__).resolve().parents[2] / "models"
NETS = sorted(path.parent.name for path in MODELS.glob("*fcn*/deploy.prototxt"))
SIZES = [(500, 500), (375, 500), (333, 411)]
DEVICE = Path(__file__).with_name("h200.json")
PRECISIONS = [("fp32", True), ("fp32", False), ("tf32", False), ("fp16", False)]


@pytest.fixture(scope="module")
def planner():
    pytest.importorskip("cudnn", reason="nvidia-cudnn-frontend is not installed")
    from demitasse.layers.backend.gpu.cudnn_plans import Planner

    try:
        return Planner(device_json=DEVICE.read_text())
    except (RuntimeError, TypeError, AttributeError) as error:
        pytest.skip(f"cuDNN cannot plan without a device here: {error}")


def plans_of(net):
    """{(direction, image, weights, geometry, bias, relu)} that a net's forward and backward ask for at all sizes."""
    asked = set()
    for height, width in SIZES:
        plan = Plan(MODELS / net / "deploy.prototxt")
        plan.resize({name: (*plan.inputs[name].shape[:2], height, width) for name in plan.inputs})
        for step in plan.steps:
            if not issubclass(step.cls, layer_class("Convolution")):
                continue
            layer, bottom, top = step.layer, step.bottoms[0].shape, step.tops[0].shape
            transposed = step.cls.type == "Deconvolution"
            image, key = (top if transposed else bottom), (layer.params[0].shape, layer.geometry)
            bias = len(layer.params) > 1 and not transposed
            asked.add(("fprop", image, *key, bias, bias))
            asked.add(("fprop", image, *key, bias, False))
            asked.add(("dgrad", image, *key, False, False))
            asked.add(("wgrad", image, *key, False, False))
    return asked


@pytest.mark.full
@pytest.mark.parametrize("net", NETS)
def test_every_convolution_has_a_plan(net, planner):
    from demitasse.layers.backend.gpu.cudnn_spec import Spec

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "cuDNN has no engine"
        for direction, image, weights, geometry, bias, relu in sorted(plans_of(net), key=repr):
            for precision, deterministic in PRECISIONS:
                spec = Spec(
                    direction,
                    weights,
                    geometry.pad,
                    geometry.stride,
                    geometry.dilation,
                    precision == "fp16",
                    precision != "fp32",
                    bias,
                    relu,
                    deterministic,
                )
                assert (planner.plan(spec, image) is None) == spec.prefers_cublas(image)


@pytest.mark.full
@pytest.mark.parametrize("tf32", [True, False])
def test_a_recipe_is_the_engine_that_the_heuristics_chose(planner, tf32):
    from demitasse.layers.backend.gpu.cudnn_spec import Spec

    spec = Spec("fprop", (80, 96, 3, 3), (1, 1), (1, 1), (1, 1), False, tf32, True, True, True)
    builds = planner.heuristic_builds
    first, second = (planner.plan(spec, (1, 96, height, 500)) for height in (500, 375))
    assert planner.heuristic_builds == builds + 1
    assert first.name and second.graph.get_plan_name_at_index(0).split("_")[0] == first.name.split("_")[0]


@pytest.mark.full
@pytest.mark.parametrize("fp16", [False, True])
def test_no_large_convolution_of_fcn_is_transposed_or_leaves_the_tensor_cores(planner, fp16):
    """Forward needs no memory for copies of its data or weights, and fc6 runs as a convolution of 1x1."""
    from demitasse.layers.backend.gpu.cudnn_spec import Spec

    seen = 0
    for direction, image, weights, g, bias, relu in plans_of("voc-fcn8s"):
        if direction == "fprop" and relu and min(weights[:2]) >= 64:
            plan = planner.plan(Spec(direction, weights, g.pad, g.stride, g.dilation, fp16, True, bias, relu), image)
            assert plan.workspace < 32 << 20 and plan.spec.relu, (weights, image, plan.name)
            seen += 1
    assert seen == 30


def test_all_nets_are_looked_at():
    assert len(NETS) >= 15
    assert len(plans_of("voc-fcn8s")) > 100
