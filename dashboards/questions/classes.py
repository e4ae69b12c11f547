"""How well is each class found?"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from dashboards.blocks import Column, Empty, Prose, Table
from dashboards.data.shown import none_measured
from dashboards.data.trial import TrialView
from dashboards.figures.curves import Curve
from dashboards.figures.series import Series, series
from dashboards.questions.panel import Block, Panel
from detector.telemetry import METRICS

MAX_CURVES = 8
NOT_RECORDED = "Scores by class are not recorded for this training: it was made before they were, or elsewhere."
TITLES = {"precision": "precision", "recall": "recall", "map50": "AP50", "map50_95": "AP50\N{EN DASH}95"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ByClass:
    """Average precision of each class over the epochs.

    Attributes:
        curves: AP50 and AP50-95 by epoch, each with a curve for each class that has labels, the worst after the last
            epoch first, at most `MAX_CURVES` of them; none where no class has labels.
        num_classes: Number of classes that have labels.
        last: Scores of every class on every split after the last epoch.
    """

    curves: tuple[Series, ...]
    num_classes: int
    last: Table


def rows(view: TrialView) -> ByClass | Empty:
    """Average precision of each class on the validation images, by epoch, and all scores after the last one."""
    found = view.measured.frame("classes")
    val = found[found["split"] == "val"]
    if val.empty:
        return none_measured(view, NOT_RECORDED)
    labelled = val[val["objects"] > 0]
    last = labelled[labelled["epoch"] == labelled["epoch"].max()].sort_values("map50", kind="stable")
    chosen = [int(index) for index in last["class_index"][:MAX_CURVES]]
    curves = tuple(
        Series(
            title=TITLES[name],
            curves=tuple((view.class_name(index), _curve(view, labelled, index, name)) for index in chosen),
            by_epoch=True,
            slots=tuple(chosen),  # as the classes are in pictures
        )
        for name in ("map50", "map50_95")
    )
    return ByClass(curves=curves if chosen else (), num_classes=len(last), last=_table(view, found))


def _curve(view: TrialView, rows: pd.DataFrame, index: int, name: str) -> Curve:
    own = rows[rows["class_index"] == index]
    x, y = (own["epoch"] + 1).to_numpy(dtype=float), own[name].to_numpy(dtype=float)
    return Curve(number=view.number, verdict=view.verdict, x=x, y=y)


def _table(view: TrialView, found: pd.DataFrame) -> Table:
    columns = (
        Column(title="class"),
        Column(title="images"),
        Column(title="labels", kind="number", digits=0),
        *(Column(title=TITLES[name], kind="number", digits=3) for name in METRICS),
    )
    last = found[found["epoch"] == found.groupby("split")["epoch"].transform("max")]
    last = last.sort_values(["class_index", "split"], ascending=[True, False])
    rows = tuple(
        (view.class_name(row["class_index"]), row["split"], row["objects"], *(row[name] for name in METRICS))
        for row in last.to_dict("records")
    )
    return Table(name="class-scores", columns=columns, rows=rows, is_sortable=len(rows) > MAX_CURVES)


def blocks(data: ByClass) -> tuple[Block, ...]:
    """Curves and the table, and which classes are not drawn."""
    drawn = len(data.curves[0].curves) if data.curves else 0
    others = (
        f"The {drawn} of {data.num_classes:,} classes with the lowest AP50 after the last epoch are drawn."
        if drawn < data.num_classes
        else ""
    )
    return (*series(data.curves), *([Prose(others)] if others else []), data.last)


PANEL = Panel(
    key="classes",
    title="Scores by class",
    caption="On the validation images after each epoch, and on all splits after the last. A class without labels "
    "has no score. Precision over recall and confusion of the best weights: val.html beside the report of a training.",
    rows=rows,
    blocks=blocks,
)
