"""Every choice keeps one contract: declared, finite, in a lane as in a run of its own, unlike its siblings."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from pkgutil import iter_modules

import pytest
import torch

from detector import choices
from detector.choices.schedules import Moment
from detector.hyperparameters import Hyperparameters, declarations, names, numeric_range
from detector.lane_values import LaneValues
from detector.loss import detection_loss
from detector.models import Network, build_network
from detector.models.network import HeadPrior, initialise_lane
from detector.optimizer import LaneOptimizers
from detector.plan import TrainingPlan
from detector.telemetry import EpochMetrics, LaneEnded, Rates, StepTelemetry, Telemetry
from detector.trainer import LaneSpec, Trainer
from detector.yaml_text import dump, load
from tests.contracts.choices import CHOICES, DIFFERENT, OF_THE_LOSS, SETTINGS, TABLES
from tests.scenes import few_scenes

PLAN = TrainingPlan(batch_size=4, nominal_batch_size=4, epochs=2, precision="float64")
SCENES = few_scenes("digits-3", train=8, val=2, test=2)
CELLS = (2, 4)
ANCHORS = [torch.tensor([[0.5, 0.5], [0.6, 0.9], [0.9, 0.6]]), torch.tensor([[0.1, 0.1], [0.1, 0.2], [0.2, 0.1]])]
# A box of no size, one as large as the image, one beyond its edge, and a row without a label.
LABELS = torch.tensor([[[0, 0.5, 0.5, 0.0, 0.0], [1, 0.5, 0.5, 1.0, 1.0], [2, 1.0, 1.0, 0.2, 0.3], [-1, 0, 0, 0, 0]]])
RATES = Rates(lr=0.01, bias_lr=0.02, momentum=0.9, in_warmup=False)


def having(family: str, name: str, **others: object) -> Hyperparameters:
    return Hyperparameters.from_mapping({**SETTINGS.get(family, {}), family: name, **others})


@cache
def single(values: Hyperparameters, seed: int) -> list[Telemetry]:
    return list(Trainer(PLAN, SCENES, [LaneSpec(values=values, seed=seed)]).fit())


def losses(records: list[Telemetry], lane: int = 0) -> list[float]:
    steps = [each.loss for each in records if isinstance(each, StepTelemetry) and each.lane == lane]
    epochs = [sum(each.losses.values()) for each in records if isinstance(each, EpochMetrics) and each.lane == lane]
    return steps + epochs


def loss_with(values: Hyperparameters, heads: list[torch.Tensor]) -> torch.Tensor:
    labels, anchors = LABELS.to(heads[0].dtype), [each.to(heads[0].dtype) for each in ANCHORS]
    lanes = LaneValues.of([values] * heads[0].shape[1], like=labels)
    return detection_loss(heads, labels, anchors, lanes).terms_TS4


def heads_of(lanes: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn((1, lanes, 3, side, side, 8), generator=generator, dtype=dtype) for side in CELLS]


def lane_network(dtype: torch.dtype) -> Network:
    network = build_network("yolov3-tiny-compact", num_classes=1).to(dtype)
    initialise_lane(network, 0, seed=0, prior=HeadPrior(boxes_per_image=2.0, class_share=(1.0,)), image_size=64)
    return network


def set_gradients(network: Network, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        drawn = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.grad = torch.empty_like(parameter).copy_(drawn)


def kernels_of(network: Network) -> list[torch.nn.Parameter]:
    return [parameter for name, parameter in network.named_parameters() if name.endswith("conv.weight")]


def matrix_of(kernel: torch.Tensor) -> torch.Tensor:
    """A view of a kernel with a row for each output, its columns in the order of memory."""
    is_channels_last = not kernel.is_contiguous()
    return (kernel.detach().permute(0, 2, 3, 1) if is_channels_last else kernel.detach()).flatten(1)


def test_tables_have_the_names_that_are_declared_and_functions_tell_their_source() -> None:
    declared = {name: each.choices for name, each in declarations().items() if isinstance(each.default, str)}

    assert declared == {family: tuple(table) for family, table in TABLES.items()}
    for family, name in CHOICES:
        assert "Source: " in (TABLES[family][name].__doc__ or ""), (family, name)


def test_every_module_of_choices_has_its_table_in_the_list() -> None:
    modules = [import_module(f"detector.choices.{found.name}") for found in iter_modules(choices.__path__)]

    listed = [
        module
        for module in modules
        if any(each is table for each in vars(module).values() for table in TABLES.values())
    ]

    print(f"{len(CHOICES)} choices in {len(TABLES)} families of {len(modules)} modules")
    assert listed == modules


@pytest.mark.parametrize(("family", "name"), CHOICES)
def test_a_choice_survives_a_file(family: str, name: str) -> None:
    values = Hyperparameters.from_mapping({family: name})

    assert Hyperparameters.from_mapping(load(dump({name: getattr(values, name) for name in names()}))) == values


@pytest.mark.parametrize("size", [0.0, 30.0, -30.0])
@pytest.mark.parametrize(("family", "name"), OF_THE_LOSS)
def test_value_and_gradient_are_finite_for_large_logits_and_boxes_without_size(
    family: str, name: str, size: float
) -> None:
    for dtype in (torch.float32, torch.float64):
        heads = [(each * 0.1 + size).requires_grad_() for each in heads_of(1, dtype)]

        terms = loss_with(having(family, name), heads)
        terms.sum().backward()

        assert torch.isfinite(terms).all()
        assert all(torch.isfinite(head.grad).all() for head in heads)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 10.0])
def test_the_focal_loss_is_finite_for_any_exponent_and_is_bce_at_none(gamma: float) -> None:
    heads = [(each * 1e4).requires_grad_() for each in heads_of(1)]
    for head in heads:
        head.data[..., :4] = 0

    terms = loss_with(having("objectness", "focal", focal_gamma=gamma, obj_iou=0.0), heads)
    terms.sum().backward()

    assert torch.isfinite(terms).all()
    assert all(torch.isfinite(head.grad).all() for head in heads)
    if gamma == 0:
        torch.testing.assert_close(terms, loss_with(Hyperparameters(obj_iou=0.0), heads))


@pytest.mark.parametrize(("family", "name"), OF_THE_LOSS)
def test_a_lane_that_is_no_number_leaves_the_loss_and_gradient_of_its_neighbours_alone(family: str, name: str) -> None:
    heads = heads_of(3)
    alone = loss_with(having(family, name), [each[:, [0, 2]] for each in heads])
    for head in heads:
        head[:, 1] = float("nan")
        head.requires_grad_()

    terms = loss_with(having(family, name), heads)
    terms.sum().backward()

    torch.testing.assert_close(terms[[0, 2]], alone)
    assert all(torch.isfinite(head.grad[:, [0, 2]]).all() for head in heads)


@pytest.mark.parametrize(("family", "name"), DIFFERENT)
def test_lanes_train_as_runs_of_their_own_beside_one_that_is_no_number(family: str, name: str) -> None:
    rates = (0.01, 0.02, 0.003)
    lanes = [LaneSpec(values=having(family, name, lr0=lr0), seed=seed) for seed, lr0 in enumerate(rates)]
    together = Trainer(PLAN, SCENES, lanes)
    together._population._network.lane_state(1)["blocks.0.conv.weight"].fill_(float("nan"))

    records = list(together.fit())

    assert [each.lane for each in records if isinstance(each, LaneEnded) and each.is_diverged] == [1]
    for seed in (0, 2):
        assert losses(records, seed) == pytest.approx(
            losses(single(having(family, name, lr0=rates[seed]), seed)), rel=1e-8
        )


@pytest.mark.parametrize("family", TABLES)
def test_a_choice_trains_unlike_its_siblings(family: str) -> None:
    ends = {name: losses(single(having(family, name), 0))[-1] for name in TABLES[family]}

    assert len(set(ends.values())) == len(ends)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", TABLES["optimizer"])
def test_the_moves_of_an_optimizer_are_what_its_update_then_makes_of_the_weights(name: str, dtype: torch.dtype) -> None:
    network = lane_network(dtype)
    optimizer = LaneOptimizers(network, [having("optimizer", name, weight_decay=0.01)])
    for seed in range(3):
        set_gradients(network, seed)
        before = {key: each.detach().clone() for key, each in network.named_parameters()}
        optimizer.propose([RATES])
        moves = {key: each.clone() for key, each in optimizer.moves(0).items()}
        assert all(torch.equal(before[key], each) for key, each in network.named_parameters())

        optimizer.accept([0])

        assert all(torch.equal(each - before[key], moves[key]) for key, each in network.named_parameters())
        assert all(move.abs().max() > 0 for move in moves.values())


@pytest.mark.parametrize("name", TABLES["optimizer"])
def test_an_optimizer_updates_as_torch_does_a_separate_model(name: str) -> None:
    network, other = lane_network(torch.float64), lane_network(torch.float64)
    values = having("optimizer", name, weight_decay=0.01, clip_norm=0.0)
    lane = LaneOptimizers(network, [values])
    groups: dict[str, list[torch.Tensor]] = {"conv.weight": [], "norm.weight": [], "bias": []}
    for key, parameter in other.named_parameters():
        groups[next(end for end in groups if key.endswith(end))].append(parameter)
    # torch has Muon for matrices alone, and to the other rules the shape is nothing.
    groups["conv.weight"] = [matrix_of(kernel) for kernel in groups["conv.weight"]]
    options = [
        {"params": group, "lr": 0.02 if end == "bias" else 0.01, "weight_decay": 0.01 if end == "conv.weight" else 0.0}
        for end, group in groups.items()
    ]
    made: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True, fused=True),
        "adamw": partial(torch.optim.AdamW, betas=(0.9, 0.999), fused=True),
        "adam": partial(torch.optim.Adam, betas=(0.9, 0.999), fused=True),
        "rmsprop": partial(torch.optim.RMSprop, momentum=0.9, foreach=True),
        "muon": partial(torch.optim.Muon, momentum=0.9),
    }
    theirs = [made[name](options[:1]), made["sgd" if name == "muon" else name](options[1:])]

    for seed in range(4):
        for each in (network, other):
            set_gradients(each, seed)
        for matrix, kernel in zip(groups["conv.weight"], kernels_of(other), strict=True):
            assert kernel.grad is not None
            matrix.grad = matrix_of(kernel.grad)
        lane.propose([RATES])
        lane.accept([0])
        for rule in theirs:
            rule.step()

    for mine, each in zip(network.parameters(), other.parameters(), strict=True):
        if name == "muon" and mine.dim() == 4:  # torch finds its directions in bfloat16
            assert torch.allclose(mine, each, rtol=0.0, atol=4 * 0.01 * 0.02)
        else:
            assert torch.equal(mine, each)


def test_muon_moves_a_kernel_as_far_in_all_directions_and_by_its_rate_whatever_the_gradient() -> None:
    network = lane_network(torch.float32)
    optimizer = LaneOptimizers(network, [having("optimizer", "muon", weight_decay=0.0, clip_norm=0.0)])
    for size in (1e-3, 1e3):
        set_gradients(network, 0)
        for parameter in network.parameters():
            assert parameter.grad is not None
            parameter.grad *= size
        optimizer.propose([RATES])

        moves = [move for name, move in optimizer.moves(0).items() if name.endswith("conv.weight")]

        assert len(moves) == len(kernels_of(network)) > 5
        for move in map(matrix_of, moves):
            largest = RATES.lr * max(1.0, move.shape[0] / move.shape[1]) ** 0.5
            sizes = torch.linalg.svdvals(move) / largest
            assert sizes.min() > 0.3 and sizes.max() < 1.3  # what five iterations leave of one


def test_lanes_of_several_optimizers_train_as_each_does_alone() -> None:
    lanes = [having("optimizer", name, lr0=0.005) for name in TABLES["optimizer"]]

    records = list(Trainer(PLAN, SCENES, [LaneSpec(values=values, seed=3) for values in lanes]).fit())

    for lane, values in enumerate(lanes):
        assert losses(records, lane) == pytest.approx(losses(single(values, 3)), rel=1e-8)


@pytest.mark.parametrize("name", TABLES["optimizer"])
def test_an_optimizer_goes_on_from_its_state_to_the_last_bit(name: str) -> None:
    values = having("optimizer", name)
    network, other = lane_network(torch.float32), lane_network(torch.float32)
    straight = LaneOptimizers(network, [values])
    for seed in range(3):
        set_gradients(network, seed)
        straight.propose([RATES])
        straight.accept([0])
    resumed = LaneOptimizers(other, [values])
    other.load_state_dict(network.state_dict())
    resumed.load_state(0, straight.state(0))

    for each, optimizer in ((network, straight), (other, resumed)):
        set_gradients(each, 7)
        optimizer.propose([RATES])
        optimizer.accept([0])

    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
    averages = straight.average(0), resumed.average(0)
    assert all(torch.equal(averages[0][key], averages[1][key]) for key in averages[0])


@pytest.mark.parametrize("rule", [*TABLES["schedule"].values()])
def test_schedules_are_finite_at_both_ends_whatever_the_last_rate(rule) -> None:
    moments = [Moment(progress=progress, val_losses=(2.0, 3.0, float("nan"))) for progress in (0.0, 0.5, 1.0)]
    numbers = [name for name in declarations() if ("schedule", rule.__name__) in declarations()[name].needs]
    ends = [{name: end} for name in numbers for end in numeric_range(name)]

    for values in ({"lrf": 0.0}, {"lrf": 1e-300}, {"lrf": 1.0}, *ends):
        assert all(0 <= rule(moment, Hyperparameters.from_mapping(values)) <= 1 for moment in moments)


@pytest.mark.parametrize("rule", [*TABLES["warmup"].values()])
def test_warmups_lead_from_nothing_to_all(rule) -> None:
    first, middle = rule(0.0, 0), rule(0.5, 0)

    assert (first.bias_lr, first.momentum) == (0.0, 0.0)
    assert 0 < middle.bias_lr < 1 and 0 < middle.momentum < 1
    assert 0 <= first.lr <= middle.lr <= 1
