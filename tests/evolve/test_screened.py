"""What a screening shows: planted changes found exactly, luck told from them, and nothing said of too little."""

from __future__ import annotations

from itertools import product
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolve.screened import screened
from evolve.search.samplers.design import hadamard
from evolve.study.screening import Change

NAMES = ("lr0", "box", "obj", "cls", "scale", "momentum")
CHANGES = [Change(name=name, own=0.0, other=1.0) for name in NAMES]
ROWS = [dict(zip(NAMES, row, strict=True)) for row in (np.array(hadamard(16))[:, -len(NAMES) :] < 0).astype(float)]


@given(st.lists(st.floats(-0.1, 0.1), min_size=len(NAMES), max_size=len(NAMES)), st.permutations(range(len(ROWS))))
def test_what_adds_up_is_found_exactly_in_any_order_of_trials(planted: list[float], order: list[int]) -> None:
    rows = [ROWS[place] for place in order]
    fitness = [0.4 + sum(row[name] * value for name, value in zip(NAMES, planted, strict=True)) for row in rows]

    found = screened(rows, fitness, CHANGES)

    assert {effect.change.name: effect.difference for effect in found.effects} == pytest.approx(
        dict(zip(NAMES, planted, strict=True)), abs=1e-9
    )
    assert found.own_fitness == pytest.approx(0.4)
    assert [found.estimated(row) for row in rows] == pytest.approx(fitness)
    assert [effect.difference for effect in found.effects] == sorted(
        (effect.difference for effect in found.effects), reverse=True
    )


def test_intervals_hold_what_was_planted_and_luck_alone_is_hardly_ever_better_or_worse() -> None:
    rng = np.random.default_rng(0)
    held, told = 0, 0
    for _ in range(300):
        fitness = [0.4 + 0.02 * row["lr0"] + rng.normal(0, 0.016) for row in ROWS]
        effects = {effect.change.name: effect for effect in screened(ROWS, fitness, CHANGES).effects}
        held += effects["lr0"].low <= 0.02 <= effects["lr0"].high
        told += any(effects[name].verdict != "unclear" for name in NAMES[1:])

    assert 0.92 <= held / 300 <= 0.98
    assert told / 300 <= 0.05 + 0.02  # five of the six changes; a standard error is 0.013


def test_a_change_is_recommended_where_it_is_better_by_more_than_its_standard_error() -> None:
    rng = np.random.default_rng(1)
    fitness = [0.4 + 0.05 * row["lr0"] - 0.05 * row["box"] + rng.normal(0, 0.01) for row in ROWS]

    found = screened(ROWS, fitness, CHANGES)
    verdicts = {effect.change.name: effect.verdict for effect in found.effects}

    assert (verdicts["lr0"], verdicts["box"]) == ("better", "worse")
    assert found.recommended["lr0"] == 1.0 and found.recommended["box"] == 0.0
    for effect in found.effects:
        assert (found.recommended[effect.change.name] == 1.0) == (effect.difference > effect.error)


@pytest.mark.parametrize("count", [0, 1, len(NAMES) + 1])
def test_of_too_few_trials_nothing_is_said_but_how_many_it_takes(count: int) -> None:
    found = screened(ROWS[:count], [0.5] * count, CHANGES)

    assert not found.effects and (found.num_trials, found.num_needed) == (count, len(NAMES) + 2)
    assert isnan(found.estimated(ROWS[0]))


def test_of_changes_that_were_always_made_together_nothing_is_said() -> None:
    pair = CHANGES[:2]
    rows = [{"lr0": value, "box": value} for value in (0.0, 1.0, 0.0, 1.0, 1.0)]

    assert not screened(rows, [0.1, 0.2, 0.1, 0.2, 0.3], pair).effects


def test_what_two_changes_do_only_together_is_kept_out_of_what_each_does_where_rows_are_mirrored() -> None:
    for one, other in product(NAMES[:3], NAMES[3:]):
        fitness = [0.4 + 0.1 * (2 * row[one] - 1) * (2 * row[other] - 1) for row in ROWS]

        for effect in screened(ROWS, fitness, CHANGES).effects:
            assert effect.difference == pytest.approx(0, abs=1e-9)
