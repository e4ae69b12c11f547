"""The panel of a population: parts by epoch, who went on from whom, and the line of the best."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dashboards.blocks import Table
from dashboards.data.lived import lived_in
from dashboards.panels import panels_of
from dashboards.questions import population


@pytest.fixture
def members(mixed):
    """Three generations of three members, the best of which is trial 8."""
    config = {**mixed.facts.config, "epochs": 6, "pbt": {"members": 3, "interval": 2}}
    trials = mixed.trials.copy()
    trials.loc[trials["number"] < 6, "verdict"] = "partial"
    trials.loc[trials["number"] == 2, "verdict"] = "diverged"
    return replace(
        mixed,
        facts=replace(mixed.facts, config=config),
        trials=trials,
        parents={3: 1, 4: 1, 5: 0, 7: 4, 8: 3},
    )


def test_a_study_of_a_population_has_its_panel_and_no_other_has(members, mixed):
    assert population.PANEL in panels_of("/study", members)
    assert population.PANEL not in panels_of("/study", mixed)


def test_parts_lie_where_they_were_trained_and_one_without_a_parent_begins_at_the_start(members):
    found = population.rows(members)

    assert [(part.begin, part.end, part.parent) for part in found.parts.values()] == [
        (0, 2, None),
        (0, 2, None),
        (0, 2, None),
        (2, 4, 1),
        (2, 4, 1),
        (2, 4, 0),
        (4, 6, 4),
        (4, 6, 3),
    ]
    assert found.best == (1, 3, 8)
    assert [axis.name for axis in found.axes] == ["lr0", "momentum", "box", "warmup_epochs"]


def test_lines_lead_through_each_part_from_the_value_of_its_parent(members):
    data = population.rows(members)
    value = {number: members.params["lr0"][number] for number in (1, 3, 8)}

    drawn = {trace.name: trace for trace in population.draw(data, data.axes[0]).data}

    best = drawn["best: trial 8"]
    assert list(best.x) == [0, 0, 2, None, 2, 2, 4, None, 4, 4, 6, None]
    first, second, third = value[1], value[3], value[8]
    assert list(best.y) == [first] * 3 + [None, first, second, second, None, second, third, third, None]
    assert list(drawn["lost"].x) == [2, 6]


def test_the_table_is_the_schedule_of_the_best_as_it_is_exported(members):
    (table,) = [block for block in population.PANEL.draw(members) if isinstance(block, Table)]
    through = lived_in(members, 8)

    assert [row[:2] for row in table.rows] == [(0, 1), (2, 3), (4, 8)]
    assert through.line == (1, 3, 8) and through.first == members.params_of(1)
    assert through.changes[4]["lr0"] == members.params["lr0"][8]
    assert lived_in(members, 0) is None
