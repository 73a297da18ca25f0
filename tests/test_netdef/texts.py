"""Short ways to write the prototxts of the tests in this folder."""

from demitasse.layers.backend import make_backend
from demitasse.netdef.net import Net


def blob(name="data", shape=(1, 3, 8, 8)):
    """An Input layer."""
    dims = " ".join(f"dim: {size}" for size in shape)
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'


def layer(type_name, name, bottoms="", tops=None, more=""):
    """A layer; bottoms and tops are names with blanks between, the top is the layer's name unless given."""
    wires = [f'bottom: "{bottom}"' for bottom in bottoms.split()]
    wires += [f'top: "{top}"' for top in (name if tops is None else tops).split()]
    return f'layer {{ name: "{name}" type: "{type_name}" {" ".join(wires)} {more} }}\n'


def conv(name, bottom, outputs=4, kernel=3, tops=None, more="", param=""):
    """A Convolution with small random weights."""
    fields = f"num_output: {outputs} kernel_size: {kernel} weight_filler {{ type: 'xavier' }} {param}"
    return layer("Convolution", name, bottom, tops, f"{more} convolution_param {{ {fields} }}")


def build(text, phase="TEST", dtype="float32", **options):
    """The net on the generic backend, with a fixed seed."""
    options.setdefault("seed", 7)
    return Net(text, phase, backend=make_backend("generic", dtype=dtype), **options)


# data -> c1 -> r1 (in place) -> c2, both of which meet in sum -> loss
SMALL = (
    blob()
    + blob("label", (1, 1, 6, 6))
    + conv("c1", "data")
    + layer("ReLU", "r1", "c1", "c1")
    + conv("c2", "c1", kernel=1)
    + layer("Eltwise", "sum", "c1 c2")
    + layer("SoftmaxWithLoss", "loss", "sum label")
)
