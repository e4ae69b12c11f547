"""First weights: each distribution against torch's own, and what the output biases make of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from detector.choices.initialisers import INITIALISERS
from detector.hyperparameters import Hyperparameters
from detector.models import build_network
from detector.models.network import HeadPrior, Network, initialise_lane

SHAPE = torch.Size((24, 16, 3, 3))
PRIOR = HeadPrior(boxes_per_image=2.0, class_share=(0.5, 0.5))
TORCHS: dict[str, Callable[[Tensor, torch.Generator], object]] = {
    "uniform": lambda w, g: nn.init.kaiming_uniform_(w, a=5**0.5, generator=g),  # as Conv2d.reset_parameters does
    "he_normal": lambda w, g: nn.init.kaiming_normal_(w, nonlinearity="relu", generator=g),
    "he_uniform": lambda w, g: nn.init.kaiming_uniform_(w, nonlinearity="relu", generator=g),
    "xavier": lambda w, g: nn.init.xavier_uniform_(w, generator=g),
    "normal": lambda w, g: nn.init.normal_(w, std=0.05, generator=g),
}


def fresh(lanes: int = 1, **values: object) -> Network:
    network = build_network("yolov3-tiny-compact", num_classes=2, lanes=lanes)
    chosen = Hyperparameters.from_mapping(values)
    for lane in range(lanes):
        initialise_lane(network, lane, seed=lane, prior=PRIOR, image_size=64, values=chosen)
    return network


@pytest.mark.parametrize("name", INITIALISERS)
def test_kernels_are_those_that_torch_draws_with_the_same_generator(name: str) -> None:
    theirs = torch.empty(SHAPE)
    TORCHS[name](theirs, torch.Generator().manual_seed(1))

    ours = INITIALISERS[name](SHAPE, torch.Generator().manual_seed(1), 0.05)

    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


def test_a_chosen_deviation_is_that_of_every_layer() -> None:
    kernels = [block.conv.weight.detach() for block in fresh(initialiser="normal", init_std=0.3).blocks.values()]

    spreads = [float(kernel.std()) for kernel in kernels if kernel.numel() > 5000]
    assert len(spreads) > 3
    assert spreads == pytest.approx([0.3] * len(spreads), rel=0.03)


@pytest.mark.parametrize("name", INITIALISERS)
def test_a_lane_among_others_starts_as_it_does_alone(name: str) -> None:
    alone, among = fresh(initialiser=name), fresh(lanes=2, initialiser=name)

    assert all(torch.equal(value, among.lane_state(0)[key]) for key, value in alone.lane_state(0).items())


def test_lanes_with_deviations_of_their_own_start_as_each_does_alone() -> None:
    deviations = (0.01, 0.3)
    among = build_network("yolov3-tiny-compact", num_classes=2, lanes=2)
    for lane, std in enumerate(deviations):
        chosen = Hyperparameters(initialiser="normal", init_std=std)
        initialise_lane(among, lane, seed=0, prior=PRIOR, image_size=64, values=chosen)

    for lane, std in enumerate(deviations):
        alone = fresh(initialiser="normal", init_std=std).lane_state(0)
        assert all(torch.equal(value, among.lane_state(lane)[key]) for key, value in alone.items())


def test_without_the_prior_outputs_start_at_nothing_and_all_else_as_with_it() -> None:
    with_prior, without = fresh().state_dict(), fresh(prior_bias=False).state_dict()

    differing = [name for name in without if not torch.equal(without[name], with_prior[name])]

    assert differing == [name for name in without if name.endswith(".bias") and "norm" not in name]
    assert not any(without[name].any() for name in differing)
