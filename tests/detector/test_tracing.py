"""A traced step is the step that it would have been, and shows the first module whose values are no numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf, isfinite, nan

import pytest
import torch
from torch import Tensor, nn

from detector import population
from detector.hyperparameters import Hyperparameters
from detector.models.network import initialise_lane
from detector.observations import StepTraced
from detector.plan import TrainingPlan
from detector.telemetry import LaneEnded, StepTelemetry, Telemetry
from detector.trainer import LaneSpec, Trainer
from evolve.outcome.replayed import Broken, first_broken
from tests.scenes import few_scenes

PLAN = TrainingPlan(image_size=64, batch_size=4, nominal_batch_size=4, epochs=1)
VALUES = Hyperparameters(lr0=0.02, warmup_epochs=0.0)
# What is planted where, and what is to be named: a value of a kernel, a norm or a bias that is or makes no number.
PLANTINGS = [
    ("blocks.0.conv.weight", inf, "blocks.0.conv"),
    ("blocks.4.conv.weight", nan, "blocks.4.conv"),
    ("blocks.8.conv.weight", inf, "blocks.8.conv"),
    ("blocks.12.conv.weight", 3e38, "blocks.12.conv"),
    ("blocks.13.conv.weight", -inf, "blocks.13.conv"),
    ("blocks.2.norm.weight", inf, "blocks.2.norm"),
    ("blocks.6.norm.bias", nan, "blocks.6.norm"),
    ("blocks.14.norm.weight", nan, "blocks.14.norm"),
    ("blocks.15.bias", inf, "blocks.15"),
    ("blocks.18.conv.weight", inf, "blocks.18.conv"),
    ("blocks.21.norm.weight", inf, "blocks.21.norm"),
    ("blocks.22.conv.weight", 3e38, "blocks.22.conv"),
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterable[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def records(*, traced_from: int | None = None, stop: Callable[[Telemetry], bool] = lambda _: False) -> list[Telemetry]:
    data = few_scenes(train=16, val=4, test=4)
    found: list[Telemetry] = []
    for record in Trainer(PLAN, data, [LaneSpec(values=VALUES, traced_from=traced_from)]).fit():
        found.append(record)
        if stop(record):
            break
    return found


def steps_of(found: Iterable[Telemetry]) -> list[tuple[float, float, float]]:
    return [(each.loss, each.grad_norm, each.update_ratio) for each in found if isinstance(each, StepTelemetry)]


def broken_of(found: list[Telemetry]) -> Broken | None:
    steps = {each.step: each for each in found if isinstance(each, StepTelemetry)}
    return first_broken([each for each in found if isinstance(each, StepTraced)], steps)


def planting(monkeypatch: pytest.MonkeyPatch, parameter: str, value: float) -> None:
    """Every lane begins with one value of one parameter that is or makes no number."""

    def planted(network: nn.Module, *arguments: object, **options: object) -> None:
        initialise_lane(network, *arguments, **options)  # type: ignore[arg-type]
        weight: Tensor = dict(network.named_parameters())[parameter].detach()
        # Of what is only large all values: sums of them overflow.
        (weight if abs(value) == 3e38 else weight[0]).fill_(value)

    monkeypatch.setattr(population, "initialise_lane", planted)


def test_a_traced_training_is_the_training_that_it_would_have_been() -> None:
    plain, traced = records(), records(traced_from=2)
    seen = [each for each in traced if isinstance(each, StepTraced)]

    assert steps_of(traced) == steps_of(plain)
    assert [each.step for each in seen] == [2, 3]
    assert all(isfinite(module.output_norm) for each in seen for module in each.modules)
    assert broken_of(traced) is None


def test_a_trace_has_the_modules_in_their_order_and_the_images_with_their_labels() -> None:
    (seen, *_) = [each for each in records(traced_from=0) if isinstance(each, StepTraced)]
    names = [module.name for module in seen.modules]
    by_name = {module.name: module for module in seen.modules}

    assert names[:3] == ["blocks.0.conv", "blocks.0.norm", "blocks.0"]
    assert len(seen.places) == len(seen.pictures) == len(seen.labels) == PLAN.batch_size
    assert len(set(seen.places)) == PLAN.batch_size
    for picture, labels in zip(seen.pictures, seen.labels, strict=True):
        assert [box[4] for box in picture.boxes] == [label[0] for label in labels]
    assert by_name["blocks.0"].weight_gradient_norm is None
    assert by_name["blocks.0.conv"].weight_gradient_norm is not None


@pytest.mark.parametrize(("parameter", "value", "module"), PLANTINGS)
def test_a_planted_module_is_named(monkeypatch: pytest.MonkeyPatch, parameter: str, value: float, module: str) -> None:
    planting(monkeypatch, parameter, value)

    found = broken_of(records(traced_from=0, stop=lambda record: isinstance(record, LaneEnded)))

    assert found == Broken(step=0, module=module, what="output")


def test_a_lane_that_is_traced_trains_alone() -> None:
    lanes = [LaneSpec(values=VALUES), LaneSpec(values=VALUES, seed=1, traced_from=0)]

    with pytest.raises(ValueError, match="trains alone"):
        Trainer(PLAN, few_scenes(train=16, val=4, test=4), lanes)
