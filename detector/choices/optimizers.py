"""Rules of the update, as torch.optim computes them, on lists of tensors of one kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adamw import adamw as torch_adamw
from torch.optim.sgd import sgd as torch_sgd

from detector.hyperparameters import Hyperparameters

# What a rule remembers between updates: a tensor for each of the weights, by name. Empty before the first update.
State = dict[str, list[Tensor]]
# torch.optim.AdamW's defaults; Kingma & Ba 2015, algorithm 1.
_BETA2, _EPS = 0.999, 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What one update applies to weights of one kind.

    Attributes:
        lr: Learning rate.
        momentum: Momentum, 0 to below 1.
        weight_decay: 0 for kinds that have none.
        values: Hyperparameters of the lane, for what a rule needs besides.
    """

    lr: float
    momentum: float
    weight_decay: float
    values: Hyperparameters


def sgd(weights: Sequence[Tensor], gradients: Sequence[Tensor], state: State, update: Update) -> None:
    """Changes weights and state in place by one step of SGD.

    Args:
        weights: Weights of one kind, changed in place.
        gradients: Clipped gradients of these weights, each of the same shape.
        state: Filled at the first step.
        update: What to apply. At a momentum of 0 the state is left as it is.

    Source: torch.optim.SGD; with momentum m and buffer b it moves by lr (d + m (m b + d)) with Nesterov and by
    lr (m b + d) without, where d is the gradient with weight decay.
    """
    buffers: list[Tensor | None] = [*state.get("momentum", [])] or [None] * len(weights)
    torch_sgd(
        [*weights],
        [*gradients],
        buffers,
        fused=True,
        lr=update.lr,
        momentum=update.momentum,
        weight_decay=update.weight_decay,
        nesterov=update.values.nesterov and update.momentum > 0,
        dampening=0.0,
        maximize=False,
    )
    if update.momentum:
        state["momentum"] = [buffer for buffer in buffers if buffer is not None]


def adamw(weights: Sequence[Tensor], gradients: Sequence[Tensor], state: State, update: Update) -> None:
    """As `sgd`, but by Adam with decoupled weight decay; the momentum is its beta1, and beta2 is 0.999.

    Source: Loshchilov & Hutter 2019, algorithm 2; torch.optim.AdamW.
    """
    if not state:
        state["mean"] = [torch.zeros_like(weight) for weight in weights]
        state["mean_square"] = [torch.zeros_like(weight) for weight in weights]
        state["steps"] = [torch.zeros((), dtype=torch.float32, device=weight.device) for weight in weights]
    torch_adamw(
        [*weights],
        [*gradients],
        state["mean"],
        state["mean_square"],
        [],
        state["steps"],
        fused=True,
        amsgrad=False,
        beta1=update.momentum,
        beta2=_BETA2,
        lr=update.lr,
        weight_decay=update.weight_decay,
        eps=_EPS,
        maximize=False,
    )


OPTIMIZERS: dict[str, Callable[[Sequence[Tensor], Sequence[Tensor], State, Update], None]] = {
    "sgd": sgd,
    "adamw": adamw,
}
