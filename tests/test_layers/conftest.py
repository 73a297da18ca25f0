"""The backends that layer tests run on."""

import functools

import pytest

from demitasse.layers.backend import make_backend


@functools.cache
def _backend(name):
    if name == "generic":
        return make_backend("generic")
    if name == "gpu":
        return make_backend("gpu", precision="fp32")
    pytest.importorskip("demitasse.layers.backend.cpu", reason="the CPU backend is not there", exc_type=ImportError)
    return make_backend("cpu", exact=name == "cpu-exact")


def pytest_generate_tests(metafunc):
    """A test that takes `backend_name` or `be` runs on every backend; `--gpu` adds the GPU."""
    if "backend_name" in metafunc.fixturenames:
        gpu = ["gpu"] if metafunc.config.getoption("--gpu", default=False) else []
        metafunc.parametrize("backend_name", ["generic", "cpu-exact", "cpu", *gpu])


@pytest.fixture
def be(backend_name):
    """The backend, seeded."""
    backend = _backend(backend_name)
    backend.seed(1)
    return backend
