"""Blocks that hold T networks side by side: lane t owns channels t*C to (t+1)*C of everything.

Letters: T lanes, N images, C channels of one lane, H and W pixels.
A lane is slice t of dimension 0 of every parameter and buffer; no block lets lanes touch each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from detector.choices.normalisations import NORMALISATIONS

NEGATIVE_SLOPE = 0.1  # darknet's leaky activation (activations.h)


class LaneConv(nn.Module):
    """A convolution of each lane's own channels; "same" padding as in darknet."""

    def __init__(self, channels: int, filters: int, *, size: int, stride: int, lanes: int, reads_images: bool) -> None:
        super().__init__()
        self.lanes, self.channels, self.reads_images = lanes, channels, reads_images
        self.stride, self.padding = stride, size // 2
        self.weight = nn.Parameter(torch.empty(lanes * filters, channels, size, size))

    def forward(self, x: Tensor) -> Tensor:
        # Where every lane sees the same images, the first layer is one plain convolution with T*C filters.
        is_plain = self.reads_images and x.shape[1] == self.channels
        return functional.conv2d(x, self.weight, None, self.stride, self.padding, 1, 1 if is_plain else self.lanes)


class ConvBlock(nn.Module):
    """Convolution, normalisation, leaky ReLU; where it puts out what a head says, only the convolution and a bias.

    Args:
        conv: Convolution that the block begins with.
        normalisation: What follows the convolution, a key of `NORMALISATIONS`; empty for an output.
    """

    def __init__(self, conv: LaneConv, *, normalisation: str) -> None:
        super().__init__()
        self.conv = conv
        filters = conv.weight.shape[0]
        self.norm = NORMALISATIONS[normalisation](filters // conv.lanes, conv.lanes) if normalisation else None
        self.bias = None if normalisation else nn.Parameter(torch.zeros(filters))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.norm is not None:
            return functional.leaky_relu(self.norm(x), NEGATIVE_SLOPE, inplace=True)
        assert self.bias is not None
        return x + self.bias.to(x.dtype).view(1, -1, 1, 1)


def max_pool(x: Tensor, size: int, stride: int) -> Tensor:
    """Darknet's max pooling: output ceil(side / stride), padded below and to the right first (maxpool_layer.c)."""
    if size == stride:
        return functional.max_pool2d(x, size, stride)
    if size % 2:
        return functional.max_pool2d(x, size, stride, size // 2)
    return functional.max_pool2d(functional.pad(x, (0, 1, 0, 1), value=float("-inf")), size, stride)


def concatenate(parts: Sequence[Tensor], lanes: int) -> Tensor:
    """Joins channels inside each lane.

    Args:
        parts: Tensors of shape (N, T*C_i, H, W).
        lanes: Number of lanes, T.

    Returns:
        Tensor of shape (N, T * sum(C_i), H, W), channels last if the parts are.
    """
    if len(parts) == 1:
        return parts[0]
    if lanes == 1:
        return torch.cat(list(parts), 1)
    # Joined in N H W T C order: that keeps channels_last without another copy.
    joined = torch.cat([part.permute(0, 2, 3, 1).unflatten(3, (lanes, -1)) for part in parts], -1)
    return joined.flatten(3).permute(0, 3, 1, 2)
