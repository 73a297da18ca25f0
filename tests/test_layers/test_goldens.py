"""Every golden case of every layer type that is there, on every backend."""

import pytest

from demitasse.layers.layer import layer_types
from tests.test_layers import golden

# The default CPU path may use transforms whose rounding is larger; `exact` may not.
TOLERANCE = {"generic": 1e-5, "cpu-exact": 1e-5, "cpu": 1e-4, "gpu": 1e-5}


@pytest.mark.filterwarnings("ignore:.*coeff is ignored")
@pytest.mark.parametrize("name", golden.case_names())
def test_agrees_with_caffe(name, be, backend_name):
    case = golden.case(name)
    missing = case.types - set(layer_types())
    assert not missing, f"no layer of type {missing}"
    assert golden.run(case, be, TOLERANCE[backend_name]) == []
