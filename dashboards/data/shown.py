"""Which trials and axes the pictures of a study show, and what to say where there are none."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from dashboards.blocks import Empty
from dashboards.data.study import Parameter, StudyView
from dashboards.data.trial import TrialView
from dashboards.data.trial_sets import best_numbers, finished, spread_evenly, started

NO_TRIALS = Empty("No trial has started yet. Start the study with `evolve run`; this page is written when it ends.")


def drawn_numbers(view: StudyView) -> set[int]:
    """Numbers of the trials that pictures draw: all, or a choice that is the same in every picture.

    Rare verdicts stay whole, common ones are spread over the ranks of fitness; the best and the selected are kept.
    """
    started = view.trials[view.trials["verdict"] != "waiting"]
    room = view.options.max_points
    if len(started) <= room:
        return {int(number) for number in started["number"]}
    kept = set(best_numbers(started, min(20, room))) | set(view.options.selected)
    groups = [list(part["number"]) for _, part in started.sort_values(["fitness", "number"]).groupby("verdict")]
    for left, group in zip(range(len(groups), 0, -1), sorted(groups, key=len), strict=True):
        chosen = spread_evenly([int(number) for number in group], max(room // left, 1))
        kept.update(chosen)
        room -= len(chosen)
    return kept


def none_shown(view: StudyView, what: str, are_meant: Callable[[pd.DataFrame], pd.DataFrame]) -> str:
    """What to say where filters leave no trial of a kind; empty where they leave out nothing.

    Args:
        view: A study, narrowed or not.
        what: What trials of that kind did, such as `diverged`, as part of a sentence.
        are_meant: Function from rows of trials to the rows of those that did.
    """
    if view.left_out.empty:
        return ""
    if view.trials.empty:
        return f"No trial passes the filters; they leave out all {len(view.left_out):,}."
    others = len(are_meant(view.left_out))
    shown = "The one trial shown never" if len(view.trials) == 1 else f"None of the {len(view.trials):,} trials shown"
    return f"{shown} {what}; {others:,} {'other' if others == 1 else 'others'} did."


def drawn_trials(view: StudyView) -> pd.DataFrame:
    """Number, verdict and fitness of the trials that pictures draw."""
    trials = started(view.trials)[["number", "verdict", "fitness"]]
    return trials[trials["number"].isin(drawn_numbers(view))]


def chosen_axes(view: StudyView) -> list[Parameter]:
    """The two axes the reader chose, or the learning rate (or the first axis) and the next one."""
    axes = {axis.name: axis for axis in view.space if axis.name in view.params}
    usual = sorted(axes.values(), key=lambda axis: (axis.name != "lr0", axis.is_categorical))
    chosen = [axes[name] for name in dict.fromkeys(view.options.pair) if name in axes]
    return (chosen + [axis for axis in usual if axis not in chosen])[:2]


def none_started(view: StudyView) -> Empty:
    """Why no trial is shown: filters leave none, or none has started."""
    message = none_shown(view, "started", started)
    return Empty(message) if message else NO_TRIALS


def none_finished(view: StudyView, otherwise: str) -> Empty:
    """Why no trial is shown that ran to its end: what filters leave, or the text that is said otherwise."""
    return Empty(none_shown(view, "ran to its end", finished) or otherwise)


def none_read(view: StudyView, what: str) -> str:
    """What to say where nothing is read of the trials that are shown; empty where filters leave out nothing.

    Args:
        view: A study, narrowed or not.
        what: What is read of a few trials of the whole study alone, and of which, as the beginning of a sentence.
    """
    return "" if view.left_out.empty else f"{what} of the whole study alone, and the filters leave those out."


def ordered_params(view: StudyView) -> pd.DataFrame:
    return view.params[[axis.name for axis in view.space if axis.name in view.params]]


def none_measured(view: TrialView, not_recorded: str) -> Empty:
    """Why nothing is known that is measured after each epoch of a training.

    Args:
        view: Trial whose training is shown.
        not_recorded: Text for a training that has finished an epoch all the same.
    """
    if not view.measured.frame("epochs").empty:
        return Empty(not_recorded)
    return Empty("This training has finished no epoch yet, or none before it ended; this is measured after each one.")
