"""One framework running one net: `make_runner` gives a function that runs it once.

The peers' nets are made of the same NetParameter, with random weights: for PyTorch by torch_net, for ONNX's runtimes by
our own export, for OpenCV as Caffe's own files.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time

import numpy as np

FRAMEWORKS = ["ours", "torch", "torch-channels-last", "onnxruntime", "openvino", "openvino-bf16", "opencv"]


def random_inputs(shapes: dict, classes: int) -> dict:
    """{input: array}: pixels about zero, labels below `classes`."""
    rng = np.random.default_rng(0)
    return {
        name: rng.integers(0, classes, shape).astype(np.float32)
        if name == "label"
        else (rng.standard_normal(shape) * 50).astype(np.float32)
        for name, shape in shapes.items()
    }


def make_runner(framework: str, net, train: bool, threads: int):
    """A function that runs the net once; ours takes each_layer=True to return {layer: seconds}."""
    if framework == "ours":
        return _ours(net, train, threads)
    if framework.startswith("torch"):
        return _torch(net, train, threads, framework.endswith("last"))
    if framework == "opencv":
        return _opencv(net, threads)
    return _onnx(net, framework, threads)


def _ours(message, train, threads):
    from demitasse.layers.backend import make_backend
    from demitasse.proto.messages import SolverParameter
    from demitasse.solver.updates import Updater

    backend = make_backend("cpu", threads=threads)
    net, inputs = _net(message, train, backend)
    settings = SolverParameter(momentum=0.9, weight_decay=5e-4)
    updater = Updater(settings, net.learnable if train else [], backend)

    def run(each_layer=False):
        times = {}
        with _watched(net, times) if each_layer else contextlib.nullcontext():
            net.forward(inputs)
            if train:
                net.clear_grads()
                net.backward()
        if train:
            begin = time.perf_counter()
            updater.apply(1e-12, 1)
            times["(update)"] = time.perf_counter() - begin
        return times

    return run


def _net(message, train=False, backend=None):
    """(the net with random weights, its inputs)"""
    from demitasse.netdef.net import Net

    net = Net(message, "TRAIN" if train else "TEST", backend=backend, seed=1)
    rng = np.random.default_rng(1)
    for param in net.learnable:  # FCN's convolutions start at zero, others name no filler: give them values
        if not param.data.any() and len(param.shape) > 1:
            rng.standard_normal(out=param.data.reshape(-1), dtype=np.float32)
            param.data *= (2 / np.prod(param.shape[1:])) ** 0.5
    for spec in net.specs:
        if spec.type == "BatchNorm":  # as if it had seen data of variance 1
            for param in net.params[spec.name][1:]:
                param.data[...] = 1
    return net, random_inputs({name: net.shapes[name] for name in net.inputs}, _classes(net.shapes, net.specs))


@contextlib.contextmanager
def _watched(net, times):
    """Add the seconds of every layer to `times`."""
    start = 0.0

    def begin(index):
        nonlocal start
        start = time.perf_counter()

    def end(index):
        name = net.layer_names[index]
        times[name] = times.get(name, 0) + time.perf_counter() - start

    hooks = [
        (net.before_forward, begin),
        (net.after_forward, end),
        (net.before_backward, begin),
        (net.after_backward, end),
    ]
    for called, hook in hooks:
        called.append(hook)
    yield
    for called, hook in hooks:
        called.remove(hook)


def _classes(shapes, specs):
    """How many classes the labels have that the net is trained with."""
    return next((shapes[spec.bottom[0]][1] for spec in specs if spec.type == "SoftmaxWithLoss"), 2)


def _planned(message, train):
    """(the net as a torch module with random weights, its inputs)"""
    from benchmarks.torch_net import TorchNet
    from demitasse.netdef.plan import Plan

    plan = Plan(message, "TRAIN" if train else "TEST")
    shapes = {name: value.shape for name, value in plan.newest.items()}
    specs = [step.spec for step in plan.steps]
    inputs = random_inputs({name: shapes[name] for name in plan.inputs}, _classes(shapes, specs))
    return TorchNet(specs, plan.params), inputs


def _torch(message, train, threads, channels_last):
    import torch

    torch.set_num_threads(threads)
    model, inputs = _planned(message, train)
    blobs = {name: torch.from_numpy(array) for name, array in inputs.items()}
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        blobs = {name: blob.to(memory_format=torch.channels_last) for name, blob in blobs.items()}
    if not train:
        model.eval()

        def forward():
            with torch.inference_mode():
                model(blobs)

        return forward
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-12, 0.9, weight_decay=5e-4)

    def step():
        optimizer.zero_grad()
        model(blobs)["loss"].backward()
        optimizer.step()

    return step


def _onnx(message, framework, threads):
    net, inputs = _net(message)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "net.onnx")
        net.to_onnx(path, fixed=True, fold=True)
        if framework == "onnxruntime":
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            fed = {value.name: inputs[value.name] for value in session.get_inputs()}
            return lambda: session.run(None, fed)
        import openvino

        core = openvino.Core()
        precision = "bf16" if framework.endswith("bf16") else "f32"
        compiled = core.compile_model(
            core.read_model(path),
            "CPU",
            {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision},
        )
        return lambda: compiled(inputs)


def _opencv(message, threads):
    import cv2

    from demitasse.proto.text import format as prototxt

    net, inputs = _net(message)
    with tempfile.TemporaryDirectory() as folder:
        text, weights = os.path.join(folder, "net.prototxt"), os.path.join(folder, "net.caffemodel")
        with open(text, "w", encoding="utf-8") as file:
            file.write(prototxt(message))
        net.save(weights)
        loaded = cv2.dnn.readNetFromCaffe(text, weights)
    cv2.setNumThreads(threads)
    names = loaded.getUnconnectedOutLayersNames()

    def run():
        for name, array in inputs.items():
            loaded.setInput(array, name)
        loaded.forward(names)

    return run
