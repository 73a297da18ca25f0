"""Every public function, class and method has a docstring, or takes over one."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

from demitasse.layers.backend import contract
from demitasse.layers.backend.dispatch import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["proto", "layers", "netdef", "solver", "models", "caffe"]
PRIMITIVES = {name for family in FAMILIES for name in vars(getattr(contract, family.capitalize()))}


def modules(package):
    """The modules of a package, commands' own main modules aside."""
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if not any(part.startswith("_") and part != "__init__" for part in parts):
            name = ".".join(part for part in parts if part != "__init__")
            yield importlib.import_module(name if package == "caffe" else f"demitasse.{name}")


def own(module):
    """(name, function or class) of what a module defines and shows."""
    for name, thing in vars(module).items():
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__:
            thing = inspect.unwrap(getattr(thing, "py_func", thing)) if callable(thing) else thing
            # Under another name it was made by a function, which says what it makes.
            if (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__name__ == name:
                yield name, thing


def inherited(cls, name):
    """Whether a class above documents this method or attribute; what it declares there says what it is."""
    return any(name in vars(base) and _documented(vars(base)[name]) for base in cls.__mro__[1:])


def _documented(thing):
    thing = thing.__func__ if isinstance(thing, (classmethod, staticmethod)) else thing
    return not callable(thing) and not isinstance(thing, property) or bool(getattr(thing, "__doc__", None))


def undocumented(module):
    """The names in a module that nothing is said of."""
    classes = [name for name, thing in own(module) if inspect.isclass(thing)]
    primitives = module.__name__.split(".")[-1] in FAMILIES and ".backend." in module.__name__
    for name, thing in own(module):
        if inspect.isfunction(thing):
            if not thing.__doc__ and not (primitives and name in PRIMITIVES):  # the contract's docstring is theirs
                yield name
            continue
        # The first lines of a file with one class say what that is.
        if "__doc__" not in vars(thing) or not vars(thing)["__doc__"]:
            if not (classes == [name] and module.__doc__):
                yield name
        for method, value in vars(thing).items():
            shown = inspect.isfunction(value) or isinstance(value, (property, classmethod, staticmethod))
            if method.startswith("_") or not shown or inherited(thing, method):
                continue
            if not inspect.getdoc(value):
                yield f"{name}.{method}"


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_public_has_a_docstring(package):
    found = {f"{module.__name__}.{name}" for module in modules(package) for name in undocumented(module)}
    assert not found, "\n" + "\n".join(sorted(found))


SHAPE = re.compile(r"\(\)|\([^()]+,[^()]*\)|\b(shape|size)s?\b")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_primitive_says_the_shape_of_what_it_gives(family):
    """Its own docstring does, wherever an array comes back: a reader looks at one method at a time."""
    found = inspect.getmembers(getattr(contract, family.capitalize()), inspect.isfunction)
    assert [
        name
        for name, method in found
        if "Array" in str(inspect.get_annotations(method).get("return")) and not SHAPE.search(method.__doc__ or "")
    ] == []


def shapeless(module):
    """The public functions of a module that are typed to return arrays, and whose docstrings give no shape."""
    shown = [(name, thing) for name, thing in own(module) if inspect.isfunction(thing)]
    for name, cls in own(module):
        if inspect.isclass(cls):
            shown += [(f"{name}.{method}", value) for method, value in vars(cls).items() if inspect.isfunction(value)]
    for name, function in shown:
        gives = str(function.__annotations__.get("return"))
        private = name.split(".")[-1].startswith("_") or not function.__doc__  # without one it takes over another's
        if re.search("ndarray|Array", gives) and not private and not SHAPE.search(function.__doc__):
            yield f"{module.__name__}.{name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_what_gives_an_array_says_its_shape(package):
    assert [name for module in modules(package) for name in shapeless(module)] == []


def silent(path):
    """The public functions and methods of a file that raise a fault themselves and do not say so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module) or isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for function in node.body:
                doc = isinstance(function, ast.FunctionDef) and ast.get_docstring(function)
                if not doc or function.name.startswith("_"):  # without one it takes over another's
                    continue
                raised = [
                    ast.unparse(part.exc) for part in ast.walk(function) if isinstance(part, ast.Raise) and part.exc
                ]
                faults = [what for what in raised if re.match(r"(?!NotImplemented)\w+(Fault|Error)\(", what)]
                if faults and not re.search("[Ff]ault|Error|MissingFile|[Rr]efuse|mistake", doc):
                    yield f"{path.relative_to(ROOT)}:{function.lineno}: {function.name}: {faults[0][:60]}"


@pytest.mark.parametrize("package", PACKAGES)
def test_what_raises_a_fault_says_so(package):
    assert [line for path in sorted((ROOT / package).rglob("*.py")) for line in silent(path)] == []
