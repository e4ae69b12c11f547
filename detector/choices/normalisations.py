"""What follows a convolution and keeps the scale of what layers pass on, as modules of T lanes side by side.

Letters: T lanes, N images, C channels of one lane, H and W pixels.
All work on (N, T*C, H, W). Lane t owns channels t*C to (t+1)*C and the same values of every parameter and buffer;
lanes do not touch each other.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

NORM_EPS = 1e-5  # added to the variance; torch's default, and darknet's on a GPU (blas_kernels.cu)
MOST_GROUPS = 32  # Wu & He's default
FEWEST_CHANNELS = 4  # of a group, where a layer has so few channels that 32 groups would each be one


class BatchNorm(nn.Module):
    """Batch norm over each lane's channels; momentum is torch's default. A frozen one keeps its statistics, too.

    Args:
        channels: Number of channels of one lane, C.
        lanes: Number of lanes, T.

    Source: Ioffe & Szegedy 2015, algorithm 1; torch.nn.BatchNorm2d.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, lanes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(lanes * channels))
        self.bias = nn.Parameter(torch.zeros(lanes * channels))
        self.register_buffer("running_mean", torch.zeros(lanes * channels))
        self.register_buffer("running_var", torch.ones(lanes * channels))

    def forward(self, x: Tensor) -> Tensor:
        is_training = self.training and self.weight.requires_grad
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, is_training, 0.1, NORM_EPS
        )


class GroupNorm(nn.Module):
    """Norm over groups of each lane's channels, image by image: it knows no batch and has no statistics to average.

    Args:
        channels, lanes: Number of channels of one lane, C, of which `groups_of` makes groups, and of lanes, T.

    Source: Wu & He 2018, eq. 7; torch.nn.GroupNorm.
    """

    def __init__(self, channels: int, lanes: int) -> None:
        super().__init__()
        self.groups = lanes * groups_of(channels)
        self.weight = nn.Parameter(torch.ones(lanes * channels))
        self.bias = nn.Parameter(torch.zeros(lanes * channels))

    def forward(self, x: Tensor) -> Tensor:
        return functional.group_norm(x, self.groups, self.weight, self.bias, NORM_EPS)


class Shift(nn.Module):
    """A bias for each channel and nothing else, which is all that a convolution has where nothing normalises.

    Args:
        channels, lanes: Number of channels of one lane, C, and of lanes, T.

    Source: torch.nn.Conv2d's bias; darknet convolutional_layer.c without batch_normalize.
    """

    def __init__(self, channels: int, lanes: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(lanes * channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias.to(x.dtype).view(1, -1, 1, 1)


def groups_of(channels: int) -> int:
    """Number of groups that the channels of a lane are normalised in: it divides them.

    The largest up to 32 that leaves each group four channels or more; 1 where there is none.

    Args:
        channels: Number of channels of a lane, at least 1.

    Source: Wu & He 2018, section 3.1, has 32 groups; four channels at least are ours, for networks of 8 channels.
    """
    fitting = (count for count in range(MOST_GROUPS, 1, -1) if channels % count == 0)
    return next((count for count in fitting if channels // count >= FEWEST_CHANNELS), 1)


NORMALISATIONS: dict[str, Callable[[int, int], nn.Module]] = {"batch": BatchNorm, "group": GroupNorm, "none": Shift}
