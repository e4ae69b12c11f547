"""Learning rate, momentum and warm-up as functions of the step."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LRScheduler

from detector.choices.schedules import SCHEDULES, Moment
from detector.hyperparameters import Hyperparameters
from detector.schedule import anchor_pull_at, rates_at

fractions = st.floats(0, 1)
FALLING = [name for name in SCHEDULES if name not in ("cosine_restarts", "one_cycle")]
TORCH = torch.optim.lr_scheduler


def factor(schedule: str, progress: float, *, losses: Sequence[float] = (), **others: float) -> float:
    values = Hyperparameters.from_mapping({"schedule": schedule, **others})
    return SCHEDULES[schedule](Moment(progress=progress, val_losses=losses), values)


def factors(schedule: str, count: int, **others: float) -> list[float]:
    return [factor(schedule, step / (count - 1), **others) for step in range(count)]


def of_torch(count: int, made: Callable[[torch.optim.Optimizer], LRScheduler]) -> list[float]:
    """Learning rates of torch's scheduler over steps, of an optimizer whose own is 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, found = made(optimizer), []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@given(schedule=st.sampled_from([*SCHEDULES]), lrf=st.floats(1e-6, 1))
def test_schedules_start_at_lr0_and_end_at_lr0_times_lrf_but_for_those_that_say_otherwise(
    schedule: str, lrf: float
) -> None:
    first = {"inverse_exponential": 1 - 1e-4, "one_cycle": 1 / 25}
    last = {"constant": 1.0, "plateau": 1.0, "inverse_exponential": 0.0}

    assert factor(schedule, 0.0, lrf=lrf) == pytest.approx(first.get(schedule, 1.0))
    assert factor(schedule, 1.0, lrf=lrf) == pytest.approx(last.get(schedule, lrf))


@given(schedule=st.sampled_from(FALLING), lrf=fractions, early=fractions, late=fractions)
def test_no_schedule_ever_rises_but_that_of_one_cycle_and_of_restarts(
    schedule: str, lrf: float, early: float, late: float
) -> None:
    early, late = sorted((early, late))

    assert factor(schedule, early, lrf=lrf) >= factor(schedule, late, lrf=lrf) - 1e-12


def test_steps_drop_at_80_and_90_percent_as_darknets_do() -> None:
    found = [factor("steps", at, lrf=0.01) for at in (0.0, 0.79, 0.8, 0.89, 0.9, 1.0)]

    assert found == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@given(places=st.lists(st.integers(1, 499), min_size=2, max_size=2, unique=True), count=st.integers(500, 10_000))
def test_steps_are_at_the_batches_that_darknet_counts_each_by_a_scale_of_its_own(places: list[int], count: int) -> None:
    first, second = sorted(places)
    at = {"step_at_1": first / count, "step_at_2": second / count}
    share = math.log(0.5) / math.log(0.05)  # scales=0.5,0.1

    found = [
        factor("steps", step / (count - 1), lrf=0.05, step_share=share, **at)
        for step in (0, first - 1, first, second - 1, second, count - 1)
    ]

    assert found == pytest.approx([1, 1, 0.5, 0.5, 0.05, 0.05])


@pytest.mark.parametrize(
    ("milestones", "given"),
    [
        ([40, 70], {"step_at_1": 0.4, "step_at_2": 0.7, "lrf": 0.3**2}),
        ([40], {"step_at_1": 0.4, "step_share": 1.0, "lrf": 0.3}),
    ],
)
def test_steps_are_the_milestones_of_torch(milestones: list[int], given: dict[str, float]) -> None:
    theirs = of_torch(100, lambda optimizer: TORCH.MultiStepLR(optimizer, milestones, gamma=0.3))

    assert factors("steps", 100, **given) == pytest.approx(theirs)


@pytest.mark.parametrize("power", [1.0, 4.0])
def test_poly_is_torchs_and_darknets_where_it_falls_to_nothing(power: float) -> None:
    theirs = of_torch(101, lambda optimizer: TORCH.PolynomialLR(optimizer, total_iters=100, power=power))

    assert factors("poly", 101, poly_power=power, lrf=0.0) == pytest.approx(theirs, abs=1e-12)


def test_poly_keeps_a_last_rate() -> None:
    assert factor("poly", 0.5, poly_power=2.0, lrf=0.2) == pytest.approx(0.2 + 0.8 / 4)


def test_exponential_is_torchs_with_the_factor_that_leads_to_lrf() -> None:
    theirs = of_torch(101, lambda optimizer: TORCH.ExponentialLR(optimizer, gamma=0.01 ** (1 / 100)))

    assert factors("exponential", 101, lrf=0.01) == pytest.approx(theirs)


def test_the_inverse_exponential_has_an_exponent_of_its_own_and_does_not_read_lrf() -> None:
    found = factors("inverse_exponential", 5, lrf_exponent=-2.0, lrf=0.3)

    # 1 - 10^(-2 (1 - e/E)) at e/E = 0, 1/4, 1/2, 3/4, 1.
    assert found == pytest.approx([0.99, 1 - 10**-1.5, 0.9, 1 - 10**-0.5, 0.0])


def test_cosines_with_restarts_are_torchs_and_the_last_step_ends_the_last() -> None:
    theirs = of_torch(61, lambda optimizer: TORCH.CosineAnnealingWarmRestarts(optimizer, T_0=20, eta_min=0.1))

    found = factors("cosine_restarts", 61, restart_cycles=3.0, lrf=0.1)

    assert found[:-1] == pytest.approx(theirs[:-1])
    assert found[-1] == pytest.approx(0.1)


def test_one_cycle_is_torchs() -> None:
    theirs = of_torch(
        101,
        lambda optimizer: TORCH.OneCycleLR(
            optimizer, max_lr=1.0, total_steps=101, pct_start=31 / 101, final_div_factor=4.0, cycle_momentum=False
        ),
    )

    # torch counts the steps up to the highest rate, which is the 31st here, and its last is 1 / (25 * 4).
    assert factors("one_cycle", 101, one_cycle_rise=0.3, lrf=0.01) == pytest.approx(theirs)


@given(losses=st.lists(st.floats(0.1, 10.0), min_size=1, max_size=40), patience=st.integers(0, 4))
def test_plateau_is_torchs(losses: list[float], patience: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = TORCH.ReduceLROnPlateau(
        optimizer, factor=0.3, patience=patience, threshold=0.05, min_lr=0.01, eps=0.0, threshold_mode="rel"
    )

    for epoch, loss in enumerate(losses):
        theirs.step(loss)
        mine = factor(
            "plateau",
            0.0,
            losses=losses[: epoch + 1],
            plateau_factor=0.3,
            plateau_patience=float(patience),
            plateau_threshold=0.05,
            lrf=0.01,
        )
        assert mine == pytest.approx(optimizer.param_groups[0]["lr"])


def test_the_rate_on_a_plateau_is_that_of_the_losses_before() -> None:
    values = Hyperparameters(lr0=0.1, schedule="plateau", plateau_patience=1.0, warmup_epochs=0.0, lrf=0.0)

    found = [
        rates_at(0, total_steps=9, steps_per_epoch=1, values=values, val_losses=[3.0, 2.0, 2.0, 2.0][:epoch]).lr
        for epoch in range(5)
    ]

    assert found == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.01])


def test_cosine_is_half_way_down_in_the_middle() -> None:
    assert factor("cosine", 0.5, lrf=0.2) == pytest.approx(0.6)


def test_warm_up_counts_steps_across_epochs_and_may_end_within_one() -> None:
    values = Hyperparameters(warmup_epochs=1.5)

    warming = [rates_at(step, total_steps=100, steps_per_epoch=10, values=values).in_warmup for step in range(100)]

    assert warming == [True] * 15 + [False] * 85


def test_warm_up_starts_from_its_own_momentum_and_bias_rate_and_joins_the_schedule() -> None:
    values = Hyperparameters(lr0=0.1, lrf=1.0, warmup_epochs=1, warmup_momentum=0.5, momentum=0.9, warmup_bias_lr=0.3)

    first, middle, after = (rates_at(step, total_steps=100, steps_per_epoch=10, values=values) for step in (0, 5, 10))

    assert (first.lr, first.bias_lr, first.momentum) == (0.0, 0.3, 0.5)
    assert (middle.lr, middle.bias_lr, middle.momentum) == pytest.approx((0.05, 0.2, 0.7))
    assert (after.lr, after.bias_lr, after.momentum) == pytest.approx((0.1, 0.1, 0.9))


def test_without_warm_up_the_first_step_has_the_full_rate() -> None:
    rates = rates_at(0, total_steps=10, steps_per_epoch=5, values=Hyperparameters(lr0=0.2, warmup_epochs=0))

    assert rates.lr == rates.bias_lr == 0.2
    assert not rates.in_warmup


@given(step=st.integers(0, 99), warmup=st.floats(0, 20), lr0=st.floats(1e-6, 10))
def test_rates_are_finite_and_never_negative(step: int, warmup: float, lr0: float) -> None:
    values = Hyperparameters(lr0=lr0, warmup_epochs=warmup)

    rates = rates_at(step, total_steps=100, steps_per_epoch=10, values=values)

    assert all(math.isfinite(each) and each >= 0 for each in (rates.lr, rates.bias_lr, rates.momentum))


def test_the_pull_to_anchors_lasts_for_so_many_batches_across_epochs() -> None:
    values = Hyperparameters(anchor_warmup=3, anchor_gain=0.5)

    assert [anchor_pull_at(step, values) for step in range(5)] == [0.5, 0.5, 0.5, 0.0, 0.0]
    assert anchor_pull_at(0, Hyperparameters()) == 0


def test_darknets_burn_in_rises_by_the_fourth_power() -> None:
    values = Hyperparameters(lr0=0.1, lrf=1.0, warmup_epochs=1, warmup="quartic")

    assert rates_at(5, total_steps=100, steps_per_epoch=10, values=values).lr == pytest.approx(0.1 / 16)


@pytest.mark.parametrize(
    ("lengths", "length"), [((0, 25), 25), ((1.5, 0), 15), ((1.5, 12), 15), ((1.5, 30), 30), ((0, 0), 0)]
)
def test_the_warm_up_has_the_longer_of_its_lengths_in_epochs_and_in_steps(
    lengths: tuple[float, float], length: int
) -> None:
    values = Hyperparameters(warmup_epochs=lengths[0], warmup_steps=lengths[1])

    warming = [rates_at(step, total_steps=100, steps_per_epoch=10, values=values).in_warmup for step in range(100)]

    assert warming == [True] * length + [False] * (100 - length)


def test_a_burn_in_that_is_cut_off_jumps_when_the_first_epoch_is_over() -> None:
    values = Hyperparameters(lr0=0.1, lrf=1.0, warmup="cut_off", warmup_epochs=0, warmup_steps=20)
    whole = replace(values, warmup="quartic")

    found, due = (
        [rates_at(step, total_steps=100, steps_per_epoch=10, values=each) for step in range(20)]
        for each in (values, whole)
    )

    assert found[:10] == due[:10]
    assert found[9].lr == pytest.approx(0.1 * (9 / 20) ** 4)
    assert [(each.lr, each.bias_lr, each.in_warmup) for each in found[10:]] == [(0.1, 0.1, False)] * 10
    assert due[19].lr == pytest.approx(0.1 * (19 / 20) ** 4)


def test_prebias_warms_biases_and_momentum_alone_along_a_line() -> None:
    values = Hyperparameters(
        lr0=0.01, lrf=1.0, warmup="prebias", warmup_epochs=3, warmup_bias_lr=0.1, warmup_momentum=0.9, momentum=0.937
    )

    found = [rates_at(step, total_steps=100, steps_per_epoch=10, values=values) for step in (0, 10, 20, 30)]

    assert [each.lr for each in found] == [0.01] * 4
    assert [each.bias_lr for each in found] == pytest.approx([*np.interp([0, 1, 2, 3], [0, 3], [0.1, 0.01])])
    assert [each.momentum for each in found] == pytest.approx([*np.interp([0, 1, 2, 3], [0, 3], [0.9, 0.937])])
