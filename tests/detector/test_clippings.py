"""Clipping: as torch clips, and as ZClip is published, worked out over plain numbers."""

from __future__ import annotations

from statistics import fmean, pvariance

import pytest
import torch
from torch import Tensor

from detector.choices.clippings import CLIPPINGS, Norms

LOSS_SCALE = 4.0
START_T3 = torch.zeros(1, 3, dtype=torch.float64)


def clipped(name: str, gradients_TP: Tensor, history_T3: Tensor = START_T3, **numbers: float) -> tuple[Tensor, Tensor]:
    """Gradients after clipping, and the history."""
    found_TP = gradients_TP * LOSS_SCALE
    norms = Norms(
        norm_T=torch.linalg.vector_norm(gradients_TP, dim=1),
        loss_scale_T=found_TP.new_full((len(found_TP),), LOSS_SCALE),
        history_T3=history_T3,
    )
    numbers_T = {key: torch.full((len(found_TP),), each, dtype=torch.float64) for key, each in numbers.items()}
    return found_TP, CLIPPINGS[name](found_TP, norms, numbers_T)


def of_torch(gradients_TP: Tensor) -> torch.nn.Parameter:
    parameter = torch.nn.Parameter(torch.zeros_like(gradients_TP))
    parameter.grad = gradients_TP.clone()
    return parameter


@pytest.mark.parametrize("limit", [0.5, 100.0, float("inf")])
def test_a_norm_and_a_value_are_clipped_as_torch_does(limit: float) -> None:
    gradients_TP = torch.linspace(-2, 3, 7, dtype=torch.float64)[None]
    by_norm, by_value = of_torch(gradients_TP), of_torch(gradients_TP)
    torch.nn.utils.clip_grad_norm_(by_norm, limit)
    torch.nn.utils.clip_grad_value_(by_value, limit)

    torch.testing.assert_close(clipped("norm", gradients_TP, clip_norm=limit)[0], by_norm.grad)
    torch.testing.assert_close(clipped("value", gradients_TP, clip_value=limit)[0], by_value.grad)
    torch.testing.assert_close(clipped("none", gradients_TP)[0], gradients_TP)


def published(norms: list[float], *, z: float, decay: float, warmup: int) -> list[float]:
    """Norms after ZClip: the first make mean and variance, which then move with what is left of each."""
    mean, variance = fmean(norms[:warmup]), pvariance(norms[:warmup])
    kept = norms[:warmup]
    for norm in norms[warmup:]:
        score = (norm - mean) / (variance**0.5 + 1e-6)
        kept.append(mean + z**2 / score * variance**0.5 if score > z else norm)
        mean = decay * mean + (1 - decay) * kept[-1]
        variance = decay * variance + (1 - decay) * (kept[-1] - mean) ** 2
    return kept


def test_adaptive_clipping_is_that_of_the_paper() -> None:
    norms = [3.0, 2.0, 2.5, 4.0, 3.1, 9.0, 2.2, 2.0, 100.0, 1.0, 5.0, 1e4, 2.0]
    history_T3, found = START_T3, []

    for norm in norms:
        gradients_TP, history_T3 = clipped(
            "adaptive",
            torch.tensor([[0.6, -0.8]], dtype=torch.float64) * norm,
            history_T3,
            clip_z=2.0,
            clip_decay=0.9,
            clip_warmup=4.0,
        )
        found.append(float(gradients_TP.norm()))

    assert found == pytest.approx(published(norms, z=2.0, decay=0.9, warmup=4), rel=1e-6)
    assert found[5] < 9 and found[8] < 20 and found[:5] == pytest.approx(norms[:5])


def test_a_spike_is_clipped_the_more_the_further_it_is_above_the_mean() -> None:
    known_T3 = torch.tensor([[25.0, 10.0, 4.0]], dtype=torch.float64)  # a mean of 10 and a deviation of 2
    numbers = {"clip_z": 2.5, "clip_decay": 0.97, "clip_warmup": 25.0}

    found = [
        float(clipped("adaptive", torch.tensor([[norm]], dtype=torch.float64), known_T3, **numbers)[0])
        for norm in (15.0, 20.0, 30.0)
    ]

    assert found == pytest.approx([15.0, 10 + 2.5**2 / 5 * 2, 10 + 2.5**2 / 10 * 2], rel=1e-6)
