"""The smoothed map of fitness."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine

from dashboards.blocks import Empty
from dashboards.data.study_loading import load
from dashboards.questions import contour
from dashboards.questions.contour import Contour
from tests.dashboards.examples import NAME
from tests.synthetic import Plan, add_study, new_engine


def test_a_smoothed_map_is_high_where_trials_are_good_and_empty_where_there_are_none(url: str) -> None:
    view = load(create_engine(url), NAME)

    found = contour.rows(view)

    assert isinstance(found, Contour)
    finite = found.fitness[found.fitness == found.fitness]
    trained = found.rows[found.rows["verdict"] != "diverged"]
    assert trained["fitness"].min() - 1e-9 <= finite.min() <= finite.max() <= trained["fitness"].max() + 1e-9
    assert (found.fitness != found.fitness).any()


def test_too_few_trials_for_a_map_are_counted(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "own.db")
    add_study(engine, Plan(num_trials=2, verdicts=["converged", "diverged"], log_steps=False))

    found = contour.rows(load(engine, NAME))

    assert isinstance(found, Empty) and found.text.startswith("1 trial ran to its end; ")


def test_the_map_of_fitness_is_empty_where_trials_only_diverged(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "own.db")
    add_study(engine, Plan(num_trials=80, log_steps=False))

    found = contour.rows(load(engine, NAME))

    assert isinstance(found, Contour)
    diverged = found.rows[found.rows["verdict"] == "diverged"]
    trained = found.rows[found.rows["verdict"] != "diverged"]
    beyond = found.x_values > trained["x"].max() * 1.5
    assert len(diverged) and (diverged["x"] > trained["x"].max()).any() and beyond.any()
    assert (found.fitness[:, beyond] != found.fitness[:, beyond]).mean() > 0.8
