"""Rows about trainings that diverged: what was known of each, and its last steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboards.views.blocks import Cell, Column, Empty, Table
from dashboards.views.study import StudyView
from dashboards.views.wording import number as number_text

NONE_DIVERGED = Empty("No trial diverged. To find where they do, raise the upper end of lr0 in the study's space.")

STRIDES = (32, 16, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approach:
    """The last steps of a trial that diverged.

    Attributes:
        number: The trial.
        setting: Its first hyperparameter, as text.
        end: Step that was not finite.
        steps: Steps relative to the end, rising to 0.
        grad_norm, update_ratio: By step; NaN where not finite.
        first_sign: First sign of trouble, relative to the end; NaN if unknown.
    """

    number: int
    setting: str
    end: int
    steps: NDArray[np.float64]
    grad_norm: NDArray[np.float64]
    update_ratio: NDArray[np.float64]
    first_sign: float


def diverged_table(view: StudyView) -> Table | Empty:
    """What the diagnosis of each diverged trial says."""
    trials = view.trials[view.trials["verdict"] == "diverged"]
    if trials.empty:
        return NONE_DIVERGED
    columns = (
        Column(title="trial", kind="number", digits=0),
        *_setting_columns(view),
        Column(title="step", kind="number", digits=0),
        Column(title="epoch", kind="number", digits=0),
        Column(title="loss term"),
        Column(title="scale"),
        Column(title="learning rate", kind="number", unit="at that step"),
        Column(title="gradient norm", kind="number", unit="last finite"),
        Column(title="warm-up"),
        Column(title="first sign", kind="number", unit="steps before", digits=0),
        Column(title="what happened"),
    )
    rows = tuple(
        (int(number), *_setting(view, int(number)), *_diagnosis_cells(view.diagnoses.get(int(number), {}), reason))
        for number, reason in zip(trials["number"], trials["reason"], strict=True)
    )
    return Table(name="diverged", columns=columns, rows=rows, is_sortable=True, links_to="trial")


def approaches(view: StudyView) -> tuple[Approach, ...] | Empty:
    """Gradient norm and update ratio in the last steps of a few trials that diverged."""
    if not (view.trials["verdict"] == "diverged").any():
        return NONE_DIVERGED
    if view.last_steps.empty:
        return Empty("No steps of the diverged trials are stored, so their last ones cannot be shown.")
    found = [_approach(view, int(str(number)), rows) for number, rows in view.last_steps.groupby("number")]
    return tuple(sorted(found, key=lambda each: (each.end, each.number)))


def _approach(view: StudyView, number: int, rows: pd.DataFrame) -> Approach:
    end = int(rows["end"].iloc[0])
    first_sign = _number(view.diagnoses.get(number, {}), "first_sign_step")
    return Approach(
        number=number,
        setting=", ".join(
            f"{column.title} {number_text(cell) if isinstance(cell, float) else cell}"
            for column, cell in zip(_setting_columns(view), _setting(view, number), strict=True)
        ),
        end=end,
        steps=rows["step"].to_numpy(dtype=float) - end,
        grad_norm=_finite(rows["grad_norm"]),
        update_ratio=_finite(rows["update_ratio"]),
        first_sign=first_sign - end,
    )


def _setting_columns(view: StudyView) -> tuple[Column, ...]:
    axis = next((each for each in view.space if each.name == "lr0"), view.space[0] if view.space else None)
    if axis is None or axis.name not in view.params:
        return ()
    return (Column(title=axis.name, kind="text" if axis.is_categorical else "number"),)


def _setting(view: StudyView, number: int) -> tuple[Cell, ...]:
    return tuple(view.params[column.title].get(number, nan) for column in _setting_columns(view))


def _diagnosis_cells(diagnosis: Mapping[str, Any], reason: str) -> tuple[Cell, ...]:
    step, sign = _number(diagnosis, "step"), _number(diagnosis, "first_sign_step")
    in_warmup = diagnosis.get("in_warmup")
    return (
        step,
        _number(diagnosis, "epoch"),
        str(diagnosis.get("term") or ""),
        _scale(diagnosis.get("scale")),
        _number(diagnosis, "lr"),
        _number(diagnosis, "last_finite_grad_norm"),
        "" if in_warmup is None else "inside" if in_warmup else "after",
        step - sign,
        str(diagnosis.get("summary") or reason),
    )


def _scale(scale: object) -> str:
    # Heads are ordered from the coarsest grid on, strides 32, 16 and 8.
    if isinstance(scale, int) and not isinstance(scale, bool) and 0 <= scale < len(STRIDES):
        return f"{scale}, stride {STRIDES[scale]}"
    return "" if scale is None else str(scale)


def _number(diagnosis: Mapping[str, Any], key: str) -> float:
    # JSON has no NaN and no infinity, so that diagnoses write them as text.
    try:
        return float(diagnosis.get(key, nan))
    except (TypeError, ValueError):
        return nan


def _finite(values: pd.Series[float]) -> NDArray[np.float64]:
    numbers = values.to_numpy(dtype=float)
    return np.where([isfinite(each) for each in numbers], numbers, nan)
