"""Pictures hold the numbers of the database, say what they show, and let no text of a user pass as markup."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from functools import cache
from math import isfinite, log10

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution
from sqlalchemy import select, update

from dashboards.blocks import Column, Table
from dashboards.data.study import Parameter, ViewOptions
from dashboards.data.study_loading import load
from dashboards.data.trial_sets import VERDICTS
from dashboards.figures import theme
from dashboards.live.delivery import as_csv
from dashboards.panels import STUDY
from dashboards.questions import (
    approaches,
    contour,
    convergence,
    divergence_map,
    history,
    parallel,
    schedules,
    slices,
    timeline,
)
from dashboards.questions.edges import find_edges
from evolve.outcome.signs import LARGE_BOX_LOGIT, WARNING_UPDATE
from evolve.storage import schema
from tests.synthetic import SPACE, Plan, add_study, new_engine

HOSTILE = '<script>alert(1)</script> <a href="x">"q"</a> \'s\'\n%{x} $a$ &amp;'
MIXED = ("converged", "undertrained", "diverged", "pruned", "failed", "running", "waiting", "diverged", "converged")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    engine = new_engine(tmp_path_factory.mktemp("figures") / "study.db")
    hostile = {"lr0": SPACE["lr0"], "schedule": CategoricalDistribution([HOSTILE, "<b>bold</b>"])}
    add_study(engine, Plan(name="mixed", num_trials=len(MIXED), verdicts=MIXED, seeds=(0, 1)))
    add_study(engine, Plan(name="hostile", num_trials=len(MIXED), verdicts=MIXED, space=hostile, reason=HOSTILE))
    add_study(engine, Plan(name="many", num_trials=250, log_steps=False))
    return engine


@pytest.fixture(scope="module")
def mixed(engine):
    return load(engine, "mixed")


@pytest.fixture(scope="module")
def blocks_of(engine):
    """All that is drawn of a study, with the keys of its panels; drawn once, and not to be changed."""

    @cache
    def drawn(name):
        view = load(engine, name)
        return [(panel.key, block) for panel in STUDY for block in panel.draw(view)]

    return drawn


@pytest.fixture(scope="module")
def figures_of(blocks_of):
    return lambda name: [(key, block) for key, block in blocks_of(name) if isinstance(block, go.Figure)]


def points(figure, *, mode="markers"):
    """All finite points of traces that draw in this mode, as (x, y) pairs."""
    return [
        (x, y)
        for trace in figure.data
        if trace.mode == mode and trace.x is not None and trace.x[0] is not None
        for x, y in zip(trace.x, trace.y, strict=True)
    ]


def of(figure, name):
    return next(trace for trace in figure.data if trace.name == name)


def test_history_draws_each_trial_at_its_number_and_stored_fitness(engine, mixed):
    figure = history.draw(history.rows(mixed))
    with engine.connect() as connection:
        query = select(schema.trial.c.number, schema.trial.c.fitness, schema.trial.c.verdict)
        rows = connection.execute(query.where(schema.trial.c.study_id == 1)).all()
    for verdict in ("converged", "undertrained", "pruned"):
        stored = [(row.number, row.fitness) for row in rows if row.verdict == verdict]
        trace = of(figure, verdict)
        assert list(zip(trace.x, trace.y, strict=True)) == stored

    drawn = [x for trace in figure.data if trace.mode == "markers" and trace.name in VERDICTS for x in trace.x]
    assert sorted(drawn) == [0, 1, 2, 3, 4, 5, 7, 8]


def test_trials_without_a_fitness_stand_in_a_row_of_their_own(mixed):
    figure = history.draw(history.rows(mixed))
    rows = dict(zip(figure.layout.yaxis2.ticktext, figure.layout.yaxis2.tickvals, strict=True))

    assert set(rows) == {"diverged", "failed"}
    assert (list(of(figure, "diverged").x), of(figure, "diverged").yaxis) == ([2, 7], "y2")
    assert set(of(figure, "diverged").y) == {rows["diverged"]}
    assert figure.layout.yaxis2.domain[1] < figure.layout.yaxis.domain[0]


def test_the_best_so_far_is_a_line_of_steps_that_ends_at_the_best(mixed):
    trace = of(history.draw(history.rows(mixed)), "best so far")

    assert trace.line.shape == "hv"
    assert trace.y[-1] == mixed.best["fitness"]


def test_slices_hold_each_value_and_fitness(mixed):
    figures = {figure.layout.xaxis.title.text: figure for figure in slices.draw(slices.rows(mixed))}
    drawn = {(x, y) for x, y in points(figures["lr0"]) if isfinite(y)}
    trials = mixed.trials.set_index("number")

    for number in (0, 1, 3, 5, 8):
        assert (mixed.params["lr0"][number], trials["fitness"][number]) in drawn


def test_a_slice_is_logarithmic_where_the_space_is_and_marks_the_ends_of_the_range(mixed):
    figures = {figure.layout.xaxis.title.text: figure for figure in slices.draw(slices.rows(mixed))}

    assert (figures["lr0"].layout.xaxis.type, figures["momentum"].layout.xaxis.type) == ("log", None)
    assert [shape.x0 for shape in figures["lr0"].layout.shapes] == [1e-4, 10.0]
    low, high = figures["lr0"].layout.xaxis.range
    assert low < log10(1e-4) < log10(10.0) < high


def test_a_trial_outside_the_range_is_still_on_the_axis():
    axis = theme.axis_layout(Parameter(name="momentum", low=0.6, high=0.98), [0.2, 0.7])

    assert axis["range"][0] < 0.2


def test_choices_stand_apart_and_never_reach_the_next_one(mixed):
    parameter = Parameter(name="schedule", choices=("linear", "cosine"))
    places = theme.positions(parameter, ["linear"] * 50 + ["cosine"] * 50, range(100))

    assert len(set(places)) == 100
    assert max(places[:50]) < 0.5 < min(places[50:])


def test_convergence_draws_all_epochs_with_a_gap_between_trials(mixed):
    figure = convergence.draw(convergence.rows(mixed))
    rows = mixed.epochs[(mixed.epochs["split"] == "val")]
    drawn = {}
    for trace in figure.data:
        if trace.customdata is not None and trace.yaxis is None and trace.name != "last epoch before divergence":
            for x, y, number in zip(trace.x, trace.y, trace.customdata, strict=True):
                drawn.setdefault(int(number), []).append((x, y))
    best = of(figure, f"best: trial {mixed.best['number']}")
    drawn[mixed.best["number"]] = [*zip(best.x, best.y, strict=True), (np.nan, np.nan)]

    for number, own in rows.groupby("number"):
        assert [y for _, y in drawn[number][:-1]] == own["map50"].tolist()
        assert [x for x, _ in drawn[number][:-1]] == (own["epoch"] + 1).tolist()
        assert np.isnan(drawn[number][-1][1])


def test_curves_of_a_large_study_are_a_few_traces(engine):
    figure = convergence.draw(convergence.rows(load(engine, "many")))

    assert len(figure.data) <= 12
    assert any("10 to 90 %" in (trace.name or "") for trace in figure.data)


def test_a_missing_epoch_is_a_gap_and_not_a_bridge(tmp_path):
    engine = new_engine(tmp_path / "gap.db")
    add_study(engine, Plan(num_trials=2, verdicts=["converged", "undertrained"]))
    with engine.begin() as connection:
        is_gap = (schema.epoch.c.epoch == 4) & (schema.epoch.c.split == "val")
        connection.execute(update(schema.epoch).where(is_gap).values(map50=float("nan")))
    figure = convergence.draw(convergence.rows(load(engine, "digits-lr")))

    for trace in figure.data:
        assert np.isnan(np.asarray(trace.y, dtype=float)[4])
        assert not trace.connectgaps


def test_the_rate_as_applied_is_on_a_logarithmic_axis(mixed):
    rate, momentum = schedules.draw(schedules.rows(mixed))
    found = schedules.rows(mixed)
    best = next(curve for curve in found.lr if curve.number == found.best_number)

    assert rate.layout.yaxis.type == "log"
    assert list(of(rate, f"best: trial {found.best_number}").y) == best.y.tolist()
    assert momentum.layout.yaxis.title.text == "momentum"


def test_the_map_draws_diverged_trials_as_crosses_and_others_by_fitness(mixed):
    figure = divergence_map.draw(divergence_map.rows(mixed))
    cross = of(figure, "diverged")
    converged = of(figure, "converged")

    assert cross.marker.symbol == "x"
    assert list(cross.x) == [mixed.params["lr0"][2], mixed.params["lr0"][7]]
    assert list(cross.y) == [mixed.params["momentum"][2], mixed.params["momentum"][7]]
    assert list(converged.marker.color) == mixed.trials.query("verdict == 'converged'")["fitness"].tolist()


def test_a_map_of_one_axis_has_a_row_for_each_verdict(tmp_path):
    engine = new_engine(tmp_path / "one.db")
    add_study(engine, Plan(num_trials=len(MIXED), verdicts=MIXED, space={"lr0": SPACE["lr0"]}))
    view = load(engine, "digits-lr")
    figure = divergence_map.draw(divergence_map.rows(view))

    assert set(figure.layout.yaxis.categoryarray) == set(MIXED) - {"waiting"}
    assert list(of(figure, "diverged").x) == [view.params["lr0"][2], view.params["lr0"][7]]


def test_the_last_steps_hold_gradient_and_update(mixed):
    found = approaches.rows(mixed)
    figures = approaches.draw(found)

    assert len(figures) == 2
    for trace in found[0].traces:
        np.testing.assert_array_equal(of(figures[0], trace.name).y, trace.values)
    assert f"trial {found[0].number}" in figures[0].layout.title.text


def test_the_last_steps_are_logarithmic_with_limits_and_what_was_not_finite(mixed):
    found = approaches.rows(mixed)[0]
    figure = approaches.draw((found,))[0]
    layout = figure.layout
    limits = {shape.yref: shape.y0 for shape in layout.shapes if shape.yref != "paper"}
    term = found.traces[-1].name

    assert {axis.type for axis in (layout.yaxis, layout.yaxis2, layout.yaxis3, layout.yaxis4)} == {"log"}
    assert limits == {"y": LARGE_BOX_LOGIT, "y2": WARNING_UPDATE}
    assert layout.yaxis.range[1] > log10(LARGE_BOX_LOGIT)
    assert term.split(" ")[1:3] == ["loss", "at"]
    assert list(of(figure, f"{term}, not finite").x) == [0]
    assert "first sign" in [each.text for each in layout.annotations]


def test_the_edge_of_divergence_is_a_line_with_words_in_slices_and_maps(engine):
    view = load(engine, "many")
    edge = next(each.edge for each in slices.rows(view) if each.parameter.name == "lr0")
    pictures = {
        "slice": slices.draw(slices.rows(view))[0],
        "map": divergence_map.draw(divergence_map.rows(view)),
        "contour": contour.draw(contour.rows(view)),
    }

    for name, figure in pictures.items():
        words = [each for each in figure.layout.annotations if each.text == edge.label]
        assert edge.value in [shape.x0 for shape in figure.layout.shapes], name
        assert [each.x for each in words] == [log10(edge.value)], name


def test_an_edge_on_the_upward_axis_is_a_level_line(engine):
    view = load(engine, "many")
    view = replace(view, options=ViewOptions(pair=("momentum", "lr0")))
    figure = divergence_map.draw(divergence_map.rows(view))
    edge = find_edges(view)[0]

    assert (edge.value, edge.value) in [(shape.y0, shape.y1) for shape in figure.layout.shapes]


def test_every_divergence_is_a_cross_beneath_the_curves(engine):
    view = load(engine, "many")
    figure = convergence.draw(convergence.rows(view))
    count = int((view.trials["verdict"] == "diverged").sum())
    crosses = of(figure, f"diverged: {count}")

    assert len(set(crosses.customdata)) == count
    assert crosses.yaxis == "y2"
    assert figure.layout.xaxis.range[0] == 0


def test_a_figure_on_a_dark_page_has_no_colour_that_is_too_faint(figures_of):
    for key, figure in figures_of("mixed"):
        found = json.dumps(theme.recoloured(json.loads(figure.to_json())))

        assert not [color for color in theme.ON_DARK if color in found], key


def test_many_trials_share_the_rows_of_those_that_ran_at_once(engine, mixed):
    few = timeline.draw(timeline.rows(mixed))
    many = timeline.draw(timeline.rows(load(engine, "many")))

    assert few.layout.yaxis.title.text == "trial"
    assert many.layout.yaxis.title.text == "trials at once"
    assert {y for trace in many.data for y in trace.y if not np.isnan(y)} == {1.0}
    assert min(trace.line.width for trace in many.data) >= 10


def test_where_each_trial_of_the_timeline_has_its_number_there_is_room_for_it(own_engine):
    add_study(own_engine, Plan(num_trials=12, verdicts=["converged"] * 12))

    figure = timeline.draw(timeline.rows(load(own_engine, "digits-lr")))

    assert figure.layout.yaxis.dtick == 1
    assert (figure.layout.height - 130) / 12 >= 14  # the rest: legend, ticks and title


def test_labels_of_lines_over_hyperparameters_have_three_digits_at_most(own_engine):
    add_study(own_engine, Plan(num_trials=6, verdicts=["converged"] * 6))

    figure = parallel.draw(parallel.rows(load(own_engine, "digits-lr")))

    numbers = [note.text for note in figure.layout.annotations if note.text.replace(".", "").isdigit()]
    assert len(numbers) > 6 and {len(text.replace(".", "").strip("0")) for text in numbers} <= {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["mixed", "hostile", "many"])
def test_every_csv_has_names_that_differ(blocks_of, name):
    for key, block in blocks_of(name):
        if isinstance(block, go.Figure | Table):
            names = next(csv.reader(io.StringIO(as_csv(block))))

            assert len(set(names)) == len(names), (key, names)


@given(st.lists(st.sampled_from(["trial", "fitness", "reason", "trial 2", ""]), max_size=8))
def test_columns_of_a_csv_differ_whatever_their_titles(titles):
    table = Table(name="t", columns=tuple(Column(title=title) for title in titles), rows=())
    names = as_csv(table).splitlines()[0].split(",")

    assert len(set(names)) == len(names)


def test_a_place_in_a_strip_is_no_measurement_in_a_csv(mixed):
    rows = list(csv.DictReader(io.StringIO(as_csv(history.draw(history.rows(mixed))))))
    fitness = {row["curve"]: row["fitness"] for row in rows}

    assert fitness["diverged"] == fitness["failed"] == ""
    assert float(fitness["converged"]) > 0


def test_hover_texts_name_trial_verdict_fitness_and_all_hyperparameters(mixed):
    rows = history.rows(mixed)
    text = theme.hover_texts(rows.trials, rows.params)[0]

    assert text.startswith("<b>trial 0</b> converged<br>fitness ")
    assert [line.split(" ")[0] for line in text.split("<br>")[2:]] == list(SPACE)


@pytest.mark.parametrize("name", ["mixed", "hostile", "many"])
def test_every_axis_with_numbers_says_what_it_counts(figures_of, name):
    for key, figure in figures_of(name):
        # Parallel coordinates name each of their axes at its head.
        assert figure.layout.xaxis.title.text or all(figure.layout.xaxis.ticktext), key
        is_named = figure.layout.yaxis.type == "category" or figure.layout.yaxis.visible is False
        assert figure.layout.yaxis.title.text or is_named, key
        assert figure.layout.height >= 100, key


def test_no_markup_of_a_user_reaches_a_figure(figures_of):
    texts = [json.dumps(figure.to_plotly_json(), default=str) for _, figure in figures_of("hostile")]

    assert any("&lt;script" in text for text in texts)
    for text in texts:
        for forbidden in ("<script", "<a href", "<b>bold", "$a$", "%{x} $"):
            assert forbidden not in text


def test_figures_carry_no_colour_of_ink_so_that_any_page_may_show_them(figures_of):
    for key, figure in figures_of("mixed"):
        assert figure.layout.paper_bgcolor is None, key
        assert figure.layout.font.color is None, key
