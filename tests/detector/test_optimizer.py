"""Lanes updated at once: none touches another, layouts are those of convolutions, a lane costs its rule alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from detector.hyperparameters import Hyperparameters
from detector.lane_rows import LaneRows, row_norms
from detector.models import Network, build_network
from detector.models.network import HeadPrior, initialise_lane, lane_slice, raw_outputs
from detector.optimizer import LaneOptimizers
from detector.telemetry import Rates

VALUES = [
    Hyperparameters(lr0=0.01, clip_norm=1.0),
    Hyperparameters(optimizer="adamw", weight_decay=0.01, clipping="adaptive", clip_warmup=1.0, clip_z=0.0),
    Hyperparameters(lr0=0.03, nesterov=False, clipping="value", clip_value=0.5),
]
RATES = [
    Rates(lr=0.01, bias_lr=0.02, momentum=0.9, in_warmup=True),
    Rates(lr=0.001, bias_lr=0.001, momentum=0.8, in_warmup=False),
    Rates(lr=0.03, bias_lr=0.03, momentum=0.0, in_warmup=False),
]


def network_of(lanes: int) -> Network:
    network = build_network("yolov3-tiny-compact", num_classes=1, lanes=lanes)
    for lane in range(lanes):
        prior = HeadPrior(boxes_per_image=2.0, class_share=(1.0,))
        initialise_lane(network, lane, seed=lane, prior=prior, image_size=64)
    return network.to(memory_format=torch.channels_last)


def set_gradients(network: Network, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=generator))


def everything(network: Network, optimizers: LaneOptimizers, lane: int) -> dict[str, Tensor]:
    found = {f"weight {name}": value.clone() for name, value in network.lane_state(lane).items()}
    for key, value in optimizers.state(lane).items():
        values = value if isinstance(value, dict) else {"": torch.as_tensor(value)}
        found |= {f"{key} {name}": each for name, each in values.items()}
    return found


def assert_equal(mine: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert mine.keys() == other.keys()
    assert [name for name in mine if not torch.equal(mine[name], other[name])] == []


def trained(broken: Sequence[int] = (), skipped: Sequence[int] = ()) -> tuple[Network, LaneOptimizers]:
    """Three lanes after three updates, of which some were not made or had a gradient that is no number."""
    network = network_of(3)
    optimizers = LaneOptimizers(network, VALUES)
    for seed in range(3):
        set_gradients(network, seed)
        for lane in broken:
            for parameter in network.parameters():
                assert parameter.grad is not None
                lane_slice(parameter.grad, lane, 3).fill_(float("nan"))
        optimizers.propose(RATES)
        if skipped:
            optimizers.clear_gradient(skipped)
        optimizers.accept([lane for lane in range(3) if lane not in skipped])
    return network, optimizers


@pytest.mark.parametrize("lane", range(3))
def test_a_lane_that_is_no_number_and_is_skipped_leaves_its_neighbours_as_they_are_to_the_last_bit(lane: int) -> None:
    network, optimizers = trained()
    beside, spared = trained(broken=[lane], skipped=[lane])

    for other in {0, 1, 2} - {lane}:
        assert_equal(everything(beside, spared, other), everything(network, optimizers, other))


@pytest.mark.parametrize("lane", range(3))
def test_a_lane_is_clipped_and_updated_as_if_it_were_alone(lane: int) -> None:
    network, optimizers = trained()
    alone = network_of(1)
    alone.load_lane(0, network_of(3).lane_state(lane))
    other = LaneOptimizers(alone, [VALUES[lane]])
    for seed in range(3):
        beside = network_of(3)
        set_gradients(beside, seed)
        for parameter, each in zip(alone.parameters(), beside.parameters(), strict=True):
            parameter.grad = torch.empty_like(parameter).copy_(lane_slice(each.grad, lane, 3))
        other.propose([RATES[lane]])
        other.accept([0])

    assert_equal(everything(alone, other, 0), everything(network, optimizers, lane))
    assert bool(everything(alone, other, 0)["gradient_norms "].any()) == (lane == 1)  # clipped by what it remembers


@pytest.mark.parametrize("lane", range(3))
def test_a_lane_that_is_skipped_is_as_if_nothing_had_been_proposed(lane: int) -> None:
    untouched = network_of(3)
    before = everything(untouched, LaneOptimizers(untouched, VALUES), lane)

    assert_equal(everything(*trained(broken=[lane], skipped=[lane]), lane), before)


def test_gradients_of_lanes_that_are_not_updated_stay_and_those_of_the_others_are_empty() -> None:
    network = network_of(3)
    optimizers = LaneOptimizers(network, VALUES)
    set_gradients(network, 0)
    before = [lane_slice(parameter.grad, 1, 3).clone() for parameter in network.parameters()]
    optimizers.propose(RATES)
    optimizers.accept([0, 2])

    for parameter, kept in zip(network.parameters(), before, strict=True):
        assert torch.equal(lane_slice(parameter.grad, 1, 3), kept)
        assert not lane_slice(parameter.grad, 0, 3).any() and not lane_slice(parameter.grad, 2, 3).any()


def test_lanes_that_move_to_another_network_remember_what_they_did() -> None:
    network, optimizers = trained()
    kept = [2, 0]
    smaller = network_of(len(kept))
    for slot, old in enumerate(kept):
        smaller.load_lane(slot, network.lane_state(old))
    moved = LaneOptimizers(smaller, [VALUES[old] for old in kept])
    moved.take(optimizers, kept)

    for slot, old in enumerate(kept):
        assert_equal(everything(smaller, moved, slot), everything(network, optimizers, old))


@pytest.mark.parametrize("lanes", [1, 3])
def test_weights_lie_as_they_did_before_they_had_an_optimizer(lanes: int) -> None:
    network, other = network_of(lanes), network_of(lanes)
    LaneOptimizers(network, VALUES[:lanes])

    for mine, each in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, each) and mine.stride() == each.stride()


@pytest.mark.parametrize("lanes", [1, 3])
def test_weights_that_are_loaded_later_are_those_that_are_updated(lanes: int) -> None:
    network, last = network_of(lanes), lanes - 1
    optimizers = LaneOptimizers(network, VALUES[:lanes])
    loaded = {name: value + 1 for name, value in network.lane_state(last).items()}
    network.load_lane(last, loaded)
    optimizers.load_state(last, optimizers.state(last))
    set_gradients(network, 0)

    ratio_T = optimizers.propose(RATES[:lanes]).update_ratio_T
    optimizers.accept(range(lanes))

    moves, weights = optimizers.moves(last), network.lane_state(last)
    before, moved = (torch.cat([each[name].flatten() for name in moves]) for each in (loaded, moves))
    torch.testing.assert_close(torch.cat([weights[name].flatten() for name in moves]), before + moved)
    torch.testing.assert_close(ratio_T[last], moved.norm() / before.norm())


@pytest.mark.parametrize("lanes", [1, 3])
def test_weights_and_gradients_of_a_backward_pass_are_gathered_in_the_order_of_memory(lanes: int) -> None:
    network = network_of(lanes)
    heads = raw_outputs(network, torch.zeros(2, 3, 64, 64, dtype=torch.uint8), precision="float32")
    sum(head.sum() for head in heads).backward()
    named = dict(network.named_parameters())
    rows = LaneRows(named, dict.fromkeys(named, ""), lanes=lanes)

    for tensors in (
        [named[name].detach() for name in rows.names],
        [named[name].grad for name in rows.names],
    ):
        for tensor, part in zip(tensors, rows.of(tensors), strict=True):
            assert part.data_ptr() == tensor.data_ptr()  # a view: no convolution's layout has to be turned round
        matrix = torch.cat(rows.of(tensors), 1)
        for lane in range(lanes):
            views = rows.named(matrix[lane])
            for name, tensor in zip(rows.names, tensors, strict=True):
                mine = lane_slice(tensor, lane, lanes)
                assert torch.equal(views[name], mine)
                assert mine.is_contiguous(memory_format=layout(views[name]))


def layout(value: Tensor) -> torch.memory_format:
    is_last = value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_values_are_rounded_as_in_a_tensor_for_each_parameter_whatever_their_neighbours(name: str) -> None:
    network, other = network_of(1), network_of(1)
    optimizers = LaneOptimizers(network, [Hyperparameters(optimizer=name, weight_decay=0.01, clip_norm=0.0)])
    groups = [
        {
            "params": [each for key, each in other.named_parameters() if key.endswith("conv.weight") == is_kernel],
            "weight_decay": 0.01 if is_kernel else 0.0,
        }
        for is_kernel in (True, False)
    ]
    theirs: torch.optim.Optimizer = (
        torch.optim.SGD(groups, lr=0.001, momentum=0.8, nesterov=True, fused=True)
        if name == "sgd"
        else torch.optim.AdamW(groups, lr=0.001, betas=(0.8, 0.999), fused=True)
    )

    for seed in range(4):
        set_gradients(network, seed)
        set_gradients(other, seed)
        optimizers.propose([RATES[1]])
        optimizers.accept([0])
        theirs.step()

    for mine, each in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, each)


@pytest.mark.parametrize("warmup", ["linear", "prebias"])
def test_the_rate_of_biases_is_that_of_all_but_in_prebias_of_those_of_the_outputs(warmup: str) -> None:
    network = network_of(1)
    optimizers = LaneOptimizers(network, [Hyperparameters(warmup=warmup)])
    set_gradients(network, 0)
    optimizers.propose([Rates(lr=0.0, bias_lr=0.1, momentum=0.9, in_warmup=True)])

    moved = {name for name, move in optimizers.moves(0).items() if move.any()}

    biases = {name for name, _ in network.named_parameters() if name.endswith("bias")}
    outputs = {name for name in biases if not name.endswith("norm.bias")}
    assert 0 < len(outputs) < len(biases)
    assert moved == (outputs if warmup == "prebias" else biases)


class Counted(TorchDispatchMode):
    """Counts the operators that compute something."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view:
            self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def operators_of_an_update(lanes: int) -> int:
    network = network_of(lanes)
    optimizers = LaneOptimizers(network, [Hyperparameters()] * lanes)
    set_gradients(network, 0)
    with Counted() as counted:
        optimizers.propose([RATES[1]] * lanes)
        optimizers.accept(range(lanes))
    return len(counted.names)


def test_a_lane_more_costs_an_update_the_calls_of_its_rule_and_nothing_else() -> None:
    one, two, five = map(operators_of_an_update, (1, 2, 5))

    assert one < 30
    assert two - one == 2  # kernels, which decay, and all else, at one rate after the warm-up
    assert five - two == 3 * (two - one)


def test_the_norm_of_a_row_is_as_exact_for_millions_of_values_as_for_few() -> None:
    rows_TP = torch.randn(2, 3_000_001, generator=torch.Generator().manual_seed(0))
    exact_T = torch.linalg.vector_norm(rows_TP.double(), dim=1)

    assert torch.allclose(row_norms(rows_TP).double(), exact_T, rtol=1e-5)
    assert torch.allclose(row_norms(rows_TP[:, :100]), torch.linalg.vector_norm(rows_TP[:, :100], dim=1))
