"""Which trial each point of a figure is of, and how a selection of trials shows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray


def mark_selected(figure: go.Figure, numbers: Collection[int]) -> go.Figure:
    """A copy in which the points of other trials are faint; without a selection the figure itself.

    Args:
        figure: A figure whose traces have the trial number of each point in `customdata`.
        numbers: Numbers of the selected trials; empty where none is selected.
    """
    if not numbers:
        return figure
    copied = go.Figure(figure)
    for trace in copied.data:
        own = trial_numbers(trace)
        if own is not None and "markers" in (trace.mode or ""):
            trace.selectedpoints = np.flatnonzero(np.isin(own, list(numbers))).tolist()
    return copied


def trial_numbers(trace: Any) -> np.ndarray[Any, Any] | None:
    """The trial of each point, or None for a trace that is not about trials."""
    data = getattr(trace, "customdata", None)
    if data is None:
        return None
    values = np.asarray(data)
    return values[:, 0] if values.ndim == 2 else values


def hidden_values(values: NDArray[np.float64], is_hidden: NDArray[np.bool_]) -> list[list[float]] | None:
    """Index and value of each point that an axis has no place for, as `meta` of a trace, where `figure_rows` looks."""
    places = np.flatnonzero(is_hidden)
    return [[int(place), float(values[place])] for place in places] or None


def figure_rows(figure: go.Figure) -> Iterator[tuple[object, ...]]:
    """What a figure shows as rows for a table: a heading, then one row a point with its curve, trial, x, y and z.

    A value that a logarithmic axis leaves out is among them; a height in a strip of verdicts is no measurement
    and is left out.
    """
    known = ("curve", "trial", "value")
    titles = [f"{title}, {name}" if title in known else title for title, name in _axis_titles(figure)]
    yield ("curve", "trial", *titles, "value")
    for index, trace in enumerate(figure.data):
        if trace.type in ("contour", "heatmap"):
            yield from _grid_rows(trace)
        elif trace.x is not None and trace.y is not None and not _is_legend_only(trace):
            is_strip = bool(figure.layout.yaxis.title.text) and not _axis_title(figure, trace)
            yield from _trace_rows(trace, trace.name or f"curve {index + 1}", is_strip=is_strip)


def _axis_titles(figure: go.Figure) -> tuple[tuple[str, str], tuple[str, str]]:
    x, y = (figure.layout[name].title.text for name in ("xaxis", "yaxis"))
    # Several measurements above each other are told apart by their curves.
    is_one = len({_axis_title(figure, trace) for trace in figure.data} - {""}) <= 1
    return (x or "x", "x"), (y if y and is_one else "y", "y")


def _axis_title(figure: go.Figure, trace: Any) -> str:
    name = getattr(trace, "yaxis", None) or "y"
    return str(figure.layout[f"yaxis{name[1:]}"].title.text or "")


def _is_legend_only(trace: Any) -> bool:
    return len(trace.x) == 1 and trace.x[0] is None


def _trace_rows(trace: Any, name: str, *, is_strip: bool) -> Iterator[tuple[object, ...]]:
    numbers = trial_numbers(trace)
    colors = trace.marker.color if trace.marker is not None else None
    values = colors if isinstance(colors, np.ndarray | list | tuple) else None
    hidden = dict(trace.meta or ())
    for index, (x, drawn) in enumerate(zip(trace.x, trace.y, strict=False)):
        y = hidden.get(index, drawn)
        if not _is_gap(x):
            number = "" if numbers is None else int(numbers[index])
            yield (name, number, x, "" if is_strip else y, "" if values is None else values[index])


def _grid_rows(trace: Any) -> Iterator[tuple[object, ...]]:
    for y, row in zip(trace.y, trace.z, strict=True):
        for x, z in zip(trace.x, row, strict=True):
            if not _is_gap(z):
                yield (trace.name or "map", "", x, y, z)


def _is_gap(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)
