"""What all figures share: a colour and a symbol for each verdict, safe text, axes, hover.

Colours are those of Okabe and Ito (2008), which stay apart for all common kinds of colour blindness, and legible on
white and on near-black; figures leave ink and background to the page's template.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from dashboards.data.study import Parameter
from dashboards.data.trial_sets import VERDICTS
from evolve import formatting

ACCENT = "#0072B2"  # the best trial, everywhere
NEUTRAL = "#8A8F98"
CARDS = {"light": "#FFFFFF", "dark": "#1B1E24"}  # what figures stand on
# What is too faint on a dark card: the same hue, lighter, and still no other colour of a figure.
ON_DARK = {ACCENT: "#8AA8FF", "#D55E00": "#E8701A", "#8C6D31": "#C9A45C"}
MAX_LABEL, MAX_TICK = 80, 18  # characters
MAX_HOVER = 6  # hyperparameters in a hover text, which has to fit beside its point
SCALE = "Viridis"
STRIP_ROW_PIXELS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictStyle:
    """How a verdict looks: a colour, Plotly's symbol, and the character that looks like it in text."""

    color: str
    symbol: str
    character: str


VERDICT_STYLES = {
    "converged": VerdictStyle(color="#009E73", symbol="circle", character="●"),
    "undertrained": VerdictStyle(color="#56B4E9", symbol="triangle-up", character="▲"),
    "worsened": VerdictStyle(color="#8C6D31", symbol="triangle-down", character="▼"),
    "partial": VerdictStyle(color="#6F8F72", symbol="triangle-right", character="▶"),
    "diverged": VerdictStyle(color="#D55E00", symbol="x", character="✖"),
    "doomed": VerdictStyle(color="#A594E0", symbol="cross", character="✚"),
    "pruned": VerdictStyle(color="#CC79A7", symbol="square", character="■"),
    "failed": VerdictStyle(color="#E69F00", symbol="diamond", character="◆"),
    "paused": VerdictStyle(color=NEUTRAL, symbol="diamond-open", character="◇"),
    "running": VerdictStyle(color=NEUTRAL, symbol="circle-open", character="○"),
    "interrupted": VerdictStyle(color=NEUTRAL, symbol="triangle-left-open", character="◁"),
    "waiting": VerdictStyle(color=NEUTRAL, symbol="square-open", character="□"),
    "unjudged": VerdictStyle(color=NEUTRAL, symbol="star", character="★"),
}


def style(verdict: str) -> VerdictStyle:
    """The look of a verdict; a verdict of a later version looks unjudged."""
    return VERDICT_STYLES.get(verdict, VERDICT_STYLES["unjudged"])


def recoloured(content: Any) -> Any:
    """A figure as plain data with the colours of a dark page in place of those that are too faint there.

    Long lists of numbers and texts are left as they are; a list of colours, one for each point, is not looked into.
    """
    if isinstance(content, dict):
        return {key: recoloured(value) for key, value in content.items()}
    if isinstance(content, list | tuple) and content and isinstance(content[0], dict):
        return [recoloured(item) for item in content]
    return ON_DARK.get(content, content) if isinstance(content, str) else content


def by_verdict(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Rows of each verdict that occurs, in the order of `VERDICTS`, others last."""
    present = set(rows["verdict"])
    ordered = [verdict for verdict in VERDICTS if verdict in present] + sorted(present - set(VERDICTS))
    return [(verdict, rows[rows["verdict"] == verdict]) for verdict in ordered]


def label(text: object, *, most: int = MAX_LABEL) -> str:
    """Text that Plotly shows as it is, cut to `most` characters: it reads some HTML, entities, %{...} and $...$."""
    flat = re.sub(r"\s+", " ", str(text)).strip()
    short = flat if len(flat) <= most else flat[: most - 1] + "…"
    return html.escape(short, quote=False).replace("%{", "%&#123;").replace("$", "&#36;")


def hover_texts(rows: pd.DataFrame, params: pd.DataFrame) -> list[str]:
    """Trial, verdict, fitness and hyperparameters of each row, one line each.

    Args:
        rows: Trials, with the columns number, verdict and fitness.
        params: Hyperparameters by number of the trial, one column each.
    """
    names = list(params.columns)[:MAX_HOVER]
    labels = [f"<br>{label(name)} " for name in names]
    more = f"<br>and {len(params.columns) - len(names)} more" if len(params.columns) > len(names) else ""
    settings = {
        number: "".join(
            f"{title}{_hover_value(value)}" for title, value in zip(labels, row, strict=True) if value == value
        )
        + more
        for number, *row in params[names].astype(object).itertuples(name=None)
    }
    return [
        f"{trial_title(number, verdict)}<br>fitness {formatting.score(fitness)}{settings.get(number, '')}"
        for number, verdict, fitness in rows[["number", "verdict", "fitness"]].itertuples(index=False)
    ]


def _hover_value(value: object) -> str:
    # Numbers need no escape, and there are thousands of them.
    return formatting.number(value) if isinstance(value, float) else label(value)


def trial_title(number: int | str, verdict: str) -> str:
    """First line of a hover text."""
    return f"<b>trial {number}</b> {label(verdict)}"


def new_figure(*, height: int, x: str, y: str, **layout: Any) -> go.Figure:
    """An empty figure with axis titles; `height` in pixels, width as its place allows."""
    figure = go.Figure(layout={"template": "none"})
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 12, "t": 12, "b": 8},
        hovermode="closest",
        showlegend=False,
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        xaxis={"title": {"text": label(x)}, "automargin": True, "zeroline": False},
        yaxis={"title": {"text": label(y)}, "automargin": True, "zeroline": False},
    )
    figure.update_layout(**layout)
    return figure


def marker(verdict: str, count: int) -> dict[str, Any]:
    """Marker of a verdict, smaller and fainter where there are many."""
    look = style(verdict)
    size, opacity = (9, 0.9) if count <= 100 else (7, 0.75) if count <= 400 else (5.5, 0.6)
    return {"color": look.color, "symbol": look.symbol, "size": size, "opacity": opacity, "line": {"width": 0}}


def add_strip(figure: go.Figure, verdicts: Sequence[str], *, is_alone: bool) -> dict[str, int]:
    """A strip of rows beneath the plot for trials without a fitness; returns the height of each verdict's row.

    The plot gives up room for it, the x axis moves beneath it. A strip that is alone takes the whole figure, which
    becomes as low as its rows are.
    """
    if not verdicts:
        return {}
    if is_alone:
        figure.update_layout(height=110 + STRIP_ROW_PIXELS * len(verdicts), yaxis={"visible": False})
    room = 0.97 if is_alone else min(STRIP_ROW_PIXELS * len(verdicts) / (figure.layout.height - 90), 0.4)
    rows = {verdict: len(verdicts) - 1 - index for index, verdict in enumerate(verdicts)}
    figure.update_layout(
        yaxis={"domain": [room + 0.03, 1]},
        yaxis2={
            "domain": [0, room],
            "range": [-0.6, len(verdicts) - 0.4],
            "tickvals": list(rows.values()),
            "ticktext": list(rows),
            "fixedrange": True,
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        },
        xaxis={"anchor": "y2"},
    )
    return rows


def axis_layout(parameter: Parameter, values: Iterable[float]) -> dict[str, Any]:
    """Plotly's settings for an axis over a hyperparameter: logarithmic where the space is, choices by name.

    Args:
        parameter: Hyperparameter on the axis; all of its range is shown.
        values: Values of the trials; one outside the range, asked for by hand, is shown as well.
    """
    if parameter.is_categorical:
        return {
            "tickvals": list(range(len(parameter.choices))),
            "ticktext": [label(choice, most=MAX_TICK) for choice in parameter.choices],
            "range": [-0.5, len(parameter.choices) - 0.5],
        }
    ends = (parameter.low, parameter.high) if parameter.has_range else ()
    shown = [value for value in (*values, *ends) if isfinite(value) and (value > 0 or not parameter.is_log)]
    if not shown:
        return {}
    low, high = min(shown), max(shown)
    layout = log_axis(low, high) if parameter.is_log else {}
    if parameter.is_log:
        low, high = log10(low), log10(high)
    margin = 0.04 * (high - low) or 0.5
    return layout | {"range": [low - margin, high + margin]}


def score_range(values: Iterable[float]) -> list[float] | None:
    """Range of an axis that shows all finite values with a little room, also where they are all equal."""
    shown = [value for value in values if isfinite(value)]
    if not shown:
        return None
    margin = 0.07 * (max(shown) - min(shown)) or 0.05
    return [min(shown) - margin, max(shown) + margin]


def log_axis(low: float, high: float, *, most: int = 7) -> dict[str, Any]:
    """Plotly's settings for a logarithmic axis with round numbers written out.

    Args:
        low, high: Smallest and largest number shown, above 0.
        most: Number of labels that there is room for.
    """
    first, last = floor(log10(low)), ceil(log10(high))
    if last - first <= 2:
        ticks = [mantissa * 10.0**power for power in range(first, last + 1) for mantissa in (1, 2, 5)]
    else:
        stride = ceil((last - first + 1) / most)
        ticks = [10.0**power for power in range(first, last + 1, stride)]
    return {"type": "log", "tickvals": ticks, "ticktext": [formatting.number(tick) for tick in ticks]}


def log_axis_over(values: Iterable[float], *, most: int = 7) -> dict[str, Any]:
    """The same for measurements; a linear axis where they are so close that no two round numbers lie between them."""
    positive = [value for value in values if isfinite(value) and value > 0]
    if not positive:
        return {}
    low, high = min(positive), max(positive)
    axis = log_axis(low, high, most=most)
    return axis if sum(low <= tick <= high for tick in axis["tickvals"]) >= 2 else {}


def positions(parameter: Parameter, values: Iterable[Any], numbers: Iterable[int]) -> list[float]:
    """Where the values stand on the axis; choices are spread a little so that trials do not hide each other."""
    if not parameter.is_categorical:
        return [float(value) for value in values]
    places = {choice: place for place, choice in enumerate(parameter.choices)}
    # The golden ratio spreads consecutive trials evenly, and the same way on every page.
    return [
        places[str(value)] + 0.5 * ((number * 0.6180339887) % 1 - 0.5)
        for value, number in zip(values, numbers, strict=True)
    ]


def is_in_later_half(parameter: Parameter, value: float) -> bool:
    """Whether a value lies beyond the middle of the range that was searched, as its axis shows it."""
    if not parameter.has_range:
        return False
    if parameter.is_log:
        return value * value > parameter.low * parameter.high
    return 2 * value > parameter.low + parameter.high


def mark_range(figure: go.Figure, parameter: Parameter) -> None:
    """Dotted lines at the ends of the range that was searched."""
    if parameter.is_categorical or not parameter.has_range:
        return
    for end in (parameter.low, parameter.high):
        if end > 0 or not parameter.is_log:
            add_mark(figure, end)


def add_mark(figure: go.Figure, at: float) -> None:
    """A dotted line from the top of the figure to its x axis."""
    line = {"color": NEUTRAL, "width": 1, "dash": "dot"}
    figure.add_shape(type="line", x0=at, x1=at, xref="x", y0=0, y1=1, yref="paper", line=line, layer="below")


def add_edge(
    figure: go.Figure, at: float, text: str, *, axis: str = "x", is_log: bool, is_late: bool, is_foreseen: bool = False
) -> None:
    """A dashed line across the plot where trials begin to diverge, with words beside it.

    Args:
        figure: Figure with one plot; a strip beneath it is crossed as well.
        at: Value on the axis.
        text: Words beside the line, as short as the axis has room for.
        axis: Which axis the value is on, x or y.
        is_log: Whether that axis is logarithmic.
        is_late: Whether the value is nearer to the end of the axis, so that the words stand before it.
        is_foreseen: Whether it was told by trials that did not diverge: a dotted line, with its words a line lower.
    """
    across = "y" if axis == "x" else "x"
    line = {"color": style("diverged").color, "width": 1.5, "dash": "dot" if is_foreseen else "dash"}
    ends = {f"{axis}0": at, f"{axis}1": at, f"{axis}ref": axis, f"{across}0": 0, f"{across}1": 1}
    figure.add_shape(type="line", **ends, **{f"{across}ref": "paper"}, line=line)
    # Unlike shapes, annotations take the logarithm on a logarithmic axis.
    place = {axis: log10(at) if is_log else at, f"{axis}ref": axis, f"{across}ref": "paper", "showarrow": False}
    if axis == "x":
        side, shift = ("right", -4) if is_late else ("left", 4)
        place |= {"y": 1, "yanchor": "top", "xanchor": side, "xshift": shift, "yshift": -18 if is_foreseen else 0}
    else:
        place |= {"x": 0, "xanchor": "left", "xshift": 4, "yanchor": "top" if is_late else "bottom"}
    figure.add_annotation(text=label(text), font={"size": 11.5, "color": style("diverged").color}, **place)


def integer_axis(largest: float) -> dict[str, Any]:
    """Plotly's settings for an axis that counts: no fractions, however few there are."""
    return {"tickformat": ",d"} | ({"dtick": 1} if largest <= 12 else {})


def verdict_css() -> str:
    """Style of the verdicts' symbols in text."""
    light = [
        f'.verdict-{name}::before {{ content: "{look.character}"; color: {look.color}; }}'
        for name, look in VERDICT_STYLES.items()
    ]
    dark = [
        f':root[data-ag-theme-mode="dark"] .verdict-{name}::before {{ color: {ON_DARK[look.color]}; }}'
        for name, look in VERDICT_STYLES.items()
        if look.color in ON_DARK
    ]
    return "\n".join(light + dark)


def template(*, is_dark: bool) -> dict[str, Any]:
    """Ink, grid and background of a light or dark page, as the layout of a Plotly template."""
    ink, grid = ("#D6D9DE", "#2E333B") if is_dark else ("#2B2F36", "#E7E9ED")
    paper = CARDS["dark" if is_dark else "light"]
    axis = {
        "gridcolor": grid,
        "linecolor": grid,
        "zerolinecolor": grid,
        "ticks": "outside",
        "tickcolor": grid,
        "ticklen": 4,
        "tickfont": {"size": 12},
        "title": {"font": {"size": 12.5}, "standoff": 8},
    }
    return {
        "layout": {
            "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": ink},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hoverlabel": {
                "bgcolor": paper,
                "bordercolor": NEUTRAL,
                "align": "left",
                "font": {"color": ink, "size": 12.5},
            },
            "xaxis": axis,
            "yaxis": axis,
            "legend": {"font": {"size": 12.5}, "bgcolor": "rgba(0,0,0,0)"},
            # Words within a plot stay legible on what is drawn beneath them.
            "annotationdefaults": {"bgcolor": f"{paper}D0", "borderpad": 1},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": NEUTRAL, "activecolor": ACCENT},
        }
    }
