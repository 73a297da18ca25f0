"""Steps 1 to 3 and 8: what there is; every layer's goldens; whole nets in each precision, with their deviations; the
tests that need a GPU."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
import sys
import time

import numpy as np

from benchmarks.gpu_day.report import Record
from demitasse.layers.backend import make_backend
from demitasse.netdef.net import Net
from demitasse.proto.text import read_net
from tests.test_layers import golden
from tests.test_netdef import goldens

PRECISIONS = ("fp32", "tf32", "fp16")
PACKAGES = ("cupy-cuda13x", "cupy-cuda12x", "nvidia-cudnn-frontend", "nvidia-cudnn-cu13", "nvidia-cudnn-cu12")
PACKAGES += ("nvidia-nccl-cu13", "nvidia-cublas", "torch", "triton", "numpy", "scipy", "protobuf", "numba")
TOLERANCE = 1e-5
TESTS = {
    "contract of every layer type": ("tests/test_layers/test_contract.py",),
    "primitives, channels last": ("tests/test_gpu/test_nhwc.py", "tests/test_gpu/test_nhwc_in_nets.py"),
    "nets, training": ("tests/test_gpu/test_device.py", "tests/test_solver/test_on_a_device.py"),
}
COPIED = 1 << 30  # bytes, to measure the memory's speed


def environment(record: Record, rehearse: bool) -> None:
    """Versions, the device's properties in full, and what it moves and multiplies."""
    kinds = {
        "versions": _versions,
        "device": _device,
        "device as cuDNN serialises it": _cudnn_device,
        "cuDNN's handle": _cudnn_used,
        "nvidia-smi": _smi,
        "measured": lambda: _measured(1 << 16 if rehearse else COPIED, 32 if rehearse else 8192),
    }
    record.attempt(kinds, lambda kind: kinds[kind]())


def _versions() -> dict:
    found = {"python": sys.version.split()[0], "machine": f"{platform.system()} {platform.machine()}"}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def _device() -> dict:
    backend = make_backend("gpu")
    runtime = backend.xp.cuda.runtime
    found = {k: _plain(v) for k, v in sorted(runtime.getDeviceProperties(backend.runtime.index).items())}
    return found | {"driver": runtime.driverGetVersion(), "runtime": runtime.runtimeGetVersion()}


def _plain(value):
    """A property as JSON has it: names are text, identifiers hexadecimal."""
    if isinstance(value, bytes):
        return value.decode() if value.isascii() and value.decode().isprintable() else value.hex()
    return list(value) if isinstance(value, tuple) else value


def _cudnn_device() -> dict:
    """What tests plan with in place of a device (as tests/test_gpu/h200.json)."""
    import cudnn

    properties = cudnn.create_device_properties(0)
    serialised = properties.serialize()
    return {"json": serialised if isinstance(serialised, str) else bytes(serialised).decode(errors="replace")}


def _cudnn_used() -> dict:
    import cudnn

    backend = make_backend("gpu")
    return {
        "used": backend.cudnn is not None,
        "library": cudnn.backend_version(),
        "frontend": getattr(cudnn, "__version__", "unknown"),
        "channels last": backend.capabilities.nhwc,
    }


def _smi() -> dict:
    if shutil.which("nvidia-smi") is None:
        return {"missing": "no nvidia-smi here"}
    asked = "name,driver_version,memory.total,clocks.sm,clocks.max.sm,clocks.mem,power.limit,temperature.gpu"
    answer = subprocess.run(
        ["nvidia-smi", f"--query-gpu={asked}", "--format=csv"], capture_output=True, text=True, timeout=15
    )
    return {"answer": answer.stdout.strip() or answer.stderr.strip()}


def _measured(size: int, rows: int) -> dict:
    """Bytes copied (read and written) and operations of matrix products, in a second."""
    found = {}
    for precision in ("fp32", "tf32"):
        backend = make_backend("gpu", precision=precision)
        a = backend.uniform((rows, rows), -1.0)
        seconds = _least_seconds(backend, lambda b=backend, a=a: b.matmul(a, a))
        found[f"{precision} products, TFLOP/s"] = 2 * rows**3 / seconds / 1e12
    source, target = (backend.zeros((size // 4,)) for _ in range(2))

    def copy():
        target[...] = source

    return found | {"copies, TB/s": 2 * size / _least_seconds(backend, copy) / 1e12}


def _least_seconds(backend, run, times: int = 5) -> float:
    run()
    found = []
    for _ in range(times):
        backend.synchronize()
        start = time.perf_counter()
        run()
        backend.synchronize()
        found.append(time.perf_counter() - start)
    return min(found)


def layers(record: Record, rehearse: bool) -> None:
    """Every golden case of Caffe's layers in fp32: "ok", or what differs."""
    backend = make_backend("gpu", precision="fp32")

    def check(name: str):
        faults = golden.run(golden.case(name), backend, TOLERANCE)
        return {"differs": faults} if faults else "ok"

    record.attempt(in_order()[: 12 if rehearse else None], check)


def in_order() -> list[str]:
    """The cases, one of each kind of net first, then the second of each, and so on."""
    counts: dict[frozenset, int] = {}
    ranked = []
    for name in golden.case_names():
        kind = frozenset(golden.case(name).types)
        counts[kind] = counts.get(kind, 0) + 1
        ranked.append((counts[kind], name))
    return [name for _, name in sorted(ranked, key=lambda pair: pair[0])]


def nets(record: Record, rehearse: bool) -> None:
    """The FCN nets in each precision: how far from what Caffe computed."""
    names = ["voc-fcn8s_33x47", *(n for n in ("voc-fcn8s", *goldens.table("net_values")) if n != "voc-fcn8s_33x47")]
    weights: dict = {}  # of the newest net: they take seconds to make up

    def check(item: str) -> dict:
        name, precision = item.split()
        case = goldens.table("net_values")[name]
        net = Net(_message(case["net"], name), "TEST", backend=make_backend("gpu", precision=precision), keep="all")
        if weights.get("name") != name:
            weights.update(name=name, arrays=goldens.made_up_weights(net.plan.steps))
        net.load(weights["arrays"])
        inputs = goldens.made_up_inputs(*case["size"])
        net.forward({blob: inputs[blob] for blob in net.inputs})
        return deviations(net, name, case, goldens.arrays("net_values"))

    if rehearse:  # the same lines on a net of a moment's work
        from benchmarks.gpu_day.rehearsal import net_golden

        names, table, arrays = net_golden()
        goldens.table, goldens.arrays = lambda _: table, lambda _: arrays
    record.attempt([f"{name} {precision}" for name in dict.fromkeys(names) for precision in PRECISIONS], check)


def _message(text: str, name: str):
    return read_net(text + "\n", f"{name}.prototxt")[0]


def deviations(net: Net, name: str, case: dict, expected: dict) -> dict:
    """The largest errors as shares of each array's largest value, and where; of the loss; pixels of other classes."""
    to_host = net.backend.to_host

    def worst(kind: str, most: dict, array_of) -> dict:
        shares, prefix = {}, f"{name}:{kind}:"
        for key in expected:
            if key.startswith(prefix) and (array := array_of(label := key.removeprefix(prefix))) is not None:
                off = np.abs(goldens.sampled(label, to_host(array), len(expected[key])) - expected[key]).max()
                shares[label] = float(off / max(most[label], 1e-30))
        ranked = sorted(shares.items(), key=lambda pair: -pair[1])
        return {"largest": ranked[0][1], "in": ranked[0][0], "all": shares} if ranked else {}

    found = {"values": worst("val", case["blobs"], net.blobs.__getitem__)}
    best = to_host(net.blobs["score"])[0].argmax(0)
    found["pixels of other classes"] = float((best != expected[f"{name}:argmax"]).mean())
    if case["loss"] is not None:
        found["loss off by"] = abs(net.loss / case["loss"] - 1)
        net.clear_grads()
        net.backward()

        def grad_of(label: str):
            layer, _, index = label.rstrip("]").partition("[")
            return net.params[layer][int(index)].grad

        found["gradients"] = worst("grad", case["grads"], grad_of)
    return found


def tests(record: Record, rehearse: bool) -> None:
    """The tests that need a GPU, in pieces: how each ends, and what fails."""
    pieces = {"rehearsed": ("tests/test_gpu/test_names.py",)} if rehearse else TESTS

    def measure(name: str) -> dict:
        command = [sys.executable, "-m", "pytest", *pieces[name], "--tb=line", "-p", "no:cacheprovider"]
        command += [] if rehearse else ["--gpu", "-k", "gpu or device"]
        try:
            found = subprocess.run(command, capture_output=True, text=True, timeout=max(5.0, record.left))
        except subprocess.TimeoutExpired as late:
            return {"fault": f"not done after {late.timeout:.0f} s"}
        lines = [line for line in (found.stdout + found.stderr).splitlines() if line]
        return {
            "ended": lines[-1],
            "failed": [line[:200] for line in lines if line.startswith(("FAILED", "ERROR"))][:20],
        }

    record.attempt(pieces, measure)
