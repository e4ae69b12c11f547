"""Which trials are drawn where there are many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dashboards.data.shown import drawn_numbers
from dashboards.data.study import ViewOptions
from dashboards.data.study_loading import load
from tests.dashboards.examples import NAME
from tests.synthetic import Plan, add_study, new_engine


def test_pictures_draw_the_same_choice_of_many_trials_with_rare_verdicts_whole(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "many.db")
    verdicts = ("converged",) * 197 + ("diverged", "failed", "failed")
    add_study(engine, Plan(num_trials=200, verdicts=verdicts, log_steps=False, epochs=2))
    view = replace(load(engine, NAME), options=ViewOptions(max_points=50, selected=frozenset({7})))

    numbers = drawn_numbers(view)

    assert {197, 198, 199, 7} <= numbers
    assert int(view.best["number"]) in numbers  # type: ignore[index]
    assert 40 <= len(numbers) <= 75
    assert drawn_numbers(view) == numbers
