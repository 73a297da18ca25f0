"""What the house rules except is there, and breaks the rule that it is excepted from."""

import ast

from tests.test_architecture import (
    FOREIGN,
    HOST_LAYERS,
    PACKAGES,
    ROOT,
    SHARED_BY_LAYERS,
    SIDEWAYS,
    imports,
    private_names,
    sources,
)

LAYERS = {path.stem: [module for module, _ in imports(path)] for path in (ROOT / "layers").glob("*.py")}


def test_layers_that_know_another():
    pairs = {(name, m.split(".")[2]) for name in LAYERS for m in LAYERS[name] if m.startswith("demitasse.layers.")}
    assert SIDEWAYS <= pairs and SHARED_BY_LAYERS <= {module for _, module in pairs}


def test_layers_that_work_on_the_host():
    with_numpy = {name for name in LAYERS if any(module.split(".")[0] == "numpy" for module in LAYERS[name])}
    assert HOST_LAYERS - {"python"} <= with_numpy  # that one runs the user's Python, which has it


def test_private_names_of_other_libraries():
    named = set()
    for path in sources(*PACKAGES, "caffe"):
        own, used = private_names(ast.parse(path.read_text(encoding="utf-8")))
        named |= {node.attr for node in used} - own
    assert named == FOREIGN
