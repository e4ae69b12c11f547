"""Parts of a gain as bars with intervals, one beneath the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import plotly.graph_objects as go

from dashboards.figures import theme

MAX_NAME = 28  # characters beside the plot, which has to fit on a telephone
GAIN, LOSS = "#009E73", "#D55E00"  # as verdicts of trials that mean the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A part of a gain.

    Attributes:
        name: Name that stands beside the bar.
        start: Where the bar begins, in units of the metric.
        length: Size of the part, in units of the metric; below 0 the bar goes back.
        low, high: Ends of the interval of the part; NaN where there is none.
        is_whole: Whether it is the whole gain rather than a part.
    """

    name: str
    start: float
    length: float
    low: float
    high: float
    is_whole: bool = False

    @property
    def color(self) -> str:
        """Colour of the whole gain, of a gain or a loss that its interval tells from none, or of what may be none."""
        if self.is_whole:
            return theme.ACCENT
        return GAIN if self.low > 0 else LOSS if self.high < 0 else theme.NEUTRAL


def gain_bars(bars: Sequence[Bar], *, metric: str) -> go.Figure:
    """The bars top to bottom, each with its interval at its end.

    Args:
        bars: Bars to draw, at least one.
        metric: Name of the metric that they are a gain in.
    """
    names = [theme.label(bar.name, most=MAX_NAME) for bar in bars]
    places = list(range(len(bars)))
    figure = theme.new_figure(height=110 + 36 * len(bars), x=f"gain in {metric} over the baseline", y="")
    theme.add_mark(figure, 0)
    reaches = [bar.high - bar.length for bar in bars]
    figure.add_bar(
        x=[bar.length for bar in bars],
        base=[bar.start for bar in bars],
        y=places,
        orientation="h",
        marker={"color": [bar.color for bar in bars]},
        error_x={
            "type": "data",
            "array": [reach if isfinite(reach) else 0 for reach in reaches],
            "color": theme.NEUTRAL,
            "width": 5,
        },
        hovertext=[_hover(bar) for bar in bars],
        hoverinfo="text",
    )
    figure.update_layout(
        showlegend=False,
        yaxis={"tickvals": places, "ticktext": names, "range": [len(bars) - 0.5, -0.5], "showgrid": False},
        xaxis={"tickformat": "+.3~f"},
        bargap=0.35,
    )
    return figure


def _hover(bar: Bar) -> str:
    return f"<b>{theme.label(bar.name)}</b><br>{bar.length:+.4f}, {bar.low:+.4f} to {bar.high:+.4f}"
