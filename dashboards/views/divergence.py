"""Rows about trainings that diverged: what was known of each, and its last steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboards.views.blocks import Cell, Column, Empty, Table
from dashboards.views.queries import STEP_TERMS
from dashboards.views.study import StudyView, none_shown, number_in
from dashboards.views.wording import number as number_text
from evolve.outcome.forensics import LARGE_BOX_LOGIT, SIGN_UPDATE_RATIO

NONE_DIVERGED = "No trial diverged. To find where they do, raise the upper end of lr0 in the study's space."

STRIDES = (32, 16, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A measurement over the last steps of a training.

    Attributes:
        name: What was measured.
        values: By step; NaN where not finite.
        limit: Value above which training is in danger; NaN if there is none.
    """

    name: str
    values: NDArray[np.float64]
    limit: float = nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Approach:
    """The last steps of a trial that diverged.

    Attributes:
        number: The trial.
        setting: Its first hyperparameter, as text.
        end: Step that was not finite.
        steps: Steps relative to the end, rising to 0.
        traces: Largest box logit, update over weights, gradient norm, and the term of the loss that broke.
        first_sign: First sign of trouble, relative to the end; NaN if unknown.
    """

    number: int
    setting: str
    end: int
    steps: NDArray[np.float64]
    traces: tuple[Trace, ...]
    first_sign: float


def diverged_table(view: StudyView) -> Table | Empty:
    """What the diagnosis of each diverged trial says."""
    trials = _diverged(view.trials)
    if trials.empty:
        return none_diverged(view)
    columns = (
        Column(title="trial", kind="number", digits=0),
        Column(title="what happened", is_long=True),
        *_setting_columns(view),
        Column(title="step", kind="number", digits=0),
        Column(title="epoch", kind="number", digits=0),
        Column(title="loss term"),
        Column(title="scale"),
        Column(title="warm-up"),
        Column(title="first sign", kind="number", unit="steps before", digits=0),
        Column(title="learning rate", kind="number", unit="at that step"),
        Column(title="gradient norm", kind="number", unit="last finite"),
    )
    rows = []
    for number, reason in zip(trials["number"], trials["reason"], strict=True):
        diagnosis = view.diagnoses.get(int(number), {})
        told = str(diagnosis.get("summary") or reason)
        rows.append((int(number), told, *_setting(view, int(number)), *_diagnosis_cells(diagnosis)))
    return Table(name="diverged", columns=columns, rows=tuple(rows), is_sortable=True, links_to="trial")


def causes_table(view: StudyView) -> Table | Empty:
    """How many trials diverged in which way, the most frequent first."""
    trials = _diverged(view.trials)
    if trials.empty:
        return none_diverged(view)
    groups: dict[str, list[float]] = {}
    for number in trials["number"]:
        diagnosis = view.diagnoses.get(int(number), {})
        ahead = number_in(diagnosis, "step") - number_in(diagnosis, "first_sign_step")
        what = ", ".join(part for part in (cause(diagnosis), _phase(diagnosis)) if part)
        groups.setdefault(what, []).append(ahead)
    columns = (
        Column(title="what broke, and when"),
        Column(title="trials", kind="number", digits=0),
        Column(title="first sign seen", kind="number", unit="trials", digits=0),
        Column(title="sign to end", kind="number", unit="steps, median", digits=0),
    )
    rows = tuple(
        (what, len(ahead), int(np.isfinite(ahead).sum()), _median(ahead))
        for what, ahead in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    )
    return Table(name="causes", columns=columns, rows=rows)


def diverged_blocks(view: StudyView) -> tuple[Table, Table] | Empty:
    """The table of causes, and the table of the trials."""
    causes, trials = causes_table(view), diverged_table(view)
    if isinstance(causes, Empty) or isinstance(trials, Empty):
        return none_diverged(view)
    return causes, trials


def none_diverged(view: StudyView) -> Empty:
    """Why no diverged trial is shown: what filters leave, or that none diverged."""
    return Empty(none_shown(view, "diverged", _diverged) or NONE_DIVERGED)


def cause(diagnosis: Mapping[str, Any]) -> str:
    """What broke, such as `box loss at scale 1`; a diagnosis that does not say so is told to be unknown."""
    term, scale = str(diagnosis.get("term") or ""), diagnosis.get("scale")
    if not term:
        return "unknown"
    what = term if term in ("loss", "gradient") else f"{term} loss"
    return what if scale is None else f"{what} at scale {scale}"


def _diverged(trials: pd.DataFrame) -> pd.DataFrame:
    return trials[trials["verdict"] == "diverged"]


def _phase(diagnosis: Mapping[str, Any]) -> str:
    in_warmup = diagnosis.get("in_warmup")
    return "" if in_warmup is None else "in warm-up" if in_warmup else "after warm-up"


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if isfinite(value)]
    return float(np.median(known)) if known else nan


def approaches(view: StudyView) -> tuple[Approach, ...] | Empty:
    """What was measured in the last steps of a few trials that diverged."""
    if _diverged(view.trials).empty:
        return none_diverged(view)
    if view.last_steps.empty:
        return Empty("No steps of the diverged trials are stored, so their last ones cannot be shown.")
    found = [_approach(view, int(str(number)), rows) for number, rows in view.last_steps.groupby("number")]
    return tuple(sorted(found, key=lambda each: (each.end, each.number)))


def _approach(view: StudyView, number: int, rows: pd.DataFrame) -> Approach:
    end = int(rows["end"].iloc[0])
    diagnosis = view.diagnoses.get(number, {})
    first_sign = number_in(diagnosis, "first_sign_step")
    return Approach(
        number=number,
        setting=", ".join(
            f"{column.title} {number_text(cell) if isinstance(cell, float) else cell}"
            for column, cell in zip(_setting_columns(view), _setting(view, number), strict=True)
        ),
        end=end,
        steps=rows["step"].to_numpy(dtype=float) - end,
        traces=(
            Trace(name="largest box logit", values=_finite(rows["max_box_logit"]), limit=LARGE_BOX_LOGIT),
            Trace(name="update / weights", values=_finite(rows["update_ratio"]), limit=SIGN_UPDATE_RATIO),
            Trace(name="gradient norm", values=_finite(rows["grad_norm"])),
            _broken_term(rows, diagnosis),
        ),
        first_sign=first_sign - end,
    )


def _broken_term(rows: pd.DataFrame, diagnosis: Mapping[str, Any]) -> Trace:
    column = f"{diagnosis.get('term')}_{diagnosis.get('scale')}"
    # Where no single term broke, their sum is what there is to see.
    if column not in STEP_TERMS:
        return Trace(name="loss, all terms", values=_finite(rows["loss"]))
    return Trace(name=cause(diagnosis), values=_finite(rows[column]))


def _setting_columns(view: StudyView) -> tuple[Column, ...]:
    axis = next((each for each in view.space if each.name == "lr0"), view.space[0] if view.space else None)
    if axis is None or axis.name not in view.params:
        return ()
    return (Column(title=axis.name, kind="text" if axis.is_categorical else "number"),)


def _setting(view: StudyView, number: int) -> tuple[Cell, ...]:
    return tuple(view.params[column.title].get(number, nan) for column in _setting_columns(view))


def _diagnosis_cells(diagnosis: Mapping[str, Any]) -> tuple[Cell, ...]:
    step, sign = number_in(diagnosis, "step"), number_in(diagnosis, "first_sign_step")
    return (
        step,
        number_in(diagnosis, "epoch"),
        str(diagnosis.get("term") or ""),
        _scale(diagnosis.get("scale")),
        _phase(diagnosis).removesuffix(" warm-up"),
        step - sign,
        number_in(diagnosis, "lr"),
        number_in(diagnosis, "last_finite_grad_norm"),
    )


def _scale(scale: object) -> str:
    # Heads are ordered from the coarsest grid on, strides 32, 16 and 8.
    if isinstance(scale, int) and not isinstance(scale, bool) and 0 <= scale < len(STRIDES):
        return f"{scale}, stride {STRIDES[scale]}"
    return "" if scale is None else str(scale)


def _finite(values: pd.Series[float]) -> NDArray[np.float64]:
    numbers = values.to_numpy(dtype=float)
    return np.where([isfinite(each) for each in numbers], numbers, nan)
