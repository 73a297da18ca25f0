"""The data layers, under the module names that published prototxts give (voc_layers, nyud_layers, ...)."""
