"""Convolution on the CPU: the algorithms, and which of them computes a given one.

    algorithm               which way is expected to be fastest
    direct_forward          a matrix product of the weights with panels of im2col (implicit im2col)
    narrow                  the few columns that are left beyond whole strips
    depthwise               each channel on its own, forward
    direct_backward         its gradients, by im2col and its adjoint
    dot_backward            that of the weights as dot products, for few channels and many pixels
    winograd_forward        tile transforms: a product per frequency instead of one per tap
    winograd_backward_data, _weights    its gradients
    winograd_transforms     the transforms of tiles and kernels, as vector code
    winograd_matrices       the matrices of these transforms
    im2col                  what lies under the taps of a kernel, gathered from an image or added back to it
    polyphase               a convolution with a stride as one without
    polyphase_transposed    a transposed one likewise
    repeated_rows           constant regions: convolved once, then replicated
    repeated_image          or left out, until a layer asks for all
    plan                    what all of them are launched with

Each file holds its kernels and, at its end, what launches them.
"""
