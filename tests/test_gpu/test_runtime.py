"""CudaRuntime's own lines, on a stand-in for cupy: copies wait for what they must, and a missing GPU is one line."""

import sys
import types

import numpy as np
import pytest

from demitasse.layers.backend import make_backend
from demitasse.layers.backend.contract.memory import NotRecordable
from demitasse.layers.backend.gpu import GpuBackend, convolution, transfers
from demitasse.layers.backend.gpu import runtime as gpu_runtime
from demitasse.proto.errors import SolverFault
from tests.test_gpu import fake_cupy, shim
from tests.test_gpu.device_array import DeviceArray
from tests.test_gpu.nhwc_cases import values

pytestmark = pytest.mark.skipif(shim.COMPILER is None, reason="running CUDA text on the CPU needs g++ or clang++")


@pytest.fixture
def cupy(monkeypatch):
    fake = fake_cupy.FakeCupy()
    monkeypatch.setattr(fake_cupy, "current", fake_cupy.Stream())
    monkeypatch.setattr(gpu_runtime, "_cupy", lambda: fake)
    monkeypatch.setitem(sys.modules, "cupyx", types.SimpleNamespace(empty_pinned=fake_cupy.empty_pinned))
    monkeypatch.setitem(sys.modules, "cudnn", None)  # an ImportError
    monkeypatch.setattr(DeviceArray, "set", fake_cupy.set_array, raising=False)
    monkeypatch.setattr(DeviceArray, "get", fake_cupy.get_array, raising=False)
    return fake


@pytest.fixture
def be(cupy):
    with pytest.warns(UserWarning, match="cuDNN is not used"):
        return GpuBackend(precision="tf32")


def test_uploads_through_two_buffers_survive_the_host_writing_on(be):
    host, arrays = np.zeros((3, 50), np.float32), []
    for i in range(7):
        host = np.zeros((3, 50 + 10 * (i % 3)), np.float32)
        host[...] = i
        arrays.append(be.asarray(host))
        host[...] = -1
    for i, array in enumerate(arrays):
        assert (be.to_host(array) == i).all()
    assert be.to_host(be.asarray(np.zeros((0, 3)))).shape == (0, 3)
    assert be.to_host(be.asarray(2.5)) == 2.5 and be.asarray(2.5).shape == ()
    assert be.to_host(be.asarray([True, False], bool)).tolist() == [True, False]


def test_uploads_are_filled_in_by_several_threads(be, monkeypatch):
    monkeypatch.setattr(transfers, "PART", 64)
    for count in (1, 31, 32, 33, 1000, 1001):
        host = values(count)
        assert np.array_equal(be.to_host(be.asarray(host)), host)
    grid = values(6, 7, 50)
    assert np.array_equal(be.to_host(be.asarray(grid)), grid)


def test_a_large_upload_takes_no_page_locked_memory(be, monkeypatch):
    monkeypatch.setattr(gpu_runtime, "MAX_PINNED", 100)
    arrays = []
    for i, count in enumerate((25, 26, 500, 3)):
        host = np.full(count, i, np.float32)
        arrays.append(be.asarray(host))
        host[...] = -1
    assert [be.to_host(array).tolist() for array in arrays] == [[0] * 25, [1] * 26, [2] * 500, [3] * 3]
    assert all(pinned.bytes.nbytes <= 100 for pinned in be.runtime._pinned)


def test_a_later_copy_waits_for_what_was_there_only(be):
    x = be.asarray(np.arange(4, dtype=np.float32))
    later = be.to_host_async(x)
    assert not later.ready
    assert later().tolist() == [0, 1, 2, 3] and later.ready


def test_kernels_are_compiled_once_and_launched(be, monkeypatch):
    x = be.asarray(np.array([-1, 2, np.nan], np.float32))
    assert np.array_equal(be.to_host(be.relu_forward(x, 0.5)), [-0.5, 2, np.nan], equal_nan=True)
    monkeypatch.setattr(fake_cupy, "RawModule", None)
    be.xp.RawModule = None
    be.relu_backward(x, x, 0.5)
    y = convolution._epilogue(be, be.asarray(np.ones((1, 2, 3))), None, 0.0)  # a null pointer
    assert be.to_host(y).tolist() == [[[1, 1, 1], [1, 1, 1]]]


def test_what_is_captured_is_done_when_it_is_launched(be):
    x, made = be.asarray(np.array([-1, 2], np.float32)), []
    be.runtime.synchronize()  # the stand-in computes at once, and copies late
    be.relu_forward(x, 0.5)
    recorded = be.record(lambda: made.append(be.relu_forward(x, 0.5)))
    made[0].fill(7)
    for factor in (1, 10):
        x[...] = x * np.float32(factor)
        recorded.launch()
        assert be.to_host(made[0]).tolist() == [-0.5 * factor, 2 * factor]


def test_recordings_give_way_where_memory_runs_short(be, cupy):
    class Owner:
        asked = 0

        def give_way(self):
            self.asked += 1
            cupy.memory_left.append(1 << 30)

    owner, x = Owner(), be.asarray(np.ones(3))
    be.runtime.synchronize()
    be.relu_forward(x, 0.5)
    assert cupy.allocator(1 << 20) == 1 << 20 and be.has_room_to_record()
    with pytest.raises(MemoryError):
        cupy.allocator(3 << 29)
    recorded = [be.record(lambda: be.relu_forward(x, 0.5), give_way=owner.give_way) for _ in range(2)]
    assert cupy.allocator(3 << 29) == 3 << 29 and owner.asked == 1 and len(recorded) == 2
    del owner
    with pytest.raises(MemoryError):
        cupy.allocator(5 << 30)
    cupy.memory_left[:] = [1 << 29]
    assert not be.has_room_to_record()


@pytest.mark.parametrize(
    "work",
    [
        lambda be, x: be.to_host(x),
        lambda be, x: be.to_host_async(x),
        lambda be, x: be.asarray(np.ones(2)),
        lambda be, x: be.matmul(x[None], x[:, None]),
        lambda be, x: be.runtime.constants((1, 2, 3)),
    ],
)
def test_what_cannot_be_captured_is_refused_and_leaves_no_trace(be, work):
    x = be.asarray(np.array([-1, 2], np.float32))
    be.runtime.synchronize()
    position = be.position
    with pytest.raises(NotRecordable, match="cannot be part of a CUDA graph"):
        be.record(lambda: (be.uniform((3,)), work(be, x)))
    assert fake_cupy.current.captured is None and fake_cupy.allocating is None
    assert be.position == position and be.recording is None
    work(be, x)


def test_tensor_cores_are_for_one_product_at_a_time(be, cupy):
    a = be.asarray(np.eye(3))
    be.runtime.synchronize()  # the stand-in computes at once, and copies late
    assert np.array_equal(be.to_host(be.matmul(a, a)), np.eye(3))
    assert cupy.math_modes == [3, 0]
    with pytest.warns(UserWarning):
        strict = GpuBackend(precision="fp32")
    strict.matmul(a, a)
    assert cupy.math_modes == [3, 0]


def test_a_missing_gpu_is_one_line(monkeypatch):
    monkeypatch.setattr(gpu_runtime, "_cupy", lambda: fake_cupy.FakeCupy(devices=0))
    with pytest.raises(SolverFault, match=r"^GPU 0 was asked for, but no GPU was found: use --device cpu"):
        make_backend("gpu")
    monkeypatch.setattr(gpu_runtime, "_cupy", lambda: fake_cupy.FakeCupy(devices=2))
    with pytest.raises(SolverFault, match=r"^GPU 2 was asked for, but this machine has 2, numbered from 0"):
        make_backend("gpu:2")


@pytest.mark.parametrize("device", ["gpux", "gpu:-1", "gpu:a", "tpu"])
def test_unknown_devices(device):
    with pytest.raises(SolverFault, match="is not known: cpu, gpu or gpu:N"):
        make_backend(device)


def test_the_device_of_another_framework():
    with pytest.raises(SolverFault, match=r"PyTorch's cuda:1 is gpu:1 here"):
        make_backend("cuda:1")


def test_unknown_precisions():
    with pytest.raises(SolverFault, match="precision 'fp8' is not one of fp32, tf32, fp16"):
        make_backend("gpu", precision="fp8")
