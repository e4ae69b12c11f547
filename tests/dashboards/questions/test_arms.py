"""What the pages of an ablation show, and that no other study has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from dashboards.blocks import Empty, Prose, Table, Tiles, VerdictCounts
from dashboards.data.arms import SharedGain, arms_of, shared_gain
from dashboards.data.filters import candidates, restricted
from dashboards.data.overview import load_overview
from dashboards.data.study import StudyView
from dashboards.data.study_loading import load
from dashboards.figures.brush import trial_numbers
from dashboards.live.pages.study import verdict_choices
from dashboards.panels import ABLATION, STUDY, panels_of
from dashboards.questions import arm_curves, arm_headline, effects, paired, path, shapley, tuning
from dashboards.rendering import Leaf, element, panel_body
from dashboards.state import Filters
from evolve.storage import schema
from evolve.storage.opening import open_engine
from tests.evolve.run.test_ablation import PLAIN, SEEDS, TUNED, ablation, run


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> StudyView:
    folder = tmp_path_factory.mktemp("compared")
    run(ablation(PLAIN | {"question": "Which rate?"}), folder)
    return load(open_engine(f"sqlite:///{folder}/evolve.db"), "fake")


def test_only_a_study_that_compares_arms_has_their_panels_at_its_head(compared: StudyView, view: StudyView) -> None:
    assert panels_of("/study", compared) == ABLATION and panels_of("/study", view) == STUDY
    assert [panel.key for panel in ABLATION[1:4]] == ["effects", "paired", "arm_curves"]
    assert isinstance(arms_of(view), Empty)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> StudyView:
    folder = tmp_path_factory.mktemp("tuned")
    run(ablation(TUNED), folder)
    return load(open_engine(f"sqlite:///{folder}/evolve.db"), "fake")


def test_trials_that_only_tune_are_not_counted_among_what_is_compared(tuned: StudyView) -> None:
    blocks = arm_headline.PANEL.draw(tuned)

    said = " ".join(block.text for block in blocks if isinstance(block, Prose))
    (tiles,) = (block for block in blocks if isinstance(block, Tiles))
    (counts,) = (block for block in blocks if isinstance(block, VerdictCounts))
    (settings,) = (block for block in blocks if isinstance(block, Table))
    shown = {tile.label: (tile.value, tile.detail) for tile in tiles.tiles}
    assert "by 6 trials on other seeds, which are not compared" in said and "best" not in said
    assert "Tuned, but to no optimum: lr0 of 2 arms is at an end of what was tried" in said
    assert shown["trainings compared"] == ("12", "of 12") and sum(count for _, count in counts.counts) == 12
    assert [row[0] for row in settings.rows] == ["baseline", "schedule=cosine"]
    assert [panel.key for panel in panels_of("/study", tuned)[:5]] == [
        *("summary", "effects", "paired", "arm_curves", "tuning"),
    ]


def test_verdicts_of_trainings_are_counted_as_such_and_those_of_trials_alone_can_be_ticked(compared: StudyView) -> None:
    counts = next(block for block in arm_headline.PANEL.draw(compared) if isinstance(block, VerdictCounts))
    (shown,) = panel_body([counts])
    trained = len(compared.trainings)
    assert len(compared.trials) < trained and not isinstance(shown, Leaf | str)

    assert shown.children[0] == element("li", f"of {trained} trainings:")
    assert set(verdict_choices(compared, Filters())) == set(compared.trials["verdict"])


def test_a_ring_is_around_the_setting_that_an_arm_was_compared_with(tuned: StudyView) -> None:
    found = tuning.rows(tuned)
    assert not isinstance(found, Empty)
    (figure,) = tuning.draw(found)

    lines, rings = figure.data[::2], figure.data[1::2]

    assert [trace.name for trace in lines] == ["linear (baseline)", "cosine"]
    assert [len(trace.x) for trace in lines] == [3, 3]
    assert [max(line.y) for line in lines] == [ring.y[0] for ring in rings]


def test_pictures_of_the_best_and_the_list_of_studies_leave_out_what_only_tunes(
    tuned: StudyView, tmp_path: Path
) -> None:
    run(ablation(TUNED), tmp_path)
    engine = open_engine(f"sqlite:///{tmp_path}/evolve.db")
    with engine.begin() as connection:  # the luckiest of all
        connection.execute(update(schema.trial).where(schema.trial.c.number == 0).values(fitness=0.99))
    (summary,) = load_overview(engine, 0.0).studies
    again = load(engine, "fake")

    assert summary.best == max(again.candidates["fitness"]) < 0.99 and "6 seeds" in summary.spread
    assert set(again.seed_results["number"]) == {6, 7} == set(candidates(again).trials["number"])


def test_every_arm_has_its_effect_with_interval_sentence_and_divergences(compared: StudyView) -> None:
    blocks = effects.PANEL.draw(compared)

    figure = effects.draw(arms_of(compared))
    (table,) = (block for block in blocks if isinstance(block, Table))
    assert [row[0] for row in table.rows] == ["lr0=0.1", "lr0=5"]
    assert all(str(row[1]).endswith(".") for row in table.rows)
    assert blocks[0] == Prose("Which rate?")
    assert isinstance(blocks[2], Prose) and "lr0=0.1 is of the pairs that finished alone" in blocks[2].text
    assert "(6 of 7 pairs)" in figure.data[0].hovertext[0]
    assert list(figure.layout.yaxis.ticktext) == ["0.1<br>1 of 7 diverged", "5<br>7 of 7 diverged"]
    assert figure.layout.yaxis.title.text == "lr0"
    assert figure.data[0].x[0] > 0.3 and figure.data[0].error_x.array[0] > 0


def test_a_line_joins_the_runs_of_a_seed_and_what_diverged_has_a_cross_in_the_strip(compared: StudyView) -> None:
    arms = arms_of(compared)
    assert not isinstance(arms, Empty)

    figure = paired.draw(arms)

    lines = [trace for trace in figure.data if trace.legendgroup == "seed"]
    crosses = [trace for trace in figure.data if trace.yaxis == "y2"]
    values = {run.arm: run.value for run in arms.runs if run.seed == 0}
    assert len(lines) == len(SEEDS) and list(lines[0].y[:2]) == [values["baseline"], values["lr0=0.1"]]
    assert [len(trace.x) for trace in crosses] == [1 + 1 + len(SEEDS)]


def test_the_curve_of_an_arm_is_the_mean_of_its_runs_within_their_extremes(compared: StudyView) -> None:
    curves = arm_curves.rows(compared)
    assert not isinstance(curves, Empty)

    points = {curve.arm: curve.points for curve in curves.curves}

    assert list(points["baseline"]["epoch"]) == [1, 2] and list(points["baseline"]["runs"]) == [7, 6]
    assert (points["baseline"]["low"] <= points["baseline"]["mean"]).all()
    assert (points["baseline"]["mean"] <= points["baseline"]["high"]).all()
    assert len(arm_curves.draw(curves).data) == 3 * len(curves.curves)


def test_points_of_arms_and_seeds_are_taken_for_no_trials(compared: StudyView) -> None:
    arms, curves = arms_of(compared), arm_curves.rows(compared)
    assert not isinstance(arms, Empty) and not isinstance(curves, Empty)

    figures = [paired.draw(arms), arm_curves.draw(curves)]

    texts = [list(trace.text) for figure in figures for trace in figure.data if trace.text is not None]
    assert all(trial_numbers(trace) is None for figure in figures for trace in figure.data)
    assert "seed 0 diverged" in texts[0] and ["7 runs", "6 runs"] in texts


def test_filters_hide_the_comparison_and_missing_runs_are_said(compared: StudyView, tmp_path: Path) -> None:
    run(ablation(PLAIN), tmp_path, stop_after=30)
    half = load(open_engine(f"sqlite:///{tmp_path}/evolve.db"), "fake")

    filtered = arms_of(restricted(compared, {0}))
    said = [block.text for block in effects.PANEL.draw(half) if isinstance(block, Prose)]

    assert isinstance(filtered, Empty) and "clear the filters" in filtered.text
    assert any("of 21 runs are missing, so all of it may change" in text for text in said)


def view_of(section: dict[str, Any], folder: Path) -> StudyView:
    run(ablation(section | {"seeds": SEEDS}), folder)
    return load(open_engine(f"sqlite:///{folder}/evolve.db"), "fake")


def test_a_path_has_a_waterfall_whose_bars_begin_where_the_one_before_ended(tmp_path: Path) -> None:
    view = view_of({"path": {"to": {"lr0": 0.03, "schedule": "cosine", "momentum": 0.5}}}, tmp_path)
    data = shared_gain(view)
    assert isinstance(data, SharedGain)

    bars = path.bars(data)
    said = [block.text for block in path.PANEL.draw(view) if isinstance(block, Prose)]

    assert [panel.key for panel in panels_of("/study", view)[1:4]] == ["effects", "path", "paired"]
    assert [bar.start for bar in bars] == [0.0, bars[0].length, bars[0].length, 0.0]  # the fake knows lr0 alone
    assert bars[-1].is_whole and bars[-1].length == pytest.approx(sum(bar.length for bar in bars[:-1]))
    assert "1 of them for a divergence" in said[0]


def test_a_full_factorial_has_bars_of_shapley_that_add_up_and_a_table_of_pairs(tmp_path: Path) -> None:
    view = view_of({"factorial": {"lr0": [0.1], "schedule": ["cosine"]}}, tmp_path)
    data = shared_gain(view)
    assert isinstance(data, SharedGain)

    bars = shapley.bars(data)
    tables = [block for block in shapley.PANEL.draw(view) if isinstance(block, Table)]

    assert [panel.key for panel in panels_of("/study", view)[1:4]] == ["effects", "shapley", "paired"]
    assert [bar.length for bar in bars[1:]] == pytest.approx([0.0, bars[0].length])
    assert [table.name for table in tables] == ["shapley", "interactions"]
    assert tables[1].rows[0][0] == "lr0=0.1 and schedule=cosine"


def test_arms_that_are_neither_have_no_shares(compared: StudyView) -> None:
    assert isinstance(shared_gain(compared), Empty)
