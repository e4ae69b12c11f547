"""Distributions that the kernels of convolutions start from."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

Initialiser = Callable[[torch.Size, Generator], Tensor]


def uniform(shape: torch.Size, generator: Generator) -> Tensor:
    """Values uniform in +-1/sqrt(fan in), float32 on the CPU.

    Args:
        shape: Filters, channels of one group, height and width.
        generator: Random generator on the CPU.

    Source: torch.nn.Conv2d's default.
    """
    bound = 1 / math.sqrt(_fan_in(shape))
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


def he_normal(shape: torch.Size, generator: Generator) -> Tensor:
    """As `uniform`, but normal with variance 2 / (fan in).

    Source: He et al. 2015, eq. 10; darknet convolutional_layer.c has the same variance.
    """
    return torch.empty(shape).normal_(0, math.sqrt(2 / _fan_in(shape)), generator=generator)


def _fan_in(shape: torch.Size) -> int:
    return math.prod(shape[1:])


INITIALISERS: dict[str, Initialiser] = {"uniform": uniform, "he_normal": he_normal}
