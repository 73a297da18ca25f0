"""The house rules of the design: who may import whom, and where the optional libraries live."""

import ast
import functools
import re
from pathlib import Path

import pytest

from demitasse.layers.backend.dispatch import FAMILIES
from demitasse.layers.layer import layer_types
from tests.test_layers import golden

ROOT = Path(__file__).resolve().parents[1]
BACKEND = ROOT / "layers" / "backend"
PACKAGES = ["proto", "layers", "netdef", "solver", "models"]  # each may import those before it
# What is another layer transposed, narrowed or extended builds on it.
SIDEWAYS = {
    ("deconvolution", "convolution"),
    ("depthwise_convolution", "convolution"),
    ("im2col", "convolution"),
    ("local", "convolution"),
    ("weighted_softmax_loss", "softmax_loss"),
    ("multibox_focal_loss", "multibox_loss"),
    ("noisy_inner_product", "inner_product"),
    ("pruned", "convolution"),
    ("pruned", "inner_product"),
    ("lstm", "rnn"),
    ("sequence_lstm", "lstm"),
    ("stacked_lstm", "lstm"),
    ("softmax_focal_loss", "softmax_loss"),
    ("transformer_block", "layer_norm"),
}
SHARED_BY_LAYERS = set(
    (
        "affine anchors backend boxes counted ctc data field_boxes field_losses fillers first_grids gated grids "
        "labels layer matching onnx permutohedral priors regions reshaping sampling separable span"
    ).split()
)
# Types that work on the host: they read files or run the user's Python.
HOST_LAYERS = set(
    (
        "database_data annotated_data eval_data image_data image_label_data image_labelmap_data "
        "image_seg_data instance_data hdf5_data hdf5_output memory_data dummy_data tokenized_data "
        "window_data video_data voxel_data mat_write flo_data flo_writer python fillers"
    ).split()
)


def sources(*packages):
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


@functools.cache
def imports(path):
    """(module, whether at the top level of the file) of every import in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write absolute imports"
            found.append((node.module, id(node) in top))
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_downward_only(package):
    allowed = set(PACKAGES[: PACKAGES.index(package) + 1])
    for path in sources(package):
        for module, top in imports(path):
            root = module.removeprefix("demitasse.").split(".")[0]
            assert module.startswith("demitasse.") or root not in PACKAGES, f"{path}: import demitasse.{module}"
            if root in PACKAGES and root not in allowed:
                pytest.fail(f"{path.relative_to(ROOT)} imports {module}, which is above it")
            if root == "caffe":
                lazily = not top and path.name == "python.py"
                assert lazily or package == "models", f"{path.relative_to(ROOT)} may not know the caffe facade"


def test_layers_know_no_folder_of_the_models():
    """Neither by import nor by path: demitasse/__init__.py says where published nets' Python layers are."""
    for path in sources("layers"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = node.value == "models" or re.search(r"\bmodels[./]\w", node.value)
                assert not named, f"{path.relative_to(ROOT)}:{node.lineno}"


@pytest.mark.parametrize(
    "library, homes",
    [
        ("cupy", "gpu"),
        ("cupyx", "gpu"),
        ("cudnn", "gpu"),
        ("numba", "cpu"),
    ],
)
def test_device_libraries_have_one_home(library, homes):
    for path in sources(*PACKAGES, "caffe"):
        for module, _ in imports(path):
            if module.split(".")[0] == library:
                backend = path.relative_to(ROOT).parts[:2] == ("layers", "backend")
                assert backend and path.relative_to(BACKEND).parts[0].startswith(homes), f"{path} imports {library}"


# Beside those of a device: each is imported where it is first needed, with a remedy where it is missing.  scipy, PIL
# and tqdm are no options.
OPTIONAL = {
    "onnx": "proto/onnx_file.py",
    "h5py": "proto/hdf5.py",
    "matplotlib": "solver/plot.py",
    "tensorboardX": "solver/tensorboard.py",
    "mpi4py": "solver/distributed.py",
    "shtab": "demitasse/completion.py",
    "safetensors": None,  # the format is read and written by our own code
    "lmdb": None,  # imported by layers/data/database.py, by name, as is
    "plyvel": None,
}


@pytest.mark.parametrize("library", OPTIONAL)
def test_an_optional_library_has_one_home(library):
    files = sources(*PACKAGES, "caffe", "demitasse")
    homes = {
        path.relative_to(ROOT).as_posix() for path in files if library in {m.split(".")[0] for m, _ in imports(path)}
    }
    assert homes == ({OPTIONAL[library]} if OPTIONAL[library] else set())
    for path in files:
        if path.relative_to(ROOT).as_posix() in homes:
            assert not any(top and m.split(".")[0] == library for m, top in imports(path)), f"{path}: import it lazily"


def test_only_one_file_asks_a_descriptor_what_protobuf_5_does_not_tell():
    for path in sources(*PACKAGES, "caffe"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in ("is_repeated", "is_required"):
                home = path.relative_to(ROOT).as_posix() == "proto/messages.py"
                assert home or ast.unparse(node.value) == "messages", f"{path}:{node.lineno}: messages.{node.attr}"


def modules_of_backend(*names):
    """The files of layers/backend that belong to one of these."""
    return [
        path
        for path in sources("layers")
        if BACKEND in path.parents and path.relative_to(BACKEND).parts[0].startswith(names)
    ]


@pytest.mark.parametrize("one, others", [("reference", ("cpu", "gpu")), ("cpu", ("gpu",)), ("gpu", ("cpu",))])
def test_the_reference_knows_no_device_and_devices_do_not_know_each_other(one, others):
    assert modules_of_backend(one)
    for path in modules_of_backend(one):
        for module, _ in imports(path):
            inside = module.removeprefix("demitasse.layers.backend.")
            assert inside == module or not inside.startswith(others), f"{path.relative_to(ROOT)} imports {module}"


def test_a_device_s_families_have_the_reference_s_file_names():
    assert {path.stem for path in (BACKEND / "reference").glob("*.py")} - {"__init__", "steps", "windows"} == set(
        FAMILIES
    )
    for device, least in (("gpu", 9), ("cpu", 8)):
        assert len(set(FAMILIES) & {path.stem for path in (BACKEND / device).glob("*.py")}) >= least


def test_nets_and_solvers_do_not_ask_which_device_it_is():
    """They ask the contract for a capability; a device's name is the value of an option, in three files."""
    options = {"flags.py", "distributed.py", "build_nets.py"}
    for path in sources("netdef", "solver"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("runtime", "ptr"), f"{path}:{node.lineno}"
            if isinstance(node, ast.Constant) and path.name not in options:
                assert node.value not in ("gpu", "generic"), f"{path}:{node.lineno}"


def test_no_primitive_names_a_rule_of_the_solver():
    """Update rules are programs of elementwise steps (solver/updates.py), which one primitive runs."""
    rules = {"sgd", "nesterov", "adam", "adagrad", "adadelta", "rmsprop", "momentum", "decay"}
    for path in modules_of_backend("contract", "reference", "cpu", "gpu"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = getattr(node, "name", None) or getattr(node, "arg", None) or ""
            assert not rules & set(str(named).lower().split("_")), f"{path}:{node.lineno}: {named}"


def test_no_layer_asks_which_device_it_is_on():
    for path in sorted((ROOT / "layers").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant):
                assert node.value not in ("gpu", "cpu", "generic"), f"{path}:{node.lineno}"
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("runtime", "ptr", "cudnn"), f"{path}:{node.lineno}"


# Private names of other libraries that have no public way to the same.
FOREIGN = {"_getvalue", "_actions", "_SubParsersAction", "_getframe", "_replace"}


def private_names(tree):
    """(those that a module's own classes and functions have, the attribute nodes that name one of another object)."""
    nodes = list(ast.walk(tree))
    own = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    own |= {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return own, [
        node
        for node in nodes
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    ]


def test_nobody_reaches_into_the_private_attributes_of_another_file_s_objects():
    for path in sources(*PACKAGES, "caffe"):
        own, used = private_names(ast.parse(path.read_text(encoding="utf-8")))
        for node in used:
            assert node.attr in own | FOREIGN, f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"


def test_nobody_keeps_a_list_of_layer_types():
    """A layer declares what it can do, at the head of layers/layer.py, and nobody compares the type of its class.
    (netdef/onnx has lists of ONNX's operators, some of which have a layer's name.)"""
    types = set(layer_types())
    for path in sources("layers", "netdef", "solver", "models", "caffe"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            keys = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
            named = {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
            assert len(named & types) < 2 or "onnx" in path.parts, f"{path}:{node.lineno}: {named & types}"
            if isinstance(node, ast.Compare) and isinstance(node.left, ast.Attribute) and node.left.attr == "type":
                assert ast.unparse(node.left.value) not in ("step.cls", "layer.cls", "cls"), f"{path}:{node.lineno}"


def compared_otherwise():
    """{layer type: the tests marked as comparing it with numbers that are computed another way}."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for mark in getattr(node, "decorator_list", []):
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.independent":
                    for name in map(ast.literal_eval, mark.args):
                        found.setdefault(name, []).append(f"{path.name}::{node.name}")
    return found


def test_every_layer_type_is_compared_with_numbers_that_are_not_its_own():
    """Caffe's, as golden cases, or those of a test that computes them independently: from a paper, by a peer."""
    of_caffe = {name for case in golden.case_names() for name in golden.case(case).types}
    named = compared_otherwise()
    assert not set(named) - set(layer_types()), "marked as independent, but no layer type"
    missing = set(layer_types()) - of_caffe - set(named)
    assert not missing, f"{missing}: mark the test that computes them another way as pytest.mark.independent(type)"


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "onnxruntime", "openvino", "jax", "pickle"])
def test_no_other_framework_and_no_pickle_inside(framework):
    for path in sources(*PACKAGES, "caffe"):
        assert framework not in {module.split(".")[0] for module, _ in imports(path)}, path


def test_no_eval_and_no_pickled_arrays():
    for path in sources(*PACKAGES, "caffe"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec"), f"{path}:{node.lineno}"
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert node.value.value is False, f"{path}:{node.lineno}"


def test_computing_layers_speak_to_the_backend_only():
    for path in sorted((ROOT / "layers").glob("*.py")):
        if path.stem in HOST_LAYERS:
            continue
        modules = {module for module, _ in imports(path)}
        assert not {"numpy", "cupy", "numba"} & {m.split(".")[0] for m in modules}, f"{path.name}: an array library"
        for module in modules:
            parts = module.removeprefix("demitasse.").split(".")
            if parts[0] == "layers" and parts[1:2] and parts[1] not in SHARED_BY_LAYERS:
                assert (path.stem, parts[1]) in SIDEWAYS, f"{path.name} imports {module}: layers do not know each other"
