"""What the layers of a network hold: activations on a batch, weights and gradients, each as a few numbers.

All is bounded: three rows a layer, of about 0.2 kB, at most 25 times a training: some 0.2 MB for yolov3-tiny and 1.1 MB
for yolov3. Letters: N images, C channels of a layer or kernels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import isfinite, nan
from typing import Any

import torch
from torch import Tensor, nn

from detector.models import Network
from detector.observations import REACH, LayerValues, Part

BINS = 20  # of a histogram
_EXACT = 2**23  # values counted at once: float32 has no more whole numbers than twice as many


@contextmanager
def activations_of(network: Network) -> Iterator[list[LayerValues]]:
    """A list into which the next forward pass puts what each layer hands on, in their order.

    Args:
        network: Network of one lane; nothing of it is changed.
    """
    found: list[LayerValues] = []
    hooks = [
        block.register_forward_hook(partial(_note, found, layer, not network.rows[int(index)].is_normalised))
        for layer, (index, block) in enumerate(network.blocks.items())
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def _note(
    found: list[LayerValues], layer: int, is_output: bool, _block: nn.Module, _given: object, handed_on_NCHW: Tensor
) -> None:
    dead = nan if is_output else _share(handed_on_NCHW.amax((0, 2, 3)) <= 0)
    found.append(layer_values(layer, "activations", handed_on_NCHW, dead))


def kernel_values(weights: Mapping[str, Tensor], loss: Tensor, *, loss_scale: float) -> Iterator[LayerValues]:
    """Weights of all kernels, and gradients of a loss with respect to those that are trained.

    Args:
        weights: Parameters that `loss` was computed with, by the names of a one-lane network.
        loss: Loss of the lane, one number, times `loss_scale`.
        loss_scale: Factor that keeps gradients within the range of float16; they are divided by it again.
    """
    kernels = [weight for name, weight in weights.items() if name.endswith(".conv.weight")]
    trained = [layer for layer, kernel in enumerate(kernels) if kernel.requires_grad]
    gradients = torch.autograd.grad(loss, [kernels[layer] for layer in trained])
    for layer, kernel in enumerate(kernels):
        yield layer_values(layer, "weights", kernel.detach(), _share_of_zeros(kernel.detach()))
    for layer, gradient in zip(trained, gradients, strict=True):
        yield layer_values(layer, "gradients", gradient / loss_scale, _share_of_zeros(gradient))


def _share_of_zeros(kernels: Tensor) -> float:
    return _share(kernels.flatten(1).count_nonzero(1) == 0)


def _share(is_so_C: Tensor) -> float:
    return float(is_so_C.double().mean())


def layer_values(layer: int, part: Part, values: Tensor, dead: float) -> LayerValues:
    """Mean, spread, norm, range, zeros and histogram of a layer's values.

    Args:
        layer, part, dead: Place of the layer, what the values are, and the share of dead channels or kernels, as
            `LayerValues` has them.
        values: Values of the layer, of any shape, at least one.
    """
    values = values if values.dtype == torch.float64 else values.float()
    smallest, largest = (float(end) for end in torch.aminmax(values))
    zeros = 1 - int(values.count_nonzero()) / values.numel()
    known: dict[str, Any] = {"layer": layer, "part": part, "zeros": zeros, "dead": dead}
    if not isfinite(scale := max(-smallest, largest)):
        unknown: dict[str, Any] = dict.fromkeys(("mean", "spread", "norm", "smallest", "largest"), nan)
        return LayerValues(**known, **unknown, histogram=(0,) * BINS)
    scaled = values / (scale or 1.0)  # the squares of what explodes are no numbers of float32
    variance, mean = torch.var_mean(scaled, correction=0)
    spread = variance.sqrt()
    away = (scaled - mean) / spread.clamp_min(torch.finfo(scaled.dtype).tiny)
    return LayerValues(
        **known,
        mean=float(mean) * scale,
        spread=float(spread) * scale,
        norm=float(torch.linalg.vector_norm(scaled)) * scale,
        smallest=smallest,
        largest=largest,
        histogram=_thousandths(away),
    )


def _thousandths(away: Tensor) -> tuple[int, ...]:
    """Thousandths of values in each part of the histogram, from how many spreads each is away from the mean."""
    parts = away.clamp(-REACH, REACH).flatten().split(_EXACT)
    counts = torch.stack([torch.histc(part, BINS, -REACH, REACH) for part in parts]).double().sum(0)
    return tuple((counts * (1000 / away.numel())).round().long().tolist())
