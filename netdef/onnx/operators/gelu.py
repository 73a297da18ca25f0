"""The error function, which no Caffe layer has, as tanh of a polynomial; and GELU, which needs it.

erf(x) = tanh(x (c0 + c1 x^2 + c2 x^4 + ...)) to 7.2e-8, a rounding of float32: the coefficients were fitted to it over
0 to 3.9, from where on it is 1 in float32.
"""

from __future__ import annotations

import math

from demitasse.netdef.onnx.builder import Blob, Builder, Node, operator
from demitasse.netdef.onnx.operators.elementwise import eltwise, held_between, power
from demitasse.proto.messages import EltwiseParameter

END = 3.9
COEFFICIENTS = (
    1.12837982,
    1.02764418e-01,
    -1.81853430e-04,
    -6.27987496e-04,
    9.05935327e-05,
    -6.13384595e-06,
    1.67688788e-07,
)
CUBE = 0.044715  # of GELU by a tanh (Hendrycks and Gimpel, 2016)


@operator("Erf")
def _erf(builder: Builder, node: Node, inputs: list) -> None:
    error_function(builder, inputs[0], node.outputs[0])


@operator("Gelu")
def _gelu(builder: Builder, node: Node, inputs: list) -> None:
    (x,), out = inputs, node.outputs[0]
    if node.attrs.get("approximate", "none") == "tanh":
        square = power(builder, x, f"{out}/square", power=2.0)
        factor = power(
            builder, square, f"{out}/factor", scale=CUBE * math.sqrt(2 / math.pi), shift=math.sqrt(2 / math.pi)
        )
        part = builder.layer("TanH", [_product(builder, x, factor, f"{out}/line")], f"{out}/tanh")
    else:
        part = error_function(builder, power(builder, x, f"{out}/line", scale=math.sqrt(0.5)), f"{out}/erf")
    _product(builder, x, power(builder, part, f"{out}/share", scale=0.5, shift=0.5), out)


def error_function(builder: Builder, x: Blob, out: str) -> Blob:
    """erf(x)."""
    held_between(builder, x, f"{out}/held", -END, END)
    x = builder.blob(f"{out}/held")
    square = power(builder, x, f"{out}/square", power=2.0)
    *rest, before, last = COEFFICIENTS
    y = power(builder, square, f"{out}/{len(rest)}", scale=last, shift=before)
    for i, coefficient in reversed(list(enumerate(rest))):
        y = _product(builder, y, square, f"{out}/{i}/product")
        y = power(builder, y, f"{out}/{i}", shift=coefficient)
    return builder.layer("TanH", [_product(builder, y, x, f"{out}/line")], out)


def _product(builder: Builder, x: Blob, y: Blob, out: str) -> Blob:
    eltwise(builder, [x, y], out, EltwiseParameter.PROD)
    return builder.blob(out)
