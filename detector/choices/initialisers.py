"""Distributions that the kernels of convolutions start from, all with a mean of 0.

Every one draws float32 on the CPU. Where a normalisation follows, the scale of a kernel cancels in what the layer
passes on and sets only how fast it turns; without one it decides whether activations and gradients shrink or grow from
layer to layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

Initialiser = Callable[[torch.Size, Generator, float], Tensor]


def uniform(shape: torch.Size, generator: Generator, _std: float) -> Tensor:
    """Values uniform in +-1/sqrt(fan in).

    Args:
        shape: Filters, channels of one group, height and width.
        generator: Random generator on the CPU.
        _std: Not looked at; a standard deviation, for the distributions that are given one.

    Source: torch.nn.Conv2d's default.
    """
    return _uniform(shape, generator, 1 / math.sqrt(_fan_in(shape)))


def he_normal(shape: torch.Size, generator: Generator, _std: float) -> Tensor:
    """As `uniform`, but normal with variance 2 / (fan in), which keeps the spread of activations through ReLUs.

    Source: He et al. 2015, eq. 10; darknet convolutional_layer.c has the same variance.
    """
    return _normal(shape, generator, math.sqrt(2 / _fan_in(shape)))


def he_uniform(shape: torch.Size, generator: Generator, _std: float) -> Tensor:
    """As `uniform`, but in +-sqrt(6 / fan in): the variance of `he_normal`.

    Source: He et al. 2015, eq. 10; torch.nn.init.kaiming_uniform_ for a ReLU.
    """
    return _uniform(shape, generator, math.sqrt(6 / _fan_in(shape)))


def xavier(shape: torch.Size, generator: Generator, _std: float) -> Tensor:
    """As `uniform`, but in +-sqrt(6 / (fan in + fan out)), a balance of forward and backward pass.

    Source: Glorot & Bengio 2010, eq. 16; for kernels as torch.nn.init.xavier_uniform_ counts them.
    """
    return _uniform(shape, generator, math.sqrt(6 / (_fan_in(shape) + _fan_out(shape))))


def normal(shape: torch.Size, generator: Generator, std: float) -> Tensor:
    """Normal with one deviation for all layers, whatever their size.

    Args:
        shape: Filters, channels of one group, height and width.
        generator: Random generator on the CPU.
        std: Standard deviation of the values, 0 or above.

    Source: Glorot & Bengio 2010, section 4, where such starts are what makes signals vanish; torch.nn.init.normal_.
    """
    return _normal(shape, generator, std)


def _uniform(shape: torch.Size, generator: Generator, bound: float) -> Tensor:
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)


def _normal(shape: torch.Size, generator: Generator, std: float) -> Tensor:
    return torch.empty(shape).normal_(0, std, generator=generator)


def _fan_in(shape: torch.Size) -> int:
    return math.prod(shape[1:])


def _fan_out(shape: torch.Size) -> int:
    return shape[0] * math.prod(shape[2:])


INITIALISERS: dict[str, Initialiser] = {
    "uniform": uniform,
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "xavier": xavier,
    "normal": normal,
}
