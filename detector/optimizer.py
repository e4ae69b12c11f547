"""One lane's updates on its slices of the network, with clipping, averaging and loss scale.

An update is proposed on copies of the weights by the rule that the hyperparameters choose, measured, and then taken
or left. Slices share storage with the network's parameters and gradients, so a lane can be stepped, skipped or
dropped without its neighbours noticing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from detector.choices.optimizers import OPTIMIZERS, State, Update
from detector.hyperparameters import Hyperparameters
from detector.models.network import Network, lane_slice
from detector.telemetry import Rates

KINDS = ("decayed", "norms", "biases")
CLIP_EPS = 1e-6  # as torch's clip_grads_with_norm_
_NOT_OF_THE_RULE = ("average", "num_updates", "loss_scale")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proposal:
    """Weights after the update about to be made, by name, and what the rule then remembers, by kind."""

    weights: Mapping[str, Tensor]
    states: Mapping[str, State]


class LaneOptimizer:
    """The chosen rule over what of one lane is trained; weight decay on convolution kernels only.

    Use: `propose` after each backward pass, then `accept` or `clear_gradient`; neither, to go on adding gradients.
    """

    def __init__(self, network: Network, lane: int, values: Hyperparameters) -> None:
        self._values = values
        names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
        self._names = {kind: [name for name in names if _kind(name) == kind] for kind in KINDS}
        self._states: dict[str, State] = {kind: {} for kind in KINDS}
        self._num_updates = 0
        self.loss_scale = 1.0
        self.bind(network, lane)
        self.average = {name: value.clone() for name, value in network.lane_state(lane).items()}

    def bind(self, network: Network, lane: int) -> None:
        """Takes slice `lane` of a network as this lane's storage; momentum and average stay."""
        self._weights: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}
        for name, parameter in network.named_parameters():
            if not parameter.requires_grad:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            self._weights[name] = lane_slice(parameter, lane, network.lanes)
            self._gradients[name] = lane_slice(parameter.grad, lane, network.lanes)
        self._live_state = network.lane_state(lane)
        self._proposal: _Proposal | None = None

    @torch.no_grad()
    def propose(self, rates: Rates) -> Tensor:
        """Works out the update that the gradient so far leads to, clipped; nothing of the lane is changed yet.

        Args:
            rates: What the update applies.

        Returns:
            Euclidean norm of the gradient without its loss scale and before clipping, on its device.
        """
        grad_norm = get_total_norm(self._gradients.values()) / self.loss_scale
        factor = self._factor(grad_norm)
        weights = dict(zip(self._weights, torch._foreach_clone([*self._weights.values()]), strict=True))
        gradients = dict(zip(self._gradients, torch._foreach_mul([*self._gradients.values()], factor), strict=True))
        states: dict[str, State] = {}
        for kind, names in self._names.items():
            states[kind] = {key: list(torch._foreach_clone(tensors)) for key, tensors in self._states[kind].items()}
            chosen = [weights[name] for name in names], [gradients[name] for name in names]
            OPTIMIZERS[self._values.optimizer](*chosen, states[kind], self._update(kind, rates))
        self._proposal = _Proposal(weights=weights, states=states)
        return grad_norm

    @torch.no_grad()
    def moves(self) -> dict[str, Tensor]:
        """What the proposed update adds to the weights, by name of the parameter."""
        assert self._proposal is not None
        moves = torch._foreach_sub([*self._proposal.weights.values()], [*self._weights.values()])
        return dict(zip(self._weights, moves, strict=True))

    @torch.no_grad()
    def update_ratio(self) -> Tensor:
        """Norm of the proposed update over the norm of the weights, on their device."""
        moves = self.moves().values()
        norms = torch.stack(torch._foreach_norm([*moves, *self._weights.values()]))
        update_norm = torch.linalg.vector_norm(norms[: len(moves)])
        weight_norm = torch.linalg.vector_norm(norms[len(moves) :])
        ratio: Tensor = update_norm / weight_norm.clamp(min=torch.finfo(norms.dtype).tiny)
        return ratio

    @torch.no_grad()
    def accept(self) -> None:
        """Makes the proposed update, then the moving average; empties the gradient."""
        assert self._proposal is not None
        torch._foreach_copy_([*self._weights.values()], [*self._proposal.weights.values()])
        self._states = dict(self._proposal.states)
        self._num_updates += 1
        self._update_average()
        self.clear_gradient()

    @torch.no_grad()
    def clear_gradient(self) -> None:
        """Sets the lane's gradient to zero, in place, and forgets the update it led to."""
        torch._foreach_zero_([*self._gradients.values()])
        self._proposal = None

    def state(self) -> dict[str, Tensor | int | float | dict[str, Tensor]]:
        """Everything a resumed lane needs besides its weights, as copies on the CPU."""
        remembered: dict[str, dict[str, Tensor]] = {}
        for kind, state in self._states.items():
            for key, tensors in state.items():
                by_name = zip(self._names[kind], tensors, strict=True)
                remembered.setdefault(key, {}).update((name, tensor.cpu().clone()) for name, tensor in by_name)
        return {
            "average": {name: value.cpu().clone() for name, value in self.average.items()},
            **remembered,
            "num_updates": self._num_updates,
            "loss_scale": self.loss_scale,
        }

    @torch.no_grad()
    def load_state(self, state: Mapping[str, object]) -> None:
        """Takes back what `state` gave."""
        average = state["average"]
        assert isinstance(average, dict)
        for name, value in average.items():
            self.average[name].copy_(value)
        for key, stored in state.items():
            if key in _NOT_OF_THE_RULE or not stored:
                continue
            assert isinstance(stored, dict)
            for kind, names in self._names.items():
                self._states[kind][key] = [_placed_like(self._weights[name], stored[name]) for name in names]
        self._num_updates = int(str(state["num_updates"]))
        self.loss_scale = float(str(state["loss_scale"]))

    def _factor(self, grad_norm: Tensor) -> Tensor:
        """What gradients are multiplied by: clipping, without the loss scale. In float64, whatever the gradient is."""
        norm = grad_norm.double()
        if not self._values.clip_norm:
            return (torch.ones_like(norm) / self.loss_scale).to(grad_norm.dtype)
        # A tensor over a tensor: torch rounds a number over a tensor twice.
        largest = torch.full_like(norm, self._values.clip_norm)
        return ((largest / (norm + CLIP_EPS)).clamp(max=1.0) / self.loss_scale).to(grad_norm.dtype)

    def _update(self, kind: str, rates: Rates) -> Update:
        return Update(
            lr=rates.bias_lr if kind == "biases" else rates.lr,
            momentum=rates.momentum,
            weight_decay=self._values.weight_decay if kind == "decayed" else 0.0,
            values=self._values,
        )

    def _update_average(self) -> None:
        # The ramp lets short trainings average over less (tf.train.ExponentialMovingAverage, num_updates).
        ramp = (1 + self._num_updates) / (10 + self._num_updates)
        decay = min(self._values.ema_decay, ramp)
        update = get_ema_multi_avg_fn(decay)
        update(list(self.average.values()), [self._live_state[name] for name in self.average], self._num_updates)


def _kind(name: str) -> str:
    if name.endswith("bias"):
        return "biases"
    return "norms" if name.endswith("norm.weight") else "decayed"


def _placed_like(weight: Tensor, stored: Tensor) -> Tensor:
    """A copy on the device of a weight, and in its layout where it has its shape."""
    if stored.shape == weight.shape:
        return torch.empty_like(weight).copy_(stored)
    return stored.to(weight.device, copy=True)
