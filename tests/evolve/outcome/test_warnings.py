"""Signs, the levels they warn at, and when a training is doomed."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.critical import SMALLEST
from detector.hyperparameters import Hyperparameters, allowed_choices
from detector.telemetry import StepTelemetry
from evolve.outcome.warnings import (
    ADAPTIVE,
    SIGNS,
    Foreseen,
    Kind,
    Signs,
    Watch,
    conformal_level,
    fitted,
    is_among_best,
    is_learning,
    largest_sustained,
    least_trainings,
    rounded_up,
    spared,
)
from evolve.study import Warnings
from tests.evolve.outcome.streams import falling, step

COUNT = 60
LEVELS = Warnings(
    update=0.2, overshoot=1, gradient=4, term=0.99, box=44, rise=2, unlearned=1, stuck=0.9, sustained=3, together=2
)


SGD_EXP = Kind(is_adaptive=False, has_exp=True)
ADAM_BOUNDED = Kind(is_adaptive=True, has_exp=False)


def signs(steps: list[StepTelemetry], kind: Kind = SGD_EXP) -> list[dict[str, float]]:
    seen = Signs(kind)
    return [seen.see(each) for each in steps]


def first_doomed(steps: list[StepTelemetry], warnings: Warnings = LEVELS, kind: Kind = SGD_EXP) -> Foreseen | None:
    watch = Watch(warnings, kind)
    return next((found for each in steps if (found := watch.see(each)) is not None), None)


def test_a_loss_that_falls_gives_no_sign() -> None:
    found = signs(falling(COUNT))[-1]

    assert found["update_exp"] == 0.01 and found["overshoot"] == 0.0 and found["gradient"] == 0.0
    assert found["term"] == 0.25 and found["box"] == 2.0
    assert found["rise"] <= 1.0 and found["stuck"] < 0.05
    assert found["unlearned"] < 0.5
    assert first_doomed(falling(COUNT)) is None


def test_a_critical_ratio_counts_until_the_next_one_is_measured() -> None:
    ratios = [nan, 0.5, nan, nan, 4.0, nan]

    found = signs(falling(6, critical_ratio=ratios))

    assert [each["overshoot"] for each in found] == [0.0, 2.0, 2.0, 2.0, 0.25, 0.25]


def test_an_update_uphill_tells_nothing_of_its_size() -> None:
    found = signs(falling(2, critical_ratio=[0.5, SMALLEST]))

    assert [each["overshoot"] for each in found] == [2.0, 0.0]


def test_a_loss_is_seen_to_rise_at_the_second_step() -> None:
    found = signs([step(0, 1.0), step(1, 8.0)])

    assert found[1]["rise"] == pytest.approx(8.0)


def test_a_gradient_that_jumps_stands_out_and_stays_out_for_a_while() -> None:
    norms = [1.0] * 30 + [100.0] * 10

    found = [each["gradient"] for each in signs(falling(40, grad_norm=norms))]

    assert max(found[:30]) == 0.0
    assert found[30] == pytest.approx(4.605 / 0.2, rel=1e-3)  # ln 100 over the least deviation
    assert all(each > 5 for each in found[30:])


def test_the_share_of_the_largest_term_is_of_all_terms() -> None:
    found = signs([step(0, 4.0, box=997.0)])[0]

    assert found["term"] == pytest.approx(0.997)


def test_a_loss_that_rises_again_is_stuck_for_longer_and_longer() -> None:
    losses = [0.95**number for number in range(30)] + [2.0] * 30

    found = signs(falling(COUNT, loss=losses))

    assert found[29]["rise"] <= 1.0 and found[29]["stuck"] == 0.0
    assert found[-1]["rise"] > 3 and found[-1]["unlearned"] > 1.5
    assert found[-1]["stuck"] == pytest.approx(0.5)


def test_what_is_no_number_is_worse_than_any() -> None:
    found = signs([step(0), step(1, nan, grad_norm=inf, update_ratio=nan)])[1]

    assert [found[name] for name in ("update_exp", "gradient", "term", "rise", "unlearned", "stuck")] == [inf] * 6


def test_one_warning_dooms_nothing_and_two_at_once_do_when_they_last() -> None:
    norms = [1.0] * 30 + [100.0] * 30
    ratios = [nan] * 40 + [0.5] + [nan] * 19

    one = first_doomed(falling(COUNT, grad_norm=norms))
    both = first_doomed(falling(COUNT, grad_norm=norms, critical_ratio=ratios))

    assert one is None
    assert both is not None and both.step == 42  # the third step of the second
    assert both.text.startswith("overshoot 2 above 1, gradient ")


@pytest.mark.parametrize(
    ("column", "text"),
    [("update_ratio", "update 99 above 0.2 at step 32"), ("max_box_logit", "box 99 above 44 at step 32")],
)
def test_an_update_or_a_box_dooms_by_itself_when_it_lasts(column: str, text: str) -> None:
    found = first_doomed(falling(COUNT, **{column: [0.01] * 30 + [99.0] * 30}))

    assert found is not None and found.text == text


def test_each_kind_of_training_has_a_level_of_its_own_for_updates_and_bounded_boxes_say_nothing() -> None:
    steps = falling(COUNT, update_ratio=[0.5] * COUNT, max_box_logit=[99.0] * COUNT)
    levels = LEVELS.model_copy(update={"update_adaptive": 1.0, "update_adaptive_exp": 0.4, "box": 1e9})

    assert first_doomed(steps, levels, ADAM_BOUNDED) is None
    assert "box" not in signs(steps, ADAM_BOUNDED)[0] and "update_exp" not in signs(steps, ADAM_BOUNDED)[0]
    found = first_doomed(steps, levels, Kind(is_adaptive=True, has_exp=True))
    assert found is not None and found.text == "update 0.5 above 0.4 at step 3"


def test_a_first_update_has_a_level_of_its_own_and_makes_no_other() -> None:
    large_first = falling(COUNT, update_ratio=[9.0] + [0.01] * (COUNT - 1))
    levels = LEVELS.model_copy(update={"first_update_exp": 10.0, "sustained": 1})

    assert first_doomed(large_first, levels) is None
    found = first_doomed(large_first, levels.model_copy(update={"first_update_exp": 8.0}))
    assert found is not None and found.text == "first update 9 above 8 at step 0"
    reached = largest_sustained(large_first, 1, SGD_EXP)
    assert (reached["first_update_exp"], reached["update_exp"]) == (9.0, 0.01)
    few, many = (fitted([reached] * count, wrong=0.05, sustained=1) for count in (98, 99))
    assert few.first_update_exp == Warnings().first_update_exp and many.first_update_exp == 9.0
    assert few.update_exp == many.update_exp == 0.01


def test_the_kind_of_a_training_is_that_of_its_optimizer_and_coding() -> None:
    kinds = {
        (optimizer, coding): Kind.of(Hyperparameters(optimizer=optimizer, coding=coding)).update
        for optimizer in ("sgd", "adamw")
        for coding in ("bounded", "exp")
    }

    assert list(kinds.values()) == ["update", "update_exp", "update_adaptive", "update_adaptive_exp"]
    optimizers = {str(choice) for choice in allowed_choices("optimizer")}
    assert optimizers > ADAPTIVE and optimizers - ADAPTIVE == {"sgd"}  # a new one belongs to one of both


@pytest.mark.parametrize(
    ("losses", "recovers"),
    [
        ([1.0] * 5, False),
        ([1.0, 1e5, 1e4, 1e3, 500.0, 400.0], True),  # far above its start, and on its way back
        ([1.0, 1e5, 1e4, 1e3, 500.0, 400.0, *[600.0] * 40], False),
        ([1.0, 0.9, 0.8], False),  # three steps are no trend
        ([1.0, 0.9, 0.8, 0.7, 0.6], True),
        ([1.0, 1.0, 1.0, 1.0, 0.99], False),
        ([1.0, 0.9, 0.8, 0.7, nan, 0.6], False),
        ([1.0, 0.9, 0.8, 0.7, inf, 0.6], False),
        ([0.0] * 9, False),
    ],
)
def test_a_training_recovers_while_its_loss_falls_wherever_it_is(losses: list[float], recovers: bool) -> None:
    watch = Watch(LEVELS, SGD_EXP)

    for number, loss in enumerate(losses):
        watch.see(step(number, loss))

    assert watch.is_recovering is recovers


@given(st.lists(st.floats(1e-3, 1e6), min_size=4, max_size=40), st.floats(1e-3, 1e3))
def test_whether_a_training_recovers_does_not_depend_on_the_unit_of_its_loss(losses: list[float], unit: float) -> None:
    own, scaled = Watch(LEVELS, SGD_EXP), Watch(LEVELS, SGD_EXP)
    for number, loss in enumerate(losses):
        own.see(step(number, loss))
        scaled.see(step(number, unit * loss))

    assert own.is_recovering == scaled.is_recovering


def test_a_spike_that_passes_dooms_nothing_and_doom_passes_too() -> None:
    spike = {
        "update_ratio": [0.01] * 30 + [0.9, 0.9] + [0.01] * 28,
        "max_box_logit": [2.0] * 30 + [99.0] * 2 + [2.0] * 28,
    }
    watch = Watch(LEVELS.model_copy(update={"sustained": 2}), SGD_EXP)

    found = [watch.see(each) for each in falling(COUNT, **spike)]

    assert first_doomed(falling(COUNT, **spike)) is None
    assert [place for place, each in enumerate(found) if each is not None] == [31]


def test_levels_are_the_quantile_that_one_more_exchangeable_training_exceeds_as_often_as_asked() -> None:
    # of 19 values the 19th smallest: one of 20 equally likely places is above it
    assert conformal_level(list(range(19)), 0.05) == 18
    assert conformal_level(list(range(39)), 0.05) == 37
    with pytest.raises(ValueError, match=r"18 healthy trainings; a probability of 0\.05 needs 19"):
        conformal_level(list(range(18)), 0.05)


def test_of_the_fewest_trainings_that_will_do_the_level_is_the_largest() -> None:
    fewest = {count: least_trainings(1 / count) for count in range(2, 400)}

    assert all(least in (count - 1, count) for count, least in fewest.items())  # the last digit of 1 / count decides
    assert all(conformal_level(list(range(least)), 1 / count) == least - 1 for count, least in fewest.items())


def test_what_is_sustained_is_the_least_of_a_few_steps_in_a_row() -> None:
    updates = [0.1, 0.5, 0.4, 0.3, 0.9, 0.1, 0.1]

    assert largest_sustained(falling(7, update_ratio=updates), 3, SGD_EXP)["update_exp"] == 0.3
    assert largest_sustained(falling(7, update_ratio=updates), 1, SGD_EXP)["update_exp"] == 0.9


def test_fitted_levels_are_those_of_the_trainings_and_of_a_sign_never_seen_the_usual_one() -> None:
    runs = [falling(COUNT, update_ratio=[0.01 * size] * COUNT) for size in range(1, 20)]
    reached = [largest_sustained(run, 3, SGD_EXP) for run in runs]
    of_adam = [largest_sustained(run, 3, ADAM_BOUNDED) for run in runs[:18]]  # one too few

    levels = fitted(reached + of_adam, wrong=0.05, sustained=3)

    assert levels.update_exp == pytest.approx(0.19) and levels.term == 0.25
    assert levels.overshoot == Warnings().overshoot
    assert levels.update_adaptive == Warnings().update_adaptive
    assert (levels.sustained, levels.together) == (3, 2)
    assert set(SIGNS) | {"sustained", "together"} == set(Warnings.model_fields)


@pytest.mark.parametrize(("level", "expected"), [(0.19, 0.19), (0.12341, 0.124), (98.7654, 98.8), (1234.0, 1240.0)])
def test_a_level_is_rounded_away_from_false_alarms(level: float, expected: float) -> None:
    assert rounded_up(level) == pytest.approx(expected)
    assert rounded_up(level) >= level


def test_the_best_quarter_is_better_than_three_quarters_of_others_and_nobody_leads_alone() -> None:
    assert is_among_best(0.5, [0.1, 0.2, 0.3, 0.6])
    assert not is_among_best(0.5, [0.1, 0.2, 0.5, 0.6])
    assert not is_among_best(0.0, [0.0, 0.0])
    assert not is_among_best(0.5, [])


def test_a_training_learns_where_it_does_better_than_ever_before_and_of_one_epoch_nobody_can_tell() -> None:
    assert is_learning([0.1, 0.3, 0.2, 0.4])
    assert not is_learning([0.1, 0.3, 0.3])
    assert not is_learning([0.5]) and not is_learning([])


def test_after_each_epoch_what_learns_or_leads_is_spared() -> None:
    others = [[0.1, 0.1, 0.5], [0.2, 0.2], [0.1, 0.1, 0.6]]

    # leads; neither; learns, though behind
    assert spared([0.3, 0.1, 0.4], others) == (True, False, True)
    assert spared([0.3], []) == (False,)
