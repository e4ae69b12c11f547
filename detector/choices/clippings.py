"""Ways of keeping gradients small before an update; each lane's on the device, whatever it comes to.

Letters: T lanes, P trained values of a lane.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_EPS = 1e-6  # as torch's clip_grads_with_norm_

Numbers = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Norms:
    """What is known of the gradients of lanes.

    Attributes:
        norm_T: Euclidean norm of each lane's gradient before it is clipped, without the loss scale.
        loss_scale_T: Factor that each lane's gradient is multiplied by.
        history_T3: Number of the updates made before, and mean and variance of their norms, float64.
    """

    norm_T: Tensor
    loss_scale_T: Tensor
    history_T3: Tensor


def norm(gradients_TP: Tensor, norms: Norms, numbers_T: Numbers) -> Tensor:
    """Clips gradients in place and takes their loss scale from them: here to a norm of clip_norm at most.

    Args:
        gradients_TP: Gradients times the loss scale, changed in place.
        norms: Norms of these gradients and of those before, and the loss scale.
        numbers_T: Hyperparameters of the clippings by name, each of shape (T,), float64; a limit of 0 is infinity here.

    Returns:
        The history of norms that holds after this update, if it is made, of shape (T, 3).

    Source: Pascanu et al. 2013, algorithm 1; torch.nn.utils.clip_grad_norm_.
    """
    _keep_below(numbers_T["clip_norm"], gradients_TP, norms)
    return norms.history_T3


def value(gradients_TP: Tensor, norms: Norms, numbers_T: Numbers) -> Tensor:
    """As `norm`, but each value to -clip_value..clip_value, which changes the direction.

    Source: torch.nn.utils.clip_grad_value_.
    """
    limit_T1 = numbers_T["clip_value"].to(gradients_TP.dtype)[:, None]
    gradients_TP.div_(norms.loss_scale_T[:, None]).clamp_(min=-limit_T1, max=limit_T1)
    return norms.history_T3


def adaptive(gradients_TP: Tensor, norms: Norms, numbers_T: Numbers) -> Tensor:
    """As `norm`, but where the norm is clip_z deviations above its mean or more, the more so the further it is above.

    A norm of z deviations becomes that of clip_z^2 / z. Mean and variance are those of all norms in the first
    clip_warmup updates, in which nothing is clipped, and then move with a decay of clip_decay, by the clipped norms.

    Source: Kumar et al. 2025 (ZClip), arXiv 2504.02507, section 3, with reciprocal clipping.
    """
    norm_T, (count_T, mean_T, variance_T) = norms.norm_T.double(), norms.history_T3.unbind(1)
    highest_T, is_known_T = numbers_T["clip_z"], count_T >= numbers_T["clip_warmup"]
    deviation_T = variance_T.sqrt()
    z_T = (norm_T - mean_T) / (deviation_T + _EPS)
    is_spike_T = is_known_T & (z_T > highest_T)
    limit_T = torch.where(is_spike_T, mean_T + highest_T**2 / z_T * deviation_T, torch.inf)
    _keep_below(limit_T, gradients_TP, norms)
    clipped_T = norm_T.minimum(limit_T)
    weight_T = torch.where(is_known_T, 1 - numbers_T["clip_decay"], 1 / (count_T + 1))
    next_mean_T = mean_T + weight_T * (clipped_T - mean_T)
    # Within the first updates the variance of all so far (Welford 1962).
    other_T = torch.where(is_known_T, next_mean_T, mean_T)
    spread_T = (clipped_T - other_T) * (clipped_T - next_mean_T)
    return torch.stack((count_T + 1, next_mean_T, variance_T + weight_T * (spread_T - variance_T)), 1)


def none(gradients_TP: Tensor, norms: Norms, numbers_T: Numbers) -> Tensor:  # noqa: ARG001
    """As `norm`, but leaves gradients as large as they are.

    Source: darknet, which has no clipping.
    """
    gradients_TP.div_(norms.loss_scale_T[:, None])
    return norms.history_T3


def _keep_below(limit_T: Tensor, gradients_TP: Tensor, norms: Norms) -> None:
    """Scales gradients to a norm of a limit at most; the factor in float64, whatever the gradient is."""
    share_T = (limit_T / (norms.norm_T.double() + _EPS)).clamp(max=1.0)
    gradients_TP.mul_((share_T / norms.loss_scale_T).to(norms.norm_T.dtype)[:, None])


CLIPPINGS: dict[str, Callable[[Tensor, Norms, Numbers], Tensor]] = {
    "norm": norm,
    "value": value,
    "adaptive": adaptive,
    "none": none,
}
# Those that return another history than they are given.
FOLLOWING = frozenset({"adaptive"})
