"""One file per layer type; each holds the layer's whole life."""

if __name__ != "demitasse.layers":  # a checkout on the path: another package's `layers` may be what was meant
    raise ModuleNotFoundError("this folder is Demitasse's: import demitasse.layers", name=__name__)
