"""One set of filters for every picture of a study: a view in, the same view with fewer trials out."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from dashboards.data.study import StudyView
from dashboards.data.trial_sets import OPEN
from dashboards.state import Filters, Range


def narrowed(view: StudyView, filters: Filters) -> StudyView:
    """The view with only those trials that pass; ranges of hyperparameters that the study has not are left out."""
    if filters.is_empty:
        return view
    trials = view.trials
    passes = pd.Series(True, index=trials.index)
    if filters.states:
        passes &= _progress(trials).isin(filters.states) | trials["state"].isin(filters.states)
    if filters.verdicts:
        passes &= trials["verdict"].isin(filters.verdicts)
    for asked in filters.ranges:
        if asked.name in view.params:
            passes &= _in_range(view.params[asked.name].reindex(trials["number"]), asked).to_numpy()
    for word in filters.text.lower().split():
        passes &= _texts(view).str.contains(word, regex=False).to_numpy()
    return restricted(view, {int(number) for number in trials[passes]["number"]})


def restricted(view: StudyView, numbers: set[int]) -> StudyView:
    """The view with only the trials of these numbers."""

    def own(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[rows["number"].isin(numbers)].reset_index(drop=True)

    return replace(
        view,
        trials=own(view.trials),
        params=view.params[view.params.index.isin(numbers)],
        measured=view.measured.restricted(numbers),
        diagnoses={number: diagnosis for number, diagnosis in view.diagnoses.items() if number in numbers},
        notes=own(view.notes),
        left_out=view.trials[~view.trials["number"].isin(numbers)].reset_index(drop=True),
    )


def candidates(view: StudyView) -> StudyView:
    """The view with only the trials that can be the best, as if there were no others."""
    own = restricted(view, {int(number) for number in view.candidates["number"]})
    return replace(own, left_out=view.left_out)


def _progress(trials: pd.DataFrame) -> pd.Series:
    # Optuna's own state of a diverged trial is PRUNED, so that its samplers learn from it; people need not know.
    is_open = trials["verdict"].isin(OPEN)
    return trials["verdict"].where(is_open, "ended")


def _in_range(values: pd.Series, asked: Range) -> pd.Series:
    if asked.choices:
        return values.isin(asked.choices)
    return pd.to_numeric(values, errors="coerce").between(asked.low, asked.high)


def _texts(view: StudyView) -> pd.Series:
    trials = view.trials
    said = view.notes.assign(said=view.notes["text"] + " " + view.notes["tag"]).groupby("number")["said"].agg(" ".join)
    parts = [
        "trial " + trials["number"].astype(str),
        trials["verdict"].astype(str),
        trials["reason"].astype(str),
        trials["traceback"].astype(str).str[-300:],
        trials["number"].map(said).astype(object).fillna(""),
    ]
    choices = [axis.name for axis in view.space if axis.is_categorical and axis.name in view.params]
    parts += [view.params[name].reindex(trials["number"]).fillna("").astype(str) for name in choices]
    whole = parts[0].reset_index(drop=True)
    for part in parts[1:]:
        whole = whole + " " + part.reset_index(drop=True)
    return whole.str.lower()
