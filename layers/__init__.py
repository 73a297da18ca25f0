"""One file per layer type; each holds the layer's whole life."""
