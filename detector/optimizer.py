"""One lane's SGD: torch.optim on the lane's slices of the network, with clipping, averaging and loss scale.

A slice is a Parameter that shares storage with the network's, and its gradient is a slice of the network's gradient.
So a lane can be stepped, skipped or dropped without its neighbours noticing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from detector.hyperparameters import Hyperparameters
from detector.models.network import Network, lane_slice
from detector.schedule import Rates

KINDS = ("decayed", "norms", "biases")


class LaneOptimizer:
    """SGD with momentum over one lane; weight decay on convolution kernels only."""

    def __init__(self, network: Network, lane: int, values: Hyperparameters) -> None:
        self._values = values
        self._slices = {name: nn.Parameter(lane_slice(p, lane, network.lanes)) for name, p in _parameters(network)}
        self._groups = {kind: [p for n, p in self._slices.items() if _kind(n) == kind] for kind in KINDS}
        self._sgd = torch.optim.SGD(
            [
                {"params": self._groups[kind], "weight_decay": values.weight_decay if kind == "decayed" else 0.0}
                for kind in KINDS
            ],
            lr=values.lr0,
            momentum=values.momentum,
            nesterov=values.nesterov and values.momentum > 0,
            fused=True,
        )
        self._num_updates = 0
        self.loss_scale = 1.0
        self.bind(network, lane)
        self.average = {name: value.clone() for name, value in network.lane_state(lane).items()}

    def bind(self, network: Network, lane: int) -> None:
        """Takes slice `lane` of a network as this lane's storage; momentum and average stay."""
        for name, parameter in _parameters(network):
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            self._slices[name].data = lane_slice(parameter, lane, network.lanes)
            self._slices[name].grad = lane_slice(parameter.grad, lane, network.lanes)
        self._live_state = network.lane_state(lane)

    @torch.no_grad()
    def grad_norm(self) -> Tensor:
        """Euclidean norm of the lane's gradient without its loss scale, on its device."""
        return get_total_norm(self._gradients()) / self.loss_scale

    @torch.no_grad()
    def update_ratio(self, rates: Rates, grad_norm: Tensor) -> Tensor:
        """Norm of the update that `step` would make over the norm of the weights, on their device.

        With gradient g (clipped), decay wd, momentum m and buffer b, SGD moves by lr (d + m (m b + d)) with Nesterov
        and by lr (m b + d) without, where d = g + wd w (torch.optim.SGD).
        """
        nesterov = self._values.nesterov and rates.momentum > 0
        of_gradient = 1 + rates.momentum if nesterov else 1.0
        of_buffer = rates.momentum**2 if nesterov else rates.momentum
        of_gradient_here = of_gradient / self.loss_scale * self._clip_factor(grad_norm)
        moves = []
        for group in self._sgd.param_groups:
            weights: list[Tensor] = group["params"]
            move = torch._foreach_mul([w.grad for w in weights if w.grad is not None], of_gradient_here)
            if group["weight_decay"]:
                torch._foreach_add_(move, weights, alpha=of_gradient * group["weight_decay"])
            if buffers := [self._sgd.state[w]["momentum_buffer"] for w in weights if self._sgd.state.get(w)]:
                torch._foreach_add_(move, buffers, alpha=of_buffer)
            moves.append(get_total_norm(move))
        lr = torch.tensor([rates.lr, rates.lr, rates.bias_lr], dtype=moves[0].dtype)
        size = torch.linalg.vector_norm(torch.stack(moves) * lr.to(moves[0].device, non_blocking=True))
        weight_norm = get_total_norm(list(self._slices.values()))
        ratio: Tensor = size / weight_norm.clamp(min=torch.finfo(size.dtype).tiny)
        return ratio

    @torch.no_grad()
    def step(self, rates: Rates, grad_norm: Tensor) -> None:
        """One clipped update with the gradient so far, then the moving average; empties the gradient."""
        for kind, group in zip(KINDS, self._sgd.param_groups, strict=True):
            group["lr"] = rates.bias_lr if kind == "biases" else rates.lr
            group["momentum"] = rates.momentum
            group["nesterov"] = self._values.nesterov and rates.momentum > 0
        if self.loss_scale != 1:
            torch._foreach_mul_(self._gradients(), 1 / self.loss_scale)
        if self._values.clip_norm:
            clip_grads_with_norm_(list(self._slices.values()), self._values.clip_norm, grad_norm)
        self._sgd.step()
        self._num_updates += 1
        self._update_average()
        self.clear_gradient()

    @torch.no_grad()
    def clear_gradient(self) -> None:
        """Sets the lane's gradient to zero, in place."""
        torch._foreach_zero_(self._gradients())

    def _update_average(self) -> None:
        # The ramp lets short trainings average over less (tf.train.ExponentialMovingAverage, num_updates).
        ramp = (1 + self._num_updates) / (10 + self._num_updates)
        decay = min(self._values.ema_decay, ramp)
        update = get_ema_multi_avg_fn(decay)
        update(list(self.average.values()), [self._live_state[name] for name in self.average], self._num_updates)

    def state(self) -> dict[str, Tensor | int | float | dict[str, Tensor]]:
        """Everything a resumed lane needs besides its weights, as copies on the CPU."""
        return {
            "average": {name: value.cpu().clone() for name, value in self.average.items()},
            "momentum": {name: buffer.cpu().clone() for name, buffer in self._momentum_buffers()},
            "num_updates": self._num_updates,
            "loss_scale": self.loss_scale,
        }

    @torch.no_grad()
    def load_state(self, state: Mapping[str, object]) -> None:
        """Takes back what `state` gave."""
        average, momentum = state["average"], state["momentum"]
        assert isinstance(average, dict) and isinstance(momentum, dict)
        for name, value in average.items():
            self.average[name].copy_(value)
        for name, value in momentum.items():
            self._sgd.state[self._slices[name]]["momentum_buffer"] = torch.empty_like(self._slices[name]).copy_(value)
        self._num_updates = int(str(state["num_updates"]))
        self.loss_scale = float(str(state["loss_scale"]))

    def _momentum_buffers(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self._slices.items():
            buffer = self._sgd.state.get(parameter, {}).get("momentum_buffer")
            if buffer is not None:
                yield name, buffer

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self._slices.values() if p.grad is not None]

    def _clip_factor(self, grad_norm: Tensor) -> Tensor:
        if not self._values.clip_norm:
            return torch.ones_like(grad_norm)
        # As torch's clip_grads_with_norm_ has it.
        return (self._values.clip_norm / (grad_norm + 1e-6)).clamp(max=1.0)


def _parameters(network: Network) -> Iterator[tuple[str, nn.Parameter]]:
    return network.named_parameters()


def _kind(name: str) -> str:
    if name.endswith("bias"):
        return "biases"
    return "norms" if name.endswith("norm.weight") else "decayed"
