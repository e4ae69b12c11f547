"""Which trials of a frame are meant: those that started, that ran to their end, that are the best."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import pandas as pd

from evolve.outcome.verdict import TRAINED_THROUGH

# What became of a trial, in the order it is shown; the last two are for trials that are not (or not only) ours.
VERDICTS = (
    "converged",
    "undertrained",
    "worsened",
    "partial",
    "diverged",
    "doomed",
    "pruned",
    "failed",
    "paused",
    "running",
    "interrupted",
    "waiting",
    "unjudged",
)
OPEN = ("paused", "running", "interrupted", "waiting")  # have not ended
TRAINED = (*TRAINED_THROUGH, "unjudged")  # ran to their end, so that their fitness can be compared


def finished(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials that ran to their end and have a fitness."""
    is_finite = trials["fitness"].map(isfinite).astype(bool)
    return trials[trials["verdict"].isin(TRAINED) & is_finite]


def numbered(trials: pd.DataFrame, numbers: range) -> pd.DataFrame:
    """Trials whose numbers are in a range."""
    return trials[trials["number"].between(numbers.start, numbers.stop - 1)]


def best_numbers(trials: pd.DataFrame, count: int) -> list[int]:
    """Numbers of the trials of highest fitness that ran to their end, best first."""
    ranked = finished(trials).sort_values(["fitness", "number"], ascending=[False, True])
    return [int(number) for number in ranked["number"].head(count)]


def spread_evenly(ranked: Sequence[int], count: int) -> list[int]:
    """At most `count` of the numbers: the first, the last, and evenly between them."""
    if len(ranked) <= count:
        return list(ranked)
    if count == 1:
        return [ranked[0]]
    return [ranked[round(index * (len(ranked) - 1) / (count - 1))] for index in range(count)]


def started(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials that are not merely waiting."""
    return trials[trials["verdict"] != "waiting"]


def is_rated(trials: pd.DataFrame) -> pd.Series[bool]:
    """Whether a trial has a fitness that says something: not one that diverged, was going to, or failed."""
    is_finite = trials["fitness"].map(isfinite).astype(bool)
    return is_finite & ~trials["verdict"].isin(["diverged", "doomed", "failed"])
