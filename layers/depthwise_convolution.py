"""DepthwiseConvolution, ConvolutionDepthwise (MobileNet forks): a Convolution of each channel on its own.

`group` is the number of channels where the prototxt does not say it; else everything is Convolution's.

Source: "MobileNets" (Howard et al., 2017).
"""

from demitasse.layers.convolution import Convolution
from demitasse.layers.layer import axis_index
from demitasse.proto.messages import LayerParameter


class DepthwiseConvolution(Convolution):
    """A Convolution whose group is its number of channels."""

    type = "DepthwiseConvolution"
    launches_only = True
    fields = ("convolution_param",)

    def setup(self, shapes):
        param = self.spec.convolution_param
        if not param.HasField("group"):
            spec = LayerParameter()
            spec.CopyFrom(self.spec)
            spec.convolution_param.group = shapes[0][axis_index(param.axis, shapes[0], "convolution_param.axis")]
            self.spec = spec
        return super().setup(shapes)


class ConvolutionDepthwise(DepthwiseConvolution):
    """The same under the name that some forks gave it."""

    type = "ConvolutionDepthwise"
    launches_only = True
