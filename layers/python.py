"""Python: a layer that the user has written as a class with setup, reshape, forward and backward on pycaffe's Blobs.

`module` names a file that is imported, and so run: from sys.path, else from the working directory, else from the
prototxt's folder, else from the packages that demitasse/__init__.py lists, which hold the layers that published nets
name.  `layer` is the class in it; caffe/pylayer.py says what it is given.  It works on the host; on another device its
blobs travel.  The user's `setup` runs once; `reshape` runs at build and before every forward.
A class that has `state()` and `load_state(state)` (JSON values) resumes exactly where a snapshot was taken.  One with
`data_stream()`, a Stream of data/feed.py, is asked whether its samples fit those of data layers that it meets in a
loss.  One that has `to_onnx(graph, xs)`, as `Layer.to_onnx`, can be exported; `shapes_from_data = True` says there that
the first axis of its tops is as long as the data decide.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from functools import cached_property

from demitasse import PYTHON_LAYERS
from demitasse.layers import python2
from demitasse.layers.layer import Layer, Param
from demitasse.proto.errors import SchemaFault, ShapeFault, did_you_mean, foreign


class Python(Layer):
    type = "Python"
    bottoms = tops = (0, None)
    in_place = shapes_vary = runs_user_code = True
    user = None  # the user's layer, once it is made

    def setup(self, shapes):
        from caffe.pylayer import Blob, BlobVec, RawBlobVec

        dtype = self.be.dtype if self.be else "float32"
        self.bottom = RawBlobVec(Blob(shape, dtype) for shape in shapes)
        self.top = RawBlobVec(Blob((), dtype) for _ in self.spec.top)
        self.user = self._make_users()
        self.user.param_str, self.user.phase = self.spec.python_param.param_str, self.phase
        self.user.net_folder = self.folder  # ours: for paths that are relative to the prototxt
        self.user.blobs = self.blobs = BlobVec(dtype)
        self.shapes_from_data = getattr(self.user, "shapes_from_data", False)
        self._call("setup", self.bottom, self.top)
        params = [Param(blob.shape) for blob in self.blobs]
        for param, blob in zip(params, self.blobs, strict=True):
            param.data = self.be.asarray(blob.data) if self.be else None
        return params

    def infer(self, shapes):
        for blob, shape in zip(self.bottom, shapes, strict=True):
            blob.reshape(*shape)
        for i in self._in_place:
            self.top[i].reshape(*shapes[i])
        self._call("reshape", self.bottom, self.top)
        for i, blob in enumerate(self.top):
            if not blob.sized:
                raise ShapeFault(
                    f"neither setup nor reshape of {type(self.user).__name__} says the size of top[{i}] "
                    f"('{self.spec.top[i]}'): call top[{i}].reshape(...) there, as in "
                    f"top[{i}].reshape(*bottom[0].shape)"
                )
        return [blob.shape for blob in self.top]

    def forward(self, xs):
        self._lend_bottoms(xs)
        self._lend_params()
        for i in self._in_place:
            self.top[i].hold(self.bottom[i].data.copy())
        if xs:
            # Here `reshape` can look at the bottoms' values. Without bottoms `infer`, which then runs before every
            # forward, was that call: FCN's data layers load their next image in it.
            self._call("reshape", self.bottom, self.top)
        self._call("forward", self.bottom, self.top)
        self._take_back_params()
        self.saved = xs if self.keep else None
        self._let_go()
        return [self.be.asarray(blob.data.copy()) for blob in self.top]  # the user's code keeps writing to its own

    def save_for_backward(self, xs):
        self.saved = xs  # the user's forward is not called for it

    def backward(self, dys, need):
        for blob, dy in zip(self.top, dys, strict=True):
            blob.diff[...] = 0 if dy is None else self.be.to_host(dy)
        self._lend_bottoms(self.saved)
        self._lend_params()
        for i in self._in_place:
            self.bottom[i].diff[...] = self.top[i].diff
        self._call("backward", self.top, list(need), self.bottom)
        self._take_back_params()
        for param, blob in zip(self.params, self.blobs, strict=True):
            if param.grad is not None:
                param.grad += self.be.asarray(blob.diff)
        dxs = [self.be.asarray(blob.diff) if needed else None for blob, needed in zip(self.bottom, need, strict=True)]
        self._let_go()
        return dxs

    def to_onnx(self, graph, xs):
        if not self._offers("to_onnx"):
            raise SchemaFault(
                f"class '{type(self.user).__name__}' has no method to_onnx(self, graph, xs), which says what it "
                "computes in ONNX's operators: write one, or let the file end before this layer, as --outputs "
                + ",".join(self.spec.bottom)
            )
        return self.user.to_onnx(graph, xs)[: len(self.spec.top)]

    def coords(self):
        return None

    def stream(self):
        return self.user.data_stream() if self._offers("data_stream") else None

    def state(self):
        return self.user.state() if self._offers("state") else {}

    def load_state(self, state):
        if self._offers("load_state"):
            self.user.load_state(state)

    def data_origin(self):
        return self.user.data_origin() if self._offers("data_origin") else ()

    def close(self):
        if self._offers("close"):
            self.user.close()

    @cached_property
    def _in_place(self):
        """The tops that are written over the bottom of the same index: they start out as its values."""
        return [i for i, (b, t) in enumerate(zip(self.spec.bottom, self.spec.top, strict=False)) if b == t]

    # -- the user's class ----------------------------------------------------------------------------

    def _user_class(self):
        param = self.spec.python_param
        if not param.module or not param.layer:
            raise SchemaFault('python_param needs both: python_param { module: "file_name" layer: "ClassName" }')
        module = self._import(param.module)
        cls = getattr(module, param.layer, None)
        if not inspect.isclass(cls):
            classes = [name for name, value in vars(module).items() if inspect.isclass(value)]
            raise SchemaFault(
                f"module '{param.module}' ({getattr(module, '__file__', 'built in')}) has no class "
                f"'{param.layer}'{did_you_mean(param.layer, classes)}"
            )
        return cls

    def _import(self, name):
        module = _imported(name)
        if module:
            return module
        folders = [os.getcwd(), os.path.abspath(self.folder or ".")]
        search = [*folders, *_built_in_folders().values()]
        sys.path += [folder for folder in dict.fromkeys(search) if folder not in sys.path]  # its imports find more
        importlib.invalidate_caches()
        # A checkout's own `layers` or `models` may stand before the user's of that name.
        module = _imported(name) or _imported(name, folders[1]) or _built_in(name)
        if module:
            return module
        raise SchemaFault(
            f"no module '{name}' on sys.path, in the working directory {folders[0]} or beside the prototxt in "
            f"{folders[1]}: put {name.replace('.', '/')}.py there, or its folder into PYTHONPATH"
        )

    def _make_users(self):
        from caffe.pylayer import Layer as CaffeLayer

        cls = self._user_class()
        if not issubclass(cls, CaffeLayer):
            raise SchemaFault(
                f"class '{cls.__name__}' is not derived from caffe.Layer: write class {cls.__name__}(caffe.Layer)"
            )
        try:
            return cls(self.spec)
        except Exception as error:
            raise foreign(error, f"{cls.__name__}.__init__", _remedy(error))  # noqa: B904

    def _offers(self, method):
        return callable(getattr(type(self.user), method, None))

    def _call(self, method, *args):
        if not self._offers(method):
            signature = "top, propagate_down, bottom" if method == "backward" else "bottom, top"
            raise SchemaFault(f"class '{type(self.user).__name__}' has no method {method}(self, {signature})")
        try:
            getattr(self.user, method)(*args)
        except Exception as error:
            name = f"{type(self.user).__name__}.{method}"
            raise foreign(error, name, _remedy(error))  # noqa: B904 (it is the same error)

    # -- arrays to and from the user's blobs ----------------------------------------------------------

    def _lend_bottoms(self, xs):
        for blob, x in zip(self.bottom, xs, strict=True):
            view = self.be.to_host(x).view()
            view.flags.writeable = False  # others read it too
            blob.hold(view)

    def _let_go(self):
        for blob in self.bottom:
            blob.hold()

    def _lend_params(self):
        for blob, param in zip(self.blobs, self.params, strict=True):
            blob.hold(self.be.to_host(param.data))

    def _take_back_params(self):
        """What the user has written into a learned blob's data is its new value, also on another device."""
        for blob, param in zip(self.blobs, self.params, strict=True):
            if blob.data is not self.be.to_host(param.data):
                param.data[...] = self.be.asarray(blob.data)


def _built_in_folders():
    """{package: folder} of the packages in PYTHON_LAYERS that are installed."""
    specs = {package: importlib.util.find_spec(package) for package in PYTHON_LAYERS}
    return {package: spec.submodule_search_locations[0] for package, spec in specs.items() if spec}


def _built_in(name):
    """The module of that name in one of those packages, such as rpn.proposal_layer where the user's rpn has none; or
    None."""
    if re.fullmatch(r"\w+(\.\w+)+", name):
        for package, folder in _built_in_folders().items():
            if os.path.isfile(os.path.join(folder, *name.split(".")) + ".py"):
                return _imported(f"{package}.{name}")
    return None


def _imported(name, first=""):
    """The module of that name; None where there is none.  first: a folder to look in before all others."""
    sys.path[:0] = [first] if first else []
    try:
        return None if name.startswith(".") else importlib.import_module(name)
    except ModuleNotFoundError as error:
        if f"{name}.".startswith(f"{error.name}."):
            return None
        raise foreign(error, f"module '{name}'", _remedy(error))  # noqa: B904 (it is there, and misses one of its own)
    except Exception as error:
        raise foreign(error, f"module '{name}'", _remedy(error))  # noqa: B904
    finally:
        if first:
            sys.path.remove(first)


def _remedy(error):
    """What to do about an error of the user's code; empty where its own message has to do."""
    if isinstance(error, ValueError) and "read-only" in str(error):
        return (
            "bottom[i].data cannot be written to, since other layers read it too: change a copy, "
            "bottom[i].data.copy(), or write to top[i].data (with the same name as bottom and top it begins as a copy)"
        )
    return python2.hint(error)
