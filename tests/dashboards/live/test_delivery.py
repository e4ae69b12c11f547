"""What is shown, as CSV."""

from __future__ import annotations

import csv
import io
from math import nan
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from dashboards.blocks import Column, Prose, Table
from dashboards.data.reader import MAX_POINTS, Reader
from dashboards.live.app import make_app
from dashboards.live.delivery import as_csv
from dashboards.panels import STUDY
from dashboards.state import PageState
from tests.dashboards.examples import NAME
from tests.synthetic import Plan, add_study, new_engine


def test_a_csv_cell_is_never_a_formula() -> None:
    table = Table(name="t", columns=(Column(title="=a"),), rows=(("=HYPERLINK(1)",), ("-1",), ("x",), (nan,), (-2.5,)))

    rows = list(csv.reader(io.StringIO(as_csv(table))))

    assert [row[0] for row in rows] == ["'=a", "'=HYPERLINK(1)", "'-1", "x", "", "-2.5"]


def test_csv_has_every_trial_where_the_picture_draws_a_choice_and_says_so(tmp_path: Path) -> None:
    engine = new_engine(tmp_path / "large.db")
    add_study(engine, Plan(num_trials=MAX_POINTS + 40, epochs=1, log_steps=False))
    url = f"sqlite:///{tmp_path / 'large.db'}"
    panel = next(each for each in STUDY if each.key == "history")

    figure, note = panel.draw(Reader(url).view(PageState(page="/study", study=NAME)))
    rows = make_app(url).server.test_client().get(f"/data/study/history/0.csv?study={NAME}").text.splitlines()

    assert isinstance(note, Prose) and f"of {MAX_POINTS + 40:,} trials are drawn" in note.text
    drawn = sum(len(trace.customdata) for trace in figure.data if trace.customdata is not None)
    assert drawn <= MAX_POINTS + 100
    assert len({row.split(",")[1] for row in rows[1:]} - {""}) == MAX_POINTS + 40


@pytest.mark.parametrize("key", [panel.key for panel in STUDY])
def test_every_picture_and_table_of_a_study_is_to_be_had_as_csv(client: Any, reader: Reader, key: str) -> None:
    panel = next(each for each in STUDY if each.key == key)
    blocks = panel.draw(reader.view(PageState(page="/study", study=NAME)))
    for index, block in enumerate(blocks):
        answer = client.get(f"/data/study/{key}/{index}.csv", query_string={"study": NAME})

        assert answer.status_code == (200 if isinstance(block, go.Figure | Table) else 404)
        if answer.status_code == 200:
            rows = list(csv.reader(io.StringIO(answer.text)))
            assert len(rows) > 1
            assert {len(row) for row in rows} == {len(rows[0])}
