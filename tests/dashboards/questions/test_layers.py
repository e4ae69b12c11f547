"""What a training's page shows of its layers, and what it says where nobody asked for that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, insert, update

from dashboards.blocks import Empty
from dashboards.data.reader import Reader
from dashboards.data.trial import TrialView
from dashboards.figures.brush import figure_rows
from dashboards.questions import layers
from dashboards.report import write_report
from dashboards.state import PageState
from evolve.formatting import MISSING
from evolve.storage import schema
from tests.shown import drawn
from tests.synthetic import Plan, add_study, new_engine
from tests.synthetic_seeing import NUM_LAYERS, layer_rows

TRAINED = Plan(name="trained", num_trials=1, verdicts=["converged"], space={}, epochs=12)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = new_engine(tmp_path / "study.db")
    add_study(engine, TRAINED)
    return engine


def add_layers(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(schema.layer), layer_rows(1, 0, TRAINED.epochs))


def view_of(engine: Engine) -> TrialView:
    view = Reader(str(engine.url)).view(PageState(page="/trial", study="trained", number=0))
    assert isinstance(view, TrialView)
    return view


def test_the_table_of_the_lines_has_no_trials_also_where_a_layer_has_no_numbers(engine: Engine) -> None:
    add_layers(engine)
    with engine.begin() as connection:
        connection.execute(update(schema.layer).where(schema.layer.c.layer == 1).values(mean=None, norm=None))
    found = layers.rows(view_of(engine))
    assert not isinstance(found, Empty)

    lines = layers.draw(found)[0]

    assert {row[1] for row in list(figure_rows(lines))[1:]} == {""}
    assert lines.data[0].text[0].startswith("mean ") and lines.data[0].text[1].startswith(f"mean {MISSING}, norm ")


def test_where_nobody_asked_the_page_says_how_to(engine: Engine) -> None:
    found = layers.rows(view_of(engine))

    assert isinstance(found, Empty)
    assert "inspect: true" in found.text and "--inspect" in found.text


def test_lines_over_the_layers_are_those_of_the_first_and_last_epochs_and_of_some_between(engine: Engine) -> None:
    add_layers(engine)
    chosen, _ = layers.rows(view_of(engine))

    figure = layers.draw(layers.rows(view_of(engine)))[0]

    assert [what.label for what in chosen] == ["activations", "weights", "gradients", "dead"]
    names = [trace.name for trace in figure.data if trace.visible]
    assert names == ["before training", *(f"after {epoch} epochs" for epoch in (2, 5, 7, 10, 12))]
    assert figure.data[0].x.tolist() == [1, 2, 3, 4, 5]
    assert figure.data[0].y.tolist() == pytest.approx([3.0**layer for layer in range(NUM_LAYERS)])
    assert figure.layout.yaxis.type == "log"


def test_a_choice_shows_its_own_lines_and_names_its_axis(engine: Engine) -> None:
    add_layers(engine)
    figure = layers.draw(layers.rows(view_of(engine)))[0]

    shown = {}
    for step in figure.layout.sliders[0].steps:
        traces = [trace for trace, is_visible in zip(figure.data, step.args[0]["visible"], strict=True) if is_visible]
        shown[step.args[1]["yaxis.title.text"]] = (step.args[1]["yaxis.type"], traces[0].y[1])

    assert shown == {
        "spread of activations": ("log", pytest.approx(3.0)),
        "spread of weights": ("log", pytest.approx(0.9)),
        "spread of gradients": ("log", pytest.approx(1.5)),
        "dead channels, share": ("linear", pytest.approx(0.05)),
    }


def test_a_spread_that_is_no_number_breaks_the_line_and_no_axis(engine: Engine) -> None:
    add_layers(engine)
    with engine.begin() as connection:
        connection.execute(update(schema.layer).where(schema.layer.c.layer > 2).values(spread=None))

    figure = layers.draw(layers.rows(view_of(engine)))[0]

    assert np.isfinite(figure.data[0].y).tolist() == [True, True, True, False, False]


def test_maps_have_the_histogram_of_every_layer_and_a_gap_for_one_without(engine: Engine) -> None:
    add_layers(engine)
    frozen = (schema.layer.c.part == "gradients") & (schema.layer.c.layer == 0)
    with engine.begin() as connection:
        connection.execute(schema.layer.delete().where(frozen))

    _, *maps = layers.draw(layers.rows(view_of(engine)))

    assert len(maps) == 3
    weights, gradients = maps[1].data[-1], maps[2].data[-1]
    assert weights.visible and not maps[1].data[0].visible
    assert len(maps[1].layout.sliders[0].steps) == layers.MAX_MAPS
    assert weights.y.tolist() == pytest.approx([-3.8 + 0.4 * place for place in range(20)])
    np.testing.assert_allclose(weights.z.sum(0), 1, atol=0.02)
    assert np.isnan(gradients.z[:, 0]).all() and np.isfinite(gradients.z[:, 1:]).all()


def test_page_and_report_have_the_panel(engine: Engine, tmp_path: Path) -> None:
    add_layers(engine)

    page = write_report(engine, "trained", tmp_path / "report.html").read_text()
    live = drawn(Reader(str(engine.url)), PageState(page="/trial", study="trained", number=0))

    assert '<section id="layers"' in page
    assert "spread of gradients" in page and "spread of gradients" in live
    assert "cannot be drawn" not in live
