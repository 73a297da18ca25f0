"""One framework running one net: `make_runner` gives a function that runs it once.

The peers' nets are translated from the same NetParameter, with random weights.
"""

from __future__ import annotations

import os
import tempfile

import numpy as np

FRAMEWORKS = ["ours", "torch", "torch-channels-last", "onnxruntime", "openvino", "openvino-bf16"]


def random_inputs(shapes: dict, classes: int) -> dict:
    """{input: array}: pixels about zero, labels below `classes`."""
    rng = np.random.default_rng(0)
    return {
        name: rng.integers(0, classes, shape).astype(np.float32)
        if name == "label"
        else (rng.standard_normal(shape) * 50).astype(np.float32)
        for name, shape in shapes.items()
    }


def make_runner(framework: str, net, train: bool, threads: int, each_layer: bool = False):
    """A function () -> None or, with each_layer, () -> {layer: seconds} for ours."""
    if framework == "ours":
        return _ours(net, train, threads, each_layer)
    if framework.startswith("torch"):
        return _torch(net, train, threads, framework.endswith("last"))
    return _onnx(net, framework, threads)


def _ours(message, train, threads, each_layer):
    import time

    from layers.backend import make_backend
    from netdef.net import Net

    backend = make_backend("cpu", threads=threads)
    net = Net(message, "TRAIN" if train else "TEST", backend=backend, seed=1)
    inputs = random_inputs({name: net.shapes[name] for name in net.inputs}, _classes(net.shapes, net))
    rng = np.random.default_rng(1)
    for param in net.learnable:  # FCN's convolutions start at zero: give them values
        if not param.data.any() and len(param.shape) > 1:
            rng.standard_normal(out=param.data.reshape(-1), dtype=np.float32)
            param.data *= (2 / np.prod(param.shape[1:])) ** 0.5
    history = [(p, backend.zeros(p.shape)) for p in net.learnable if p.grad is not None] if train else []
    times = {}
    if each_layer:
        start = [0.0]

        def begin(index):
            start[0] = time.perf_counter()

        def end(index):
            name = net.layer_names[index]
            times[name] = times.get(name, 0) + time.perf_counter() - start[0]

        for hooks, hook in (
            (net.before_forward, begin),
            (net.after_forward, end),
            (net.before_backward, begin),
            (net.after_backward, end),
        ):
            hooks.append(hook)

    def run():
        times.clear()
        net.forward(inputs)
        if train:
            net.clear_grads()
            net.backward()
            begin = time.perf_counter()
            for param, h in history:
                backend.sgd_update(param.data, param.grad, h, 1e-12, 0.9, 5e-4)
            times["(update)"] = time.perf_counter() - begin
        return dict(times)

    return run


def _classes(shapes, net):
    losses = [spec for spec in net.specs if spec.type == "SoftmaxWithLoss"]
    return shapes[losses[0].bottom[0]][1] if losses else 2


def torch_module(message, shapes):
    """A torch module of the net's layers, in their order; shapes: of every blob, from our own net."""
    import torch
    from torch import nn
    from torch.nn import functional

    def convolution(layer):
        p = layer.convolution_param
        kernel, stride = p.kernel_size[0], p.stride[0] if p.stride else 1
        pad, dilation = p.pad[0] if p.pad else 0, p.dilation[0] if p.dilation else 1
        kind = nn.Conv2d if layer.type == "Convolution" else nn.ConvTranspose2d
        return kind(
            shapes[layer.bottom[0]][1],
            p.num_output,
            kernel,
            stride,
            pad,
            dilation=dilation,
            groups=p.group,
            bias=p.bias_term,
        )

    def step(layer, net, values):
        x = values[layer.bottom[0]]
        if layer.type in ("Convolution", "Deconvolution"):
            return net.weights[layer.name](x)
        if layer.type == "ReLU":
            return functional.relu(x, inplace=layer.top[0] == layer.bottom[0])
        if layer.type == "Dropout":
            return functional.dropout(x, layer.dropout_param.dropout_ratio, net.training)
        if layer.type == "Pooling":
            p = layer.pooling_param
            if p.global_pooling:
                return functional.adaptive_avg_pool2d(x, 1)
            pool = functional.max_pool2d if p.pool == p.MAX else functional.avg_pool2d
            return pool(x, p.kernel_size, p.stride, p.pad, ceil_mode=True)
        if layer.type == "Crop":
            height, width = shapes[layer.bottom[1]][2:]
            offset = layer.crop_param.offset[0]
            return x[:, :, offset : offset + height, offset : offset + width]
        if layer.type == "Eltwise":
            return x + values[layer.bottom[1]]
        if layer.type == "Concat":
            return torch.cat([values[name] for name in layer.bottom], 1)
        if layer.type == "LRN":
            p = layer.lrn_param
            return functional.local_response_norm(x, p.local_size, p.alpha, p.beta, p.k)
        if layer.type == "SoftmaxWithLoss":
            labels = values[layer.bottom[1]][:, 0].long()
            return functional.cross_entropy(x, labels, ignore_index=255, reduction="sum") / len(x)
        raise NotImplementedError(layer.type)

    class Translated(nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = nn.ModuleDict(
                {
                    layer.name: convolution(layer)
                    for layer in message.layer
                    if layer.type in ("Convolution", "Deconvolution")
                }
            )

        def forward(self, *inputs):
            names = [layer.top[0] for layer in message.layer if layer.type == "Input"]
            values = dict(zip(sorted(names), inputs, strict=True))
            for layer in message.layer:
                if layer.type != "Input":
                    result = values[layer.top[0]] = step(layer, self, values)
            return result

    return Translated()


def _blob_shapes(message, train):
    from netdef.plan import Plan

    plan = Plan(message, "TRAIN" if train else "TEST")
    return {name: value.shape for name, value in plan.newest.items()}


def _torch(message, train, threads, channels_last):
    import torch

    torch.set_num_threads(threads)
    shapes = _blob_shapes(message, train)
    names = sorted(layer.top[0] for layer in message.layer if layer.type == "Input")
    classes = next((shapes[layer.bottom[0]][1] for layer in message.layer if layer.type == "SoftmaxWithLoss"), 2)
    inputs = random_inputs({name: shapes[name] for name in names}, classes)
    model, arrays = torch_module(message, shapes), [torch.from_numpy(inputs[name]) for name in names]
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        arrays = [a.to(memory_format=torch.channels_last) for a in arrays]
    if not train:
        model.eval()

        def forward():
            with torch.inference_mode():
                model(*arrays)

        return forward
    # Caffe's fixed bilinear upsampling takes no gradient; nor does torch's then.
    for layer in message.layer:
        if layer.type == "Deconvolution" and layer.param and layer.param[0].lr_mult == 0:
            model.weights[layer.name].requires_grad_(False)
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-12, 0.9, weight_decay=5e-4)

    def step():
        optimizer.zero_grad()
        model(*arrays).backward()
        optimizer.step()

    return step


def _onnx(message, framework, threads):
    import torch

    shapes = _blob_shapes(message, False)
    data = torch.from_numpy(random_inputs({"data": shapes["data"]}, 2)["data"])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "net.onnx")
        torch.onnx.export(torch_module(message, shapes).eval(), (data,), path, dynamo=False)
        if framework == "onnxruntime":
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            name = session.get_inputs()[0].name
            return lambda: session.run(None, {name: data.numpy()})
        import openvino

        core = openvino.Core()
        precision = "bf16" if framework.endswith("bf16") else "f32"
        compiled = core.compile_model(
            core.read_model(path),
            "CPU",
            {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision},
        )
        return lambda: compiled(data.numpy())
