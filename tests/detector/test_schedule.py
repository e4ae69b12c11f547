"""Learning rate, momentum and warm-up as functions of the step."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.choices.schedules import SCHEDULES
from detector.hyperparameters import Hyperparameters
from detector.schedule import anchor_pull_at, rates_at

fractions = st.floats(0, 1)


@given(schedule=st.sampled_from([*SCHEDULES]), lrf=st.floats(1e-6, 1))
def test_every_schedule_starts_at_lr0_and_all_but_the_constant_end_at_lr0_times_lrf(schedule: str, lrf: float) -> None:
    assert SCHEDULES[schedule](0.0, lrf) == pytest.approx(1.0)
    assert SCHEDULES[schedule](1.0, lrf) == pytest.approx(1.0 if schedule == "constant" else lrf)


@given(schedule=st.sampled_from([*SCHEDULES]), lrf=fractions, early=fractions, late=fractions)
def test_no_schedule_ever_rises(schedule: str, lrf: float, early: float, late: float) -> None:
    early, late = sorted((early, late))

    assert SCHEDULES[schedule](early, lrf) >= SCHEDULES[schedule](late, lrf) - 1e-12


def test_steps_drop_at_80_and_90_percent_as_darknets_do() -> None:
    factors = [SCHEDULES["steps"](at, 0.01) for at in (0.0, 0.79, 0.8, 0.89, 0.9, 1.0)]

    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_is_half_way_down_in_the_middle() -> None:
    assert SCHEDULES["cosine"](0.5, 0.2) == pytest.approx(0.6)


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
