"""Why did they diverge?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

import numpy as np
import pandas as pd

from dashboards.blocks import Cell, Column, Empty, Prose, Table
from dashboards.data.shown import none_shown
from dashboards.data.study import StudyView, number_in
from dashboards.questions.panel import Panel
from detector.telemetry import STRIDES
from evolve.outcome.explanations import causes_of

NONE_DIVERGED = "No trial diverged."
TO_FIND = " To find where they do, raise the upper end of lr0 in the study's space."


def diverged_table(view: StudyView) -> Table | Empty:
    """What the diagnosis of each diverged trial says."""
    trials = diverged_trials(view.trials)
    if trials.empty:
        return none_diverged(view)
    columns = (
        Column(title="trial", kind="number", digits=0),
        Column(title="likely cause", is_long=True),
        Column(title="what to change", is_long=True),
        Column(title="what happened", is_long=True),
        *setting_columns(view),
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
        causes, change = likely(diagnosis)
        # What a column of its own says is not said again.
        message = str(diagnosis.get("summary") or reason).partition("; cause: ")[0]
        rows.append(
            (int(number), causes, change, message, *setting_cells(view, int(number)), *_diagnosis_cells(diagnosis))
        )
    return Table(name="diverged", columns=columns, rows=tuple(rows), is_sortable=True, links_to="trial")


def causes_table(view: StudyView) -> Table | Empty:
    """How many trials diverged in which way, the most frequent first."""
    trials = diverged_trials(view.trials)
    if trials.empty:
        return none_diverged(view)
    groups: dict[str, list[float]] = {}
    for number in trials["number"]:
        diagnosis = view.diagnoses.get(int(number), {})
        ahead = number_in(diagnosis, "step") - number_in(diagnosis, "first_sign_step")
        why, _ = likely(diagnosis)
        broke = ", ".join(part for part in (what_broke(diagnosis), _phase(diagnosis)) if part)
        what = f"{why}: {broke}" if why else broke
        groups.setdefault(what, []).append(ahead)
    columns = (
        Column(title="likely cause, what broke, and when"),
        Column(title="trials", kind="number", digits=0),
        Column(title="first sign seen", kind="number", unit="trials", digits=0),
        Column(title="sign to end", kind="number", unit="steps, median", digits=0),
    )
    rows = tuple(
        (what, len(ahead), int(np.isfinite(ahead).sum()), _median(ahead))
        for what, ahead in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    )
    return Table(name="causes", columns=columns, rows=rows)


def rows(view: StudyView) -> tuple[Table, Table] | Prose | Empty:
    """The table of causes, and the table of the trials."""
    causes, trials = causes_table(view), diverged_table(view)
    if isinstance(causes, Empty) or isinstance(trials, Empty):
        none = none_diverged(view)
        return none if not view.left_out.empty else Prose(none.text)
    return causes, trials


def none_diverged(view: StudyView) -> Empty:
    """Why no diverged trial is shown: what filters leave, or that none diverged."""
    is_searched = "lr0" in view.params and not view.facts.config.get("ablation")
    none = f"{NONE_DIVERGED}{TO_FIND if is_searched else ''}"
    return Empty(none_shown(view, "diverged", diverged_trials) or none)


def likely(diagnosis: Mapping[str, Any]) -> tuple[str, str]:
    """The likeliest cause, and what to change; both empty where the diagnosis does not say so."""
    causes = causes_of(diagnosis)
    if not causes:
        return "", ""
    return causes[0].cause.text, ", ".join(remedy.setting for remedy in causes[0].remedies)


def what_broke(diagnosis: Mapping[str, Any]) -> str:
    """What broke, such as `box loss at scale 1`; unknown where the diagnosis does not say so."""
    term, scale = str(diagnosis.get("term") or ""), diagnosis.get("scale")
    if not term:
        return "unknown"
    what = term if term in ("loss", "gradient") else f"{term} loss"
    return what if scale is None else f"{what} at scale {scale}"


def diverged_trials(trials: pd.DataFrame) -> pd.DataFrame:
    return trials[trials["verdict"] == "diverged"]


def _phase(diagnosis: Mapping[str, Any]) -> str:
    in_warmup = diagnosis.get("in_warmup")
    return "" if in_warmup is None else "in warm-up" if in_warmup else "after warm-up"


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if isfinite(value)]
    return float(np.median(known)) if known else nan


def setting_columns(view: StudyView) -> tuple[Column, ...]:
    axis = next((axis for axis in view.space if axis.name == "lr0"), view.space[0] if view.space else None)
    if axis is None or axis.name not in view.params:
        return ()
    return (Column(title=axis.name, kind="text" if axis.is_categorical else "number"),)


def setting_cells(view: StudyView, number: int) -> tuple[Cell, ...]:
    return tuple(view.params[column.title].get(number, nan) for column in setting_columns(view))


def _diagnosis_cells(diagnosis: Mapping[str, Any]) -> tuple[Cell, ...]:
    step, warning = number_in(diagnosis, "step"), number_in(diagnosis, "first_sign_step")
    return (
        step,
        number_in(diagnosis, "epoch"),
        str(diagnosis.get("term") or ""),
        _scale(diagnosis.get("scale")),
        _phase(diagnosis).removesuffix(" warm-up"),
        step - warning,
        number_in(diagnosis, "lr"),
        number_in(diagnosis, "last_finite_grad_norm"),
    )


def _scale(scale: object) -> str:
    # Heads are ordered from the coarsest grid on, strides 32, 16 and 8.
    if isinstance(scale, int) and not isinstance(scale, bool) and 0 <= scale < len(STRIDES):
        return f"{scale}, stride {STRIDES[scale]}"
    return "" if scale is None else str(scale)


PANEL = Panel(
    key="diverged",
    title="Why did they diverge?",
    caption="The step whose loss or gradient was no longer a number, and what was seen before it. Steps and epochs "
    "count from 0, scales from the coarsest grid.",
    rows=rows,
)
