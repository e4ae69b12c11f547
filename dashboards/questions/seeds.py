"""Is the best trial better than the next?"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np
import plotly.graph_objects as go

from dashboards.blocks import Empty
from dashboards.data.measured import NUM_SEEDED_TRIALS
from dashboards.data.shown import none_finished, none_read
from dashboards.data.study import StudyView
from dashboards.data.trial_sets import best_numbers, finished
from dashboards.figures import theme
from dashboards.questions.panel import Panel
from evolve import analysis, formatting
from evolve.analysis import Interval

READ = f"Seeds are read for the {NUM_SEEDED_TRIALS} best trials"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSpread:
    """The best trials with the fitness of each seed, best first."""

    numbers: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]
    intervals: tuple[Interval, ...]


def rows(view: StudyView) -> SeedSpread | Empty:
    """Fitness of each seed of the best trials, with intervals."""
    rows = view.seed_results[view.seed_results["split"] == "val"]
    known = set(rows["number"])
    numbers = [number for number in best_numbers(view.trials, len(view.trials)) if number in known]
    values = [tuple(float(fitness) for fitness in rows[rows["number"] == trial]["fitness"]) for trial in numbers]
    if not values and not view.left_out.empty:
        return none_finished(view, "") if finished(view.trials).empty else Empty(none_read(view, READ))
    if max((len(spread) for spread in values), default=0) < 2:
        return Empty(
            "Each trial ran with one seed, so luck and skill cannot be told apart. "
            "Name three or more under `seeds` in the study's file to see how far the best trials overlap."
        )
    return SeedSpread(
        numbers=tuple(numbers),
        values=tuple(values),
        intervals=tuple(analysis.mean_interval(spread) for spread in values),
    )


def draw(data: SeedSpread) -> go.Figure:
    """Fitness of each seed of the best trials, and their means with 95 % intervals."""
    names = [f"trial {number}" for number in data.numbers]
    figure = theme.new_figure(height=110 + 28 * len(names), x="fitness", y="", showlegend=True)
    figure.add_scatter(
        x=[value for values in data.values for value in values],
        y=[name for name, values in zip(names, data.values, strict=True) for _ in values],
        mode="markers",
        marker={"color": theme.NEUTRAL, "symbol": "line-ns-open", "size": 11, "line": {"width": 2}},
        name="one seed",
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    means = [interval.mean for interval in data.intervals]
    reach = [interval.high - interval.mean for interval in data.intervals]
    figure.add_scatter(
        x=means,
        y=names,
        mode="markers",
        marker={"color": theme.ACCENT, "size": 9},
        error_x={"type": "data", "array": np.nan_to_num(reach), "color": theme.ACCENT, "thickness": 1.5, "width": 5},
        name="mean, 95 % interval" if any(isfinite(half) for half in reach) else "mean",
        hovertext=[_interval_text(name, mean, half) for name, mean, half in zip(names, means, reach, strict=True)],
        hoverinfo="text",
    )
    figure.update_layout(yaxis={"type": "category", "autorange": "reversed"})
    return figure


def _interval_text(name: str, mean: float, reach: float) -> str:
    return f"{name}: {formatting.score(mean)}" + (f" ± {formatting.score(reach)}" if isfinite(reach) else "")


PANEL = Panel(
    key="seeds",
    title="Is the best trial better than the next?",
    caption="The best trials with each of their seeds. Where intervals overlap widely, the order may be luck.",
    rows=rows,
    blocks=draw,
)
