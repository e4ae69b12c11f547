"""When did each trial run?"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from math import isfinite

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from dashboards.blocks import Empty
from dashboards.data.shown import drawn_trials, none_started
from dashboards.data.study import StudyView
from dashboards.data.trial_sets import started
from dashboards.figures import theme
from dashboards.figures.downsampling import joined
from dashboards.questions.panel import Panel
from evolve import formatting

# Heights in pixels: of a trial's own row, of one with its number, of a row that trials share, of all rows together.
MAX_ROWS, ROW_PIXELS, NUMBERED_PIXELS, PLACE_PIXELS, MAX_HEIGHT = 60, 8, 16, 26, 520
UNITS = ((2 * 86400.0, 86400.0, "days"), (2 * 3600.0, 3600.0, "hours"), (120.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """When each trial trained.

    Attributes:
        rows: Trials, with the columns number, verdict, start and end in seconds since the study's first trial, and
            place: counted from 1, the first that was free when the trial started, so that trials which ran at once
            stand beneath each other.
        first: When the study's first trial started, in seconds since 1970.
    """

    rows: pd.DataFrame
    first: float


def rows(view: StudyView) -> Timeline | Empty:
    """Start and end of each trial that has started."""
    trials = started(view.trials)
    known = trials[trials["started"].map(isfinite).astype(bool)]
    if known.empty:
        return (
            none_started(view)
            if trials.empty
            else Empty("No times are stored; trials of other programs have none here.")
        )
    first = float(view.trials["started"].min())
    now = float(np.nanmax(view.trials[["started", "ended"]].to_numpy()))
    # A trial that still runs reaches to the last thing that is known.
    rows = known[["number", "verdict"]].assign(
        start=known["started"] - first, end=known["ended"].fillna(now).clip(lower=known["started"]) - first
    )
    rows = rows.assign(place=_free_places(rows["start"].to_numpy(), rows["end"].to_numpy()))
    is_drawn = rows["number"].isin(drawn_trials(view)["number"])
    return Timeline(rows=rows[is_drawn].reset_index(drop=True), first=first)


def _free_places(starts: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.intp]:
    places = np.zeros(len(starts), dtype=np.intp)
    free: list[int] = []
    taken: list[tuple[float, int]] = []
    for index in np.argsort(starts, kind="stable"):
        while taken and taken[0][0] <= starts[index]:
            heappush(free, heappop(taken)[1])
        place = heappop(free) if free else len(taken) + 1
        heappush(taken, (float(ends[index]), place))
        places[index] = place
    return places


def draw(data: Timeline) -> go.Figure:
    """A bar from start to end for each trial, in the colour of its verdict.

    Few trials have a row each; many would be a thread, and share the rows of those that ran at once.
    """
    longest = float(data.rows["end"].max())
    _, unit, name = next(found for found in UNITS if longest >= found[0])
    has_own_rows = len(data.rows) <= MAX_ROWS
    column, title = ("number", "trial") if has_own_rows else ("place", "trials at once")
    last = float(data.rows[column].max())
    axis = theme.integer_axis(last)
    if not has_own_rows:
        num_rows, row_pixels = int(last), min(PLACE_PIXELS, MAX_HEIGHT / last)
    elif "dtick" in axis:  # each number is written, that of a trial which is not drawn as well
        num_rows, row_pixels = int(last - data.rows[column].min() + 1), NUMBERED_PIXELS
    else:
        num_rows, row_pixels = len(data.rows), ROW_PIXELS
    height = int(min(max(130 + row_pixels * num_rows, 190), 130 + MAX_HEIGHT))
    since = f"{name} since {formatting.moment(data.first)}"
    figure = theme.new_figure(height=height, x=since, y=title, showlegend=True)
    width = round(0.7 * row_pixels, 1)
    # A bar is as long as can be seen, but never so long that it hides the trial after it.
    least = longest / 400 if has_own_rows else 0.0
    for verdict, part in theme.by_verdict(data.rows):
        curves = [
            (np.asarray([start, max(end, start + least)]) / unit, np.asarray([row, row], dtype=float))
            for row, start, end in part[[column, "start", "end"]].itertuples(index=False)
        ]
        x, y, owners = joined(curves)
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines+markers",
            line={"color": theme.style(verdict).color, "width": width},
            marker={"size": width if has_own_rows else 2, "color": theme.style(verdict).color, "symbol": "square"},
            name=verdict,
            customdata=part["number"].to_numpy()[owners],
            text=[formatting.duration(float(seconds)) for seconds in (part["end"] - part["start"]).to_numpy()[owners]],
            hovertemplate=f"{theme.trial_title('%{customdata}', verdict)}<br>%{{text}}<extra></extra>",
            connectgaps=False,
        )
    rows_axis = {"autorange": "reversed"} if has_own_rows else {"range": [last + 0.6, 0.4], "showgrid": False}
    figure.update_layout(yaxis=axis | rows_axis)
    return figure


PANEL = Panel(
    key="timeline",
    title="When did each trial run?",
    caption="From the first step to the last thing known of a trial.",
    rows=rows,
    blocks=draw,
    has_points=True,
)
