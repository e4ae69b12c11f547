"""How one trial trained: metrics by epoch, losses, rates and health by step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from dashboards.blocks import Empty
from dashboards.data.trial import TrialView
from dashboards.figures.curves import Curve
from dashboards.figures.downsampling import polyline
from dashboards.figures.series import GAPS, Series, series
from dashboards.questions.panel import Panel
from detector.telemetry import STRIDES
from evolve.storage.schema import TERMS

NO_STEPS = Empty("No steps of this trial are stored. They appear while it trains; a trial that failed early has none.")
NO_EPOCHS = Empty("This trial has not finished an epoch; metrics are measured after each one.")
METRICS = ("map50", "map50_95", "precision", "recall")


def metric_rows(view: TrialView) -> tuple[Series, ...] | Empty:
    """Average precision, precision and recall on the validation images by epoch."""
    rows = _validated(view)
    if rows.empty:
        return NO_EPOCHS
    epochs = rows["epoch"] + 1
    titles = {"map50": "mAP50", "map50_95": "mAP50\N{EN DASH}95", "precision": "precision", "recall": "recall"}
    curves = tuple((titles[name], _curve(view, epochs, rows[name])) for name in METRICS)
    total = sum(rows[f"loss_{term}"] for term in TERMS)
    train = sum(rows[f"train_{term}"] for term in TERMS)
    both = (("training", _curve(view, epochs, train)), ("validation", _curve(view, epochs, total)))
    return (
        Series(title="validation metrics, 0 to 1", curves=curves, by_epoch=True),
        Series(title="loss, sum of all terms", curves=both, by_epoch=True, is_log=True),
    )


def loss_rows(view: TrialView) -> tuple[Series, ...] | Empty:
    """Each term of the loss by step and scale, with its validation value after each epoch."""
    steps = view.measured.frame("losses")
    if steps.empty:
        return NO_STEPS
    val = _validated(view)
    found = [Series(title="loss, all terms", curves=(_named(view, steps, "loss", "training"),), is_log=True)]
    for term in TERMS:
        known = [scale for scale in range(view.outline.num_scales) if steps[f"{term}_{scale}_low"].notna().any()]
        scales = tuple(_named(view, steps, f"{term}_{scale}", f"stride {STRIDES[scale]}") for scale in known)
        points = (("validation", _curve(view, val["step"], val[f"loss_{term}"])),) if len(val) else ()
        highest = steps[[f"{term}_{scale}_high" for scale in known]]
        if (highest == 0).all(axis=None) and not val[f"loss_{term}"].any():
            continue  # with one class there is no class term, and a logarithmic axis has no 0
        found.append(Series(title=f"{term} loss", curves=scales, is_log=True, points=points))
    return tuple(found)


def schedule_rows(view: TrialView) -> tuple[Series, ...] | Empty:
    """Learning rate and momentum as applied."""
    steps = view.measured.frame("rates")
    if steps.empty:
        return NO_STEPS
    rates = (_named(view, steps, "lr", "weights"), _named(view, steps, "bias_lr", "biases"))
    return (
        Series(title="learning rate", curves=rates, is_log=True),
        Series(title="momentum", curves=(_named(view, steps, "momentum", "momentum"),)),
    )


def health_rows(view: TrialView) -> tuple[Series, ...] | Empty:
    """What tells a training in trouble: gradient norm, update-to-weight ratio, largest box logit, critical ratio."""
    steps = view.measured.frame("health")
    if steps.empty:
        return NO_STEPS
    names = {
        "grad_norm": "gradient norm",
        "update_ratio": "update / weights, per step",
        "max_box_logit": "largest box logit",
    }
    measured = (
        Series(title=title, curves=(_named(view, steps, name, title),), is_log=name != "max_box_logit")
        for name, title in names.items()
    )
    return (*measured, *_critical(view))


def _critical(view: TrialView) -> Iterator[Series]:
    """How much larger updates could have been, where that was measured."""
    found = view.measured.frame("critical")
    if len(found):
        points = (("measured", _curve(view, found["step"], found["critical_ratio"])),)
        yield Series(title="update, times larger", curves=(), is_log=True, points=points)


def _validated(view: TrialView) -> pd.DataFrame:
    epochs = view.measured.frame("epochs")
    return epochs[epochs["split"] == "val"]


def _named(view: TrialView, steps: pd.DataFrame, column: str, name: str) -> tuple[str, Curve]:
    x, y = polyline(steps, column)
    return name, Curve(number=view.number, verdict=view.verdict, x=x, y=y)


def _curve(view: TrialView, x: Any, y: Any) -> Curve:
    return Curve(number=view.number, verdict=view.verdict, x=x.to_numpy(dtype=float), y=y.to_numpy(dtype=float))


METRIC = Panel(
    key="metrics",
    title="Metrics by epoch",
    caption="Measured on the validation images after each epoch.",
    rows=metric_rows,
    blocks=series,
)

LOSS = Panel(
    key="losses",
    title="Loss by step",
    caption="Each term on the training batches, by the scale it was predicted at, and on the validation images "
    f"after each epoch. A cross marks a number that was not finite. {GAPS}",
    rows=loss_rows,
    blocks=series,
)

SCHEDULE = Panel(
    key="schedule",
    title="Learning rate and momentum as applied",
    caption=f"What the optimizer was given, warm-up included. {GAPS}",
    rows=schedule_rows,
    blocks=series,
)

HEALTH = Panel(
    key="health",
    title="Signs of trouble",
    caption="A single step that moves the weights by more than a fifth of themselves came before most divergences "
    "seen so far. Where `critical` was asked for: how many times larger an update raises the loss of its own batch; "
    f"at 1 and below it did. A cross marks a number that was not finite. {GAPS}",
    rows=health_rows,
    blocks=series,
)
