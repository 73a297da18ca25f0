"""Goldens through the GPU backend on the CPU; prints what disagrees: `python -m tests.test_gpu.sweep`.

Once on arrays, once with a stand-in for cuDNN and channels-last tensors.  With --few: of each layer type only the
smallest and the largest case, at fp16 too, where values are not compared; then every kernel that has not run yet:
what test_sanitized.py runs.
"""

import sys

import numpy as np

from demitasse.layers.backend.geometry import ConvGeometry, PoolGeometry
from demitasse.layers.backend.gpu import GpuBackend
from demitasse.layers.backend.gpu.runtime import KERNELS, signatures
from demitasse.layers.layer import Param
from demitasse.proto.messages import SolverParameter
from demitasse.solver.updates import RULES, Updater
from tests.test_gpu import fake_cudnn
from tests.test_gpu.shim import CudnnRuntime, ShimRuntime
from tests.test_layers import golden


def smallest_and_largest() -> list[str]:
    """A case of either kind of each layer type."""
    by_types: dict[frozenset, list[str]] = {}
    for name in golden.case_names():
        by_types.setdefault(frozenset(golden.case(name).types), []).append(name)
    picked = {}
    for names in by_types.values():
        names.sort(key=lambda name: sum(array.size for array in golden.case(name).arrays.values()))
        picked |= dict.fromkeys((names[0], names[-1]))
    return list(picked)


def faults_of(names, backend) -> list[str]:
    return [
        f"{name}, {backend.precision}: {fault}"
        for name in names
        for fault in golden.run(golden.case(name), backend, 1e-5)
    ]


def update(backend) -> None:
    """Every rule once, on arrays that do not fill their last piece."""
    for rule in RULES:
        param = Param((5, 7001))
        param.data, param.grad = backend.asarray(np.ones(param.shape)), backend.asarray(np.ones(param.shape))
        Updater(SolverParameter(type=rule, weight_decay=0.01), [param], backend).apply(0.1, 1, 0.5)


def others(be) -> None:
    """The primitives that no golden's layer asks for, or not in every layout."""
    x, slope = be.asarray(np.ones((2, 3, 9, 7))), be.asarray(np.ones(3))
    be.stochastic_pool_forward(x, PoolGeometry((3, 2), (2, 2), (1, 0), (5, 4)), True)
    w = be.asarray(np.ones((3, 3, 4, 4)) * np.eye(3)[..., None, None])
    up = ConvGeometry((4, 4), (2, 2), (1, 1), (1, 1))
    be.upsample_backward(be.conv_backward_data(x, w, up, (18, 14), diagonal=be.is_diagonal(w)), w, up)
    if be.capabilities.nhwc:
        x = be.cudnn.layout.tensor(x)
        fc6 = ConvGeometry((7, 7), (1, 1), (0, 0), (1, 1))
        w = be.asarray(np.ones((130, 3, 7, 7)))
        be.conv_backward_data(be.conv_forward(x, w, None, fc6), w, fc6, (9, 7))
    y, mask = be.dropout_forward(x, 0.5)
    be.dropout_backward(y, mask, 0.5)
    be.record(lambda: be.uniform((7,))).launch()
    be.prelu_forward(x, slope)
    be.affine(x, slope, slope, slope)
    be.ave_pool_forward(x, PoolGeometry((3, 2), (2, 2), (1, 0), (5, 4)))
    be.concatenate([x, be.weighted_sum([x, be.interleave(x, 3)], [1, 2])], 1)
    be.lrn_forward(x, 3, 1.0, 0.75, 1.0)
    be.conv_forward(x, be.asarray(np.ones((4, 3, 3, 3))), None, ConvGeometry((3, 3), (1, 1), (0, 0), (1, 1)), 0.5)
    be.compose_affine(be.running_statistics(slope, slope, None, 1e-5)[1:], (slope, None))
    be.softmax_forward(be.asarray(np.ones((2, 70))), 1)


def regions(be) -> None:
    """Three windows of each of two regions, one of them empty, in the second of two images."""
    x, image = be.asarray(np.ones((2, 3, 5, 7))), be.asarray([1, 1], np.int32)
    rows = be.asarray([[[0, 5], [2, 4], [5, 5]]] * 2, np.int32)
    columns = be.asarray([[[0, 7]], [[6, 7]]], np.int32)
    y, index = be.region_max_forward(x, image, rows, columns)
    be.region_max_backward(y, index, image, x.shape)
    be.region_mean_backward(be.region_mean_forward(x, image, rows, columns), image, rows, columns, x.shape)
    weights = be.asarray(np.eye(5)[None, :3].repeat(2, 0)), be.asarray(np.ones((2, 1, 7)))
    be.region_weighted_backward(be.region_weighted_forward(x, image, *weights), image, *weights, x.shape)


def main(few: bool) -> int:
    sys.modules["cudnn"] = fake_cudnn
    names = smallest_and_largest() if few else golden.case_names()
    backends = [GpuBackend(runtime=ShimRuntime(), precision="fp32"), GpuBackend(runtime=CudnnRuntime())]
    faults = [fault for backend in backends for fault in faults_of(names, backend)]
    if few:
        backends.append(GpuBackend(runtime=CudnnRuntime(), precision="fp16"))
        faults_of(names, backends[2])
        update(backends[0])
        regions(backends[0])
        for backend in backends:
            others(backend)
    launched = {kernel for backend in backends for kernel in backend.runtime.launches}
    left = {name for path in KERNELS.glob("*.cu") for name in signatures(path.stem)} - launched
    print("\n".join(faults))
    print(f"{len(names)} cases, {len(launched)} kernels launched; not launched: {', '.join(sorted(left))}")
    return bool(faults or (few and left))


if __name__ == "__main__":
    sys.exit(main("--few" in sys.argv))
