"""Rules of the update, as torch.optim computes them, on lists of tensors of one kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam
from torch.optim.rmsprop import rmsprop as torch_rmsprop
from torch.optim.sgd import sgd as torch_sgd

from detector.directions import all_directions_alike

# What a rule remembers between updates: a tensor for each of the weights, by name, and zeros before the first one.
State = Mapping[str, Sequence[Tensor]]
# Defaults of torch.optim; Kingma & Ba 2015, algorithm 1.
_BETA2, _RMSPROP_DECAY, _EPS = 0.999, 0.99, 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What one update applies to weights.

    Attributes:
        lr: Learning rate.
        momentum: Momentum, 0 to below 1.
        weight_decay: Decay of the weights, 0 for those that have none.
        num_updates: Number of the updates made before this one.
        nesterov: Whether the momentum of SGD is Nesterov's.
    """

    lr: float
    momentum: float
    weight_decay: float
    num_updates: int
    nesterov: bool


def sgd(weights: Sequence[Tensor], gradients: Sequence[Tensor], state: State, update: Update) -> None:
    """Changes weights and state in place by one step of SGD.

    Args:
        weights: Weights, changed in place.
        gradients: Clipped gradients of these weights, each of the same shape.
        state: What `REMEMBERED` names but `STEPS`, a tensor for each of the weights; left as it is at a momentum of 0.
        update: Rates and other numbers that the step applies.

    Source: torch.optim.SGD; with momentum m and buffer b it moves by lr (d + m (m b + d)) with Nesterov and by
    lr (m b + d) without, where d is the gradient with weight decay.
    """
    torch_sgd(
        [*weights],
        [*gradients],
        [*state["momentum"]],
        fused=True,
        lr=update.lr,
        momentum=update.momentum,
        weight_decay=update.weight_decay,
        nesterov=update.nesterov and update.momentum > 0,
        dampening=0.0,
        maximize=False,
    )


def adamw(weights: Sequence[Tensor], gradients: Sequence[Tensor], state: State, update: Update) -> None:
    """As `sgd`, but by Adam with decoupled weight decay; the momentum is its beta1, and beta2 is 0.999.

    Source: Loshchilov & Hutter 2019, algorithm 2; torch.optim.AdamW.
    """
    _adam(weights, gradients, state, update, is_decay_decoupled=True)


def adam(weights: Sequence[Tensor], gradients: Sequence[Tensor], state: State, update: Update) -> None:
    """As `adamw`, but with the weight decay added to the gradient (L2), so that it is scaled as that is.

    Source: Kingma & Ba 2015, algorithm 1; torch.optim.Adam.
    """
    _adam(weights, gradients, state, update, is_decay_decoupled=False)


def rmsprop(weights: Sequence[Tensor], gradients: Sequence[Tensor], state: State, update: Update) -> None:
    """As `sgd`, heavy ball, but of gradients divided by the root of a moving mean of their squares, decay 0.99.

    Source: Tieleman & Hinton 2012, lecture 6.5; torch.optim.RMSprop with momentum, not centred.
    """
    torch_rmsprop(
        [*weights],
        [*gradients],
        [*state["mean_square"]],
        [],
        [*state["momentum"]],
        _steps(weights, update),
        foreach=True,
        lr=update.lr,
        alpha=_RMSPROP_DECAY,
        eps=_EPS,
        weight_decay=update.weight_decay,
        momentum=update.momentum,
        centered=False,
    )


def muon(weights: Sequence[Tensor], gradients: Sequence[Tensor], state: State, update: Update) -> None:
    """As `sgd`, but kernels, given as matrices (O, I), move by their momentum with all singular values made about 1.

    So no direction is learned faster than another, and how far a kernel moves is the rate's alone: a spectral norm near
    lr, times the root of O / I where that is above 1. Their decay is decoupled. What is no matrix, scales and biases,
    moves as by `sgd`, at the same rate.

    Source: Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks; torch.optim.Muon.
    """
    if weights[0].dim() != 2:
        sgd(weights, gradients, state, update)
        return
    for weight, gradient, momentum in zip(weights, gradients, state["momentum"], strict=True):
        momentum.lerp_(gradient, 1 - update.momentum)
        ahead = gradient.lerp(momentum, update.momentum) if update.nesterov else momentum
        height, width = weight.shape
        weight.mul_(1 - update.lr * update.weight_decay)
        weight.add_(all_directions_alike(ahead), alpha=-update.lr * sqrt(max(1.0, height / width)))


def _adam(
    weights: Sequence[Tensor], gradients: Sequence[Tensor], state: State, update: Update, *, is_decay_decoupled: bool
) -> None:
    torch_adam(
        [*weights],
        [*gradients],
        [*state["mean"]],
        [*state["mean_square"]],
        [],
        _steps(weights, update),
        fused=True,
        decoupled_weight_decay=is_decay_decoupled,
        amsgrad=False,
        beta1=update.momentum,
        beta2=_BETA2,
        lr=update.lr,
        weight_decay=update.weight_decay,
        eps=_EPS,
        maximize=False,
    )


def _steps(weights: Sequence[Tensor], update: Update) -> list[Tensor]:
    """Updates so far as torch counts them: in a tensor for each weight, to which it adds one before it uses it."""
    return [*torch.full((len(weights),), float(update.num_updates), device=weights[0].device).unbind()]


OPTIMIZERS: dict[str, Callable[[Sequence[Tensor], Sequence[Tensor], State, Update], None]] = {
    "sgd": sgd,
    "adamw": adamw,
    "adam": adam,
    "rmsprop": rmsprop,
    "muon": muon,
}
# Rules that are given each kernel as a matrix of its outputs and of all that each is made of, (O, I).
OF_MATRICES = frozenset({"muon"})
# What each remembers, by the names that checkpoints have: a tensor of the shape of a weight, but `STEPS` is a number.
STEPS = "steps"
REMEMBERED: dict[str, tuple[str, ...]] = {
    "sgd": ("momentum",),
    "adamw": ("mean", "mean_square", STEPS),
    "adam": ("mean", "mean_square", STEPS),
    "rmsprop": ("mean_square", "momentum"),
    "muon": ("momentum",),
}
