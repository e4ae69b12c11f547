"""What passes through each module of a network in one step: outputs on the way forward, gradients on the way back.

Norms are worked out in float64, where no finite number of a smaller type overflows: a norm that is no finite number
means a value that is none. Nothing of the step is changed. Letters: N images, C channels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from detector.models import Network
from detector.observations import ModuleTraced

BLOCKS = "blocks."


@dataclass(slots=True)
class _Passed:
    """A module that the pass has gone through; its gradient comes later, if at all."""

    name: str
    module: nn.Module
    output_norm: float
    gradient_norm: float | None = None


class Trace:
    """Modules in the order in which a forward pass went through them.

    A block of several parts comes after its parts, so what it does by itself, bias and activation, is told apart.
    """

    def __init__(self) -> None:
        self._passed: list[_Passed] = []

    def modules(self) -> tuple[ModuleTraced, ...]:
        """What has passed so far; gradients once a backward pass is over."""
        return tuple(
            ModuleTraced(
                name=passed.name,
                output_norm=passed.output_norm,
                gradient_norm=passed.gradient_norm,
                weight_gradient_norm=_gradient_norm(passed.module),
            )
            for passed in self._passed
        )

    def _note(self, name: str, module: nn.Module, _given: object, output_NCHW: Tensor) -> None:
        passed = _Passed(name, module, _norm(output_NCHW))
        self._passed.append(passed)
        if output_NCHW.requires_grad:
            output_NCHW.register_hook(partial(_note_gradient, passed))


@contextmanager
def tracing(network: Network) -> Iterator[Trace]:
    """A trace of the next forward pass, and of the backward pass after it.

    Args:
        network: Network whose blocks and their parts are traced.
    """
    trace = Trace()
    hooks = [
        module.register_forward_hook(partial(trace._note, name))
        for name, module in network.named_modules()
        if name.startswith(BLOCKS)
    ]
    try:
        yield trace
    finally:
        for hook in hooks:
            hook.remove()


def _note_gradient(passed: _Passed, gradient_NCHW: Tensor) -> None:
    passed.gradient_norm = _norm(gradient_NCHW)


def _gradient_norm(module: nn.Module) -> float | None:
    """Norm of the gradient of the module's own parameters together; None where it has none that are trained."""
    gradients = [parameter.grad for parameter in module.parameters(recurse=False) if parameter.grad is not None]
    return float(torch.stack([_norm_of(gradient) for gradient in gradients]).norm()) if gradients else None


def _norm(values: Tensor) -> float:
    return float(_norm_of(values.detach()))


def _norm_of(values: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(values, dtype=torch.float64)
    return norm
