"""Which values did the members of a population live through?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards.blocks import Column, Empty, Table
from dashboards.data.lived import plan_in
from dashboards.data.shown import none_started
from dashboards.data.study import Parameter, StudyView
from dashboards.data.trial_sets import started
from dashboards.figures import theme
from dashboards.questions.panel import Block, Panel
from evolve.study.population import lineage

_LOST = ("diverged", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A trial of a population: a training through a few epochs under values that do not change.

    Attributes:
        number, verdict: Number of the trial within its study, and what became of it.
        begin, end: Epochs that were over when it began and when it ended.
        parent: Number of the trial whose weights it went on from; None where it began from the start.
        values: Hyperparameters of the trial that have a value, by name.
    """

    number: int
    verdict: str
    begin: int
    end: int
    parent: int | None
    values: Mapping[str, float | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """A population as it is now.

    Attributes:
        parts: Trials of the population that have started, by number.
        axes: Hyperparameters that are searched and are numbers.
        best: Numbers of the trials whose epochs the best weights went through, in their order; none where none is the
            best yet.
    """

    parts: Mapping[int, Part]
    axes: tuple[Parameter, ...]
    best: tuple[int, ...]


def rows(view: StudyView) -> Population | Empty:
    """Every trial that has started with its epochs, and the line of the best."""
    plan, trials = plan_in(view), started(view.trials)
    if plan is None or trials.empty:
        return none_started(view)
    parts: dict[int, Part] = {}
    for number, verdict in trials[["number", "verdict"]].itertuples(index=False):
        parent = view.parents.get(int(number))
        begin = 0 if parent is None else plan.end_of(parent)
        values = view.params_of(int(number))
        parts[int(number)] = Part(
            number=int(number), verdict=verdict, begin=begin, end=plan.end_of(number), parent=parent, values=values
        )
    best = () if view.best is None else lineage(dict(view.parents), int(view.best["number"]))
    axes = tuple(axis for axis in view.space if not axis.is_categorical)
    return Population(parts=parts, axes=axes, best=tuple(number for number in best if number in parts))


def draw(data: Population, axis: Parameter) -> go.Figure:
    """A hyperparameter by epoch: a line through each trial, which leads there from the one it went on from."""
    figure = theme.new_figure(height=230, x="epochs", y=axis.name, showlegend=True)
    if axis.is_log:
        values = [float(part.values[axis.name]) for part in data.parts.values() if axis.name in part.values]
        figure.update_layout(yaxis=theme.log_axis_over(values) | {"title": {"text": theme.label(axis.name)}})
    all_parts = list(data.parts.values())
    _add_lines(figure, data, all_parts, axis, name="members", color=theme.NEUTRAL, width=1.0)
    best = [data.parts[number] for number in data.best]
    if best:
        _add_lines(figure, data, best, axis, name=f"best: trial {best[-1].number}", color=theme.ACCENT, width=2.5)
    lost = [part for part in all_parts if part.verdict in _LOST and axis.name in part.values]
    if lost:
        figure.add_scatter(
            x=[part.end for part in lost],
            y=[part.values[axis.name] for part in lost],
            mode="markers",
            marker=theme.marker("diverged", len(lost)),
            name="lost",
            hovertext=[f"trial {part.number} {part.verdict}" for part in lost],
            hoverinfo="text",
        )
    return figure


def _add_lines(
    figure: go.Figure, data: Population, parts: Sequence[Part], axis: Parameter, *, name: str, color: str, width: float
) -> None:
    x: list[int | None] = []
    y: list[float | str | None] = []
    texts: list[str] = []
    for part in parts:
        if (value := part.values.get(axis.name)) is None:
            continue
        before = None if part.parent is None else data.parts.get(part.parent)
        start = value if before is None else before.values.get(axis.name, value)
        x += [part.begin, part.begin, part.end, None]
        y += [start, value, value, None]
        texts += [f"trial {part.number}" if before is None else f"trial {part.number}, on from {before.number}"] * 4
    figure.add_scatter(
        x=x, y=y, mode="lines", line={"color": color, "width": width}, name=name, hovertext=texts, hoverinfo="text+y"
    )


def _table(data: Population) -> Table:
    """The line of the best, a row a trial."""
    names = list(data.parts[data.best[0]].values)
    columns = (
        Column(title="from epoch", kind="number", digits=0),
        Column(title="trial", kind="number", digits=0),
        *(Column(title=name, kind="number") for name in names),
    )
    lived = [data.parts[number] for number in data.best]
    return Table(
        name="lived",
        columns=columns,
        rows=tuple((part.begin, part.number, *(part.values[name] for name in names)) for part in lived),
    )


def _blocks(data: Population) -> tuple[Block, ...]:
    figures = tuple(draw(data, axis) for axis in data.axes)
    return (*figures, _table(data)) if data.best else figures


PANEL = Panel(
    key="population",
    title="Which values did the members live through?",
    caption="Each level line is a trial: a member through the epochs between two exchanges. An upright line leads from "
    "the trial that it went on from; where values changed, it had copied a stronger member. In colour the line of the "
    "best weights, whose values are in the table and in hyp.yaml, below from_epoch.",
    rows=rows,
    blocks=_blocks,
)
