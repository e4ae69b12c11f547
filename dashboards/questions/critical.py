"""Which learning rate would have been too high, as trials tell that did not diverge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards.data.study import Parameter, StudyView
from dashboards.figures import theme
from evolve.formatting import counted, number

RATE = "lr0"


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalRate:
    """The learning rate from which on the first update at the full rate raises the loss of its own batch.

    Attributes:
        value: Median of the rate over the trials that measured it, as `lr0`; or what was measured before the first of
            them.
        lowest, highest: Lower and upper quartile of the rate over these trials; or, where it was measured before them,
            the lowest and the highest rate that was measured.
        num_trials: Number of trials that measured it; 0 where it was measured before the first of them.
    """

    value: float
    lowest: float
    highest: float
    num_trials: int

    @property
    def label(self) -> str:
        """Words that stand beside the line of the rate."""
        return f"critical rate {number(self.value)}"

    @property
    def sentence(self) -> str:
        """The same in words, with the spread over trials."""
        if not self.num_trials:
            return (
                f"Before the first trial short trainings put the critical rate at {RATE} {number(self.value)} "
                f"({number(self.lowest)} to {number(self.highest)}); the range lies around it."
            )
        trials = counted(self.num_trials, "trial")
        spread = f", half of them {number(self.lowest)} to {number(self.highest)}" if self.num_trials > 1 else ""
        return (
            f"Just after the warm-up, {RATE} {number(self.value)} would have made an update raise its own loss (median "
            f"of {trials}{spread})."
        )


def critical_rate(view: StudyView) -> CriticalRate | None:
    """The critical rate of a study that searches the learning rate; None where nothing measured it.

    It is what the range lies around, if it does, else what its trials measured. A ratio measured with one rate is taken
    to hold for others in proportion, as of plain gradient descent it does.
    """
    if RATE not in view.params:
        return None
    if (before := _measured_before(view.facts.config.get("space"))) is not None:
        return before
    if view.critical.empty:
        return None
    rows = view.critical[~view.critical["in_warmup"].astype(bool)]
    first = rows.sort_values("step").groupby(["number", "seed"])["critical_ratio"].first().groupby("number").median()
    rates = (first * view.params[RATE].reindex(first.index)).dropna()
    if rates.empty:
        return None
    lowest, value, highest = rates.quantile([0.25, 0.5, 0.75])
    return CriticalRate(value=float(value), lowest=float(lowest), highest=float(highest), num_trials=len(rates))


def _measured_before(space: object) -> CriticalRate | None:
    axis = space.get(RATE) if isinstance(space, Mapping) else None
    if not isinstance(axis, Mapping) or axis.get("edge") is None:
        return None
    edge = float(axis["edge"])
    measured = [float(rate) for rate in axis.get("measured") or (edge,)]
    return CriticalRate(value=edge, lowest=min(measured), highest=max(measured), num_trials=0)


def mark_critical(figure: go.Figure, found: CriticalRate | None, *, x: Parameter, y: Parameter | None = None) -> None:
    """A line at the critical rate, where the learning rate is on an axis of the figure."""
    for axis, parameter in (("x", x), ("y", y)):
        if found is not None and parameter is not None and parameter.name == RATE:
            theme.add_edge(
                figure,
                found.value,
                found.label,
                axis=axis,
                is_log=parameter.is_log,
                is_late=theme.is_in_later_half(parameter, found.value),
                is_foreseen=True,
            )
