"""How good are these weights, on which classes and sizes, and where are they best used?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from dashboards.blocks import Album, Cell, Column, Empty, Prose, Table, Tile, Tiles
from dashboards.figures import theme
from dashboards.figures.curves import Curve
from dashboards.figures.series import Series, series
from dashboards.questions.panel import Panel
from dashboards.questions.pictures import marks, photo
from detector.scores import OperatingPoint
from evolve.formatting import score
from evolve.outcome.validated import BACKGROUND, Validated

MOST_CLASSES = 12  # curves that can be told apart in one picture, and cells whose numbers can be read
SCORES = {"precision": "precision", "recall": "recall", "map50": "mAP50", "map50_95": "mAP50\N{EN DASH}95"}


def headline(done: Validated) -> Tiles:
    """The scores over all classes, and the operating point of the highest F1."""
    overall, best = done.found.scores.overall, done.found.best
    at = f"score {best.score:g}, suppression at IoU {best.nms_iou:g}"
    shown = f"{best.false_positives_per_image:.2f} false positives per image"
    return Tiles(
        (
            Tile(label="mAP50", value=score(overall.map50), detail=f"suppression at IoU {done.nms_iou:g}"),
            Tile(
                label=SCORES["map50_95"], value=score(overall.map50_95), detail=f"suppression at IoU {done.nms_iou:g}"
            ),
            Tile(label="best F1", value=score(best.f1), detail=at),
            Tile(label="precision there", value=score(best.precision), detail=shown),
            Tile(label="recall there", value=score(best.recall), detail=f"{done.found.objects:,} objects"),
        )
    )


def by_class(done: Validated) -> tuple[Prose, Table, Table]:
    """Scores of each class, and of each size, and where these are measured."""
    where = Prose(
        "Precision and recall of each row are at its own best F1 (a size over several classes: at each class's own), "
        f"so that all parts may have a higher recall than the whole has. Suppression at IoU {done.nms_iou:g}."
    )
    return where, _scores("class", done.by_class(), name="classes"), _scores("size", done.by_size(), name="sizes")


def _scores(title: str, rows: Mapping[str, Mapping[str, float]], *, name: str) -> Table:
    # Of one class or size there is no mean over them.
    numbers = (
        Column(
            title=shown.removeprefix("m"),
            kind="number",
            unit="at own best F1" if metric in ("precision", "recall") else "",
            digits=3,
        )
        for metric, shown in SCORES.items()
    )
    columns = (Column(title=title), Column(title="objects", kind="number", digits=0), *numbers)
    cells: list[tuple[Cell, ...]] = [
        (key, row["objects"], *(row[metric] for metric in SCORES)) for key, row in rows.items()
    ]
    return Table(name=name, columns=columns, rows=tuple(cells), is_sortable=len(cells) > 1)


def curves(done: Validated) -> tuple[Series, ...]:
    """Precision, recall and F1 over the score, then F1 of each class, and precision over recall."""
    found = done.found
    whole = [(name, _curve(found.curve, name)) for name in ("precision", "recall")]
    classes = [(done.names[index], found.class_curves[index]) for index in _most_frequent(done)]
    return (
        Series(title="all classes, 0 to 1", curves=(*whole, ("F1", _curve(found.curve, "f1")))),
        Series(title="F1 by class", curves=tuple((name, _curve(points, "f1")) for name, points in classes)),
    )


def precision_over_recall(done: Validated) -> go.Figure:
    """One curve for each class, from the score that shows the least to the one that shows the most."""
    classes = tuple(
        (done.names[index], _curve(done.found.class_curves[index], "precision", x="recall"))
        for index in _most_frequent(done)
    )
    (figure,) = series((Series(title="precision", curves=classes),), x="recall")
    figure.update_layout(xaxis=_unit_axis("recall"), yaxis=_unit_axis("precision"))
    return figure


def _curve(points: Sequence[OperatingPoint], y: str, *, x: str = "score") -> Curve:
    """One number of the points over another, where both are known: where nothing is shown there is no precision."""
    values = np.array([(getattr(point, x), getattr(point, y)) for point in points]).reshape(-1, 2)
    known = values[np.isfinite(values).all(1)]
    return Curve(number=0, verdict="", x=known[:, 0], y=known[:, 1])


def _most_frequent(done: Validated) -> list[int]:
    """Indices of the classes that are drawn, those with most objects, in their own order."""
    counts = [part.objects for part in done.found.scores.classes]
    ranked = sorted((index for index, count in enumerate(counts) if count), key=lambda index: -counts[index])
    return sorted(ranked[:MOST_CLASSES])


def _unit_axis(title: str) -> dict[str, object]:
    return {
        "title": {"text": title},
        "tickformat": ".1f",
        "range": [-0.02, 1.02],
        "dtick": 0.2,
        "automargin": True,
        "zeroline": False,
    }


def draw_curves(done: Validated) -> tuple[go.Figure | Prose, ...]:
    """Curves over the score on one scale, and precision over recall."""
    figures = (*series(curves(done), x="score"), precision_over_recall(done))
    for figure in figures[:-1]:
        figure.update_layout(xaxis=_unit_axis("score"), yaxis={"range": [-0.02, 1.02]})
    left_out = sum(part.objects > 0 for part in done.found.scores.classes) - len(_most_frequent(done))
    where = Prose(
        f"Suppression at IoU {done.nms_iou:g}, as of mAP; the best F1 above is the highest over all overlaps as well."
    )
    if not left_out:
        return (*figures, where)
    return (*figures, where, Prose(f"The {MOST_CLASSES} classes with most objects are drawn; {left_out} more are not."))


def draw_sweep(done: Validated) -> go.Figure:
    """F1 at each score and overlap of suppression, the best place marked."""
    points, best = done.found.sweep, done.found.best
    scores = sorted({point.score for point in points})
    overlaps = sorted({point.nms_iou for point in points})
    by_place = {(point.score, point.nms_iou): point for point in points}
    rows = [[by_place[threshold, overlap] for threshold in scores] for overlap in overlaps]
    figure = theme.new_figure(height=110 + 40 * len(overlaps), x="score", y="IoU of suppression")
    figure.add_heatmap(
        x=[f"{value:g}" for value in scores],
        y=[f"{value:g}" for value in overlaps],
        z=[[round(point.f1, 4) for point in row] for row in rows],
        customdata=[
            [(point.precision, point.recall, point.false_positives_per_image) for point in row] for row in rows
        ],
        colorscale=theme.SCALE,
        zmin=0,
        zmax=1,
        colorbar={"title": {"text": "F1", "side": "right"}, "thickness": 12, "outlinewidth": 0},
        hovertemplate="score %{x}, IoU %{y}<br>F1 %{z:.3f}<br>precision %{customdata[0]:.3f}<br>"
        "recall %{customdata[1]:.3f}<br>%{customdata[2]:.2f} false positives per image<extra></extra>",
    )
    figure.add_scatter(
        x=[f"{best.score:g}"],
        y=[f"{best.nms_iou:g}"],
        mode="markers",
        marker={"symbol": "circle-open", "size": 14, "color": "#D55E00", "line": {"width": 3}},
        hoverinfo="skip",
    )
    figure.update_layout(xaxis={"type": "category"}, yaxis={"type": "category"})
    return figure


def draw_confusion(done: Validated) -> go.Figure | Empty:
    """Counts of labelled and found classes at the best point; a row's colour is its share of the row."""
    if len(done.names) > MOST_CLASSES:
        return Empty(f"A matrix of {len(done.names)} classes cannot be read here: `evolve val --json` has its counts.")
    names = [theme.label(name, most=theme.MAX_TICK) for name in (*done.names, BACKGROUND)]
    counts = np.array(done.found.confusion, dtype=float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    text = [[f"{int(count):,}" for count in row] for row in counts]
    text[-1][-1] = ""
    figure = theme.new_figure(height=130 + 40 * len(names), x="found", y="labelled")
    # Places by number, since two classes may be cut to the same name.
    places = list(range(len(names)))
    figure.add_heatmap(
        x=places,
        y=places,
        z=np.round(shares, 3),
        text=text,
        texttemplate="%{text}",
        colorscale=theme.SCALE,
        zmin=0,
        zmax=1,
        showscale=False,
        hovertemplate="%{z:.0%} of this row: %{text}<extra></extra>",
    )
    ticks = {"tickvals": places, "ticktext": names, "showgrid": False}
    figure.update_layout(xaxis=ticks, yaxis=ticks | {"autorange": "reversed"})
    return figure


def worst(done: Validated) -> tuple[Album | Table, ...] | Empty:
    """Images with most mistakes at the best point, with what is missed and what is false, and how much it is."""
    if not done.worst:
        return Empty("No image has a mistake at the best point.")
    photos = tuple(photo(mistaken.picture, done.names.__getitem__) for mistaken in done.worst)
    false = tuple(marks(mistaken.false, done.names.__getitem__) for mistaken in done.worst)
    columns = (
        Column(title="picture", kind="number", digits=0),
        Column(title="image", is_long=True),
        *(Column(title=title, kind="number", digits=0) for title in ("labels", "missed", "false")),
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (number, mistaken.image, *mistaken.counts().values()) for number, mistaken in enumerate(done.worst, start=1)
    )
    return (
        Album(name="worst", photos=photos, pages=((f"shown from a score of {done.found.best.score:g} on", false),)),
        Table(name="mistakes", columns=columns, rows=rows),
    )


HEADLINE = Panel(key="headline", title="How good it is", rows=headline)
CLASS = Panel(
    key="classes",
    title="By class and by size",
    caption="Sizes by area in pixels of the images: small below 32 x 32, medium up to 96 x 96, large above.",
    rows=by_class,
)
CURVE = Panel(
    key="curves",
    title="Curves over the score",
    caption="A box is right where it overlaps an object of its class by at least 0.5 that no surer box has found.",
    rows=lambda done: done,
    blocks=draw_curves,
)
SWEEP = Panel(
    key="sweep",
    title="Where it is best used",
    caption="F1 by the least score that is shown and the overlap at which suppression joins boxes, the best circled.",
    rows=lambda done: done,
    blocks=draw_sweep,
)
CONFUSION = Panel(
    key="confusion",
    title="What is taken for what",
    caption="Boxes and labels that overlap by at least 0.5, at the best point; colours are shares of a row.",
    rows=lambda done: done,
    blocks=draw_confusion,
)
WORST = Panel(
    key="worst",
    title="Where it is wrong",
    caption="The images with most mistakes at the best point, and their mistakes alone: dashed white are labels that "
    "were missed, colours boxes that found nothing labelled, or what a surer box had found. A label that is wrong or "
    "missing looks like a mistake, too.",
    rows=worst,
)
