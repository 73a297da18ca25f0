"""What every test has: the --gpu option, and the opt-in of full-size nets."""

import os

import pytest


def pytest_addoption(parser):
    parser.addoption("--gpu", action="store_true", help="run on the GPU too (`make test-gpu`)")


def pytest_configure(config):
    if config.getoption("--gpu"):
        from demitasse.layers.backend import make_backend
        from demitasse.proto.errors import NetError

        try:
            make_backend("gpu")
        except NetError as fault:
            pytest.exit(f"--gpu: {fault}", 2)


def pytest_collection_modifyitems(items):
    if os.environ.get("DEMITASSE_FULL"):
        return
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker(pytest.mark.skip(reason="full-size nets run with DEMITASSE_FULL=1"))
