"""Convolution on the CPU: the ways to compute one, and which is taken."""
