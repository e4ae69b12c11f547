"""What a data set holds: classes, sizes of boxes and of images, boxes of an image; figures of an audit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import plotly.graph_objects as go

from dashboards.figures import theme
from dashboards.figures.series import curve_style
from detector.audited import Audited
from evolve.formatting import counted, number

MOST_CLASSES = 40  # bars; the rarest are left out
MOST_CURVES = 8  # classes whose sizes are told apart
_BINS = 24
_FINEST_CELL = 8  # px


def class_figure(found: Audited) -> go.Figure:
    """Boxes by class, a bar for each split, the most frequent class on top."""
    splits = found.summary["splits"]
    totals: dict[str, int] = {}
    for facts in splits.values():
        for name, count in facts["boxes_by_class"].items():
            totals[name] = totals.get(name, 0) + count
    names = sorted(totals, key=lambda name: -totals[name])[:MOST_CLASSES]
    shown = [theme.label(name, most=theme.MAX_TICK) for name in names]
    # Places by number, since two classes may be cut to the same name.
    places = list(range(len(names)))
    figure = theme.new_figure(height=max(300, 110 + 24 * len(names)), x="boxes", y="", showlegend=True)
    for slot, (split, facts) in enumerate(splits.items()):
        figure.add_bar(
            y=places,
            x=[facts["boxes_by_class"].get(name, 0) for name in names],
            orientation="h",
            name=split,
            marker={"color": curve_style(slot)[0]},
            text=[theme.label(name) for name in names],
            textposition="none",
            hovertemplate="%{text}: %{x:,} boxes in " + split + "<extra></extra>",
        )
    figure.update_layout(
        barmode="stack",
        bargap=0.4,
        legend={"traceorder": "normal"},
        yaxis={"tickvals": places, "ticktext": shown, "autorange": "reversed"},
    )
    return figure


def side_figure(found: Audited) -> go.Figure:
    """Boxes by size as the network sees them, on a logarithmic axis; classes stacked."""
    figure = theme.new_figure(height=300, x=f"side of a box at {found.image_size} px", y="boxes", showlegend=True)
    sides = {name: found.image_size * np.array(listed) for name, listed in found.box_sides.items()}
    if not sides:
        return figure
    low, high = min(side.min() for side in sides.values()), max(side.max() for side in sides.values())
    edges = np.geomspace(low * 0.999, max(high, low * 1.01) * 1.001, _BINS + 1)
    frequent = sorted(sides, key=lambda name: -len(sides[name]))
    for slot, name in enumerate(frequent[:MOST_CURVES]):
        _add_bars(figure, theme.label(name, most=theme.MAX_TICK), sides[name], edges, slot=slot)
    if rest := frequent[MOST_CURVES:]:
        others = np.concatenate([sides[name] for name in rest])
        _add_bars(
            figure, counted(len(rest), "other class").replace("classs", "classes"), others, edges, slot=MOST_CURVES
        )
    figure.update_layout(barmode="stack", bargap=0, xaxis=theme.log_axis(float(low), float(high)))
    if low <= _FINEST_CELL <= high:
        theme.add_mark(figure, _FINEST_CELL)
    return figure


def counts_figure(found: Audited) -> go.Figure:
    """Images by their number of boxes."""
    most = max(found.boxes_by_image)
    step = max(-(-(most + 1) // _BINS), 1)
    edges = np.arange(0, most + step + 1, step)
    figure = theme.new_figure(height=300, x="boxes of an image", y="images")
    counts, _ = np.histogram(found.boxes_by_image, edges)
    spans = [_span(int(first), int(first) + step - 1) for first in edges[:-1]]
    figure.add_bar(
        x=edges[:-1] + (step - 1) / 2,
        y=counts,
        width=step,
        marker={"color": theme.ACCENT, "line": {"width": 0}},
        hovertext=[f"{span} boxes: {counted(int(count), 'image')}" for span, count in zip(spans, counts, strict=True)],
        hoverinfo="text",
    )
    figure.update_layout(bargap=0, xaxis=theme.integer_axis(most))
    return figure


def image_figure(found: Audited) -> go.Figure:
    """Width and height of images; a point may stand for many."""
    sizes, counts = np.unique(np.array(found.image_sizes), axis=0, return_counts=True)
    order = np.argsort(-counts)[:2_000]
    sizes, counts = sizes[order], counts[order]
    texts = [f"{w} x {h}: {counted(int(count), 'image')}" for (w, h), count in zip(sizes, counts, strict=True)]
    figure = theme.new_figure(height=300, x="width of an image, px", y="height, px")
    figure.update_layout(xaxis={"rangemode": "tozero"}, yaxis={"rangemode": "tozero"})
    figure.add_scatter(
        x=sizes[:, 0],
        y=sizes[:, 1],
        mode="markers",
        marker={"color": theme.ACCENT, "opacity": 0.6, "size": 6 + 14 * np.sqrt(counts / counts.max())},
        hovertext=texts,
        hoverinfo="text",
    )
    return figure


def _add_bars(figure: go.Figure, name: str, values: np.ndarray, edges: np.ndarray, *, slot: int) -> None:
    counts, _ = np.histogram(values, edges)
    texts = [
        f"{name}, {number(low)} to {number(high)} px: {count:,}"
        for (low, high), count in zip(pairwise(edges), counts, strict=True)
    ]
    figure.add_bar(
        x=np.sqrt(edges[:-1] * edges[1:]),
        y=counts,
        width=np.diff(edges),
        name=name,
        marker={"color": curve_style(slot)[0], "line": {"width": 0}},
        hovertext=texts,
        hoverinfo="text",
    )


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"
