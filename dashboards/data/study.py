"""A study as read from the database: facts, its search space, and a frame each of trials, epochs and steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, nan
from sys import maxsize
from typing import Any

import pandas as pd

from dashboards.data.measured import Measured
from dashboards.data.trial_sets import best_numbers, numbered
from evolve import formatting
from evolve.confirmed import NO_STANDING, Standing
from evolve.storage.time_spent import NOTHING, TimeSpent
from evolve.storage.typed import DEFAULT_STORAGE, as_typed
from evolve.study.arms import compared_trials

TRIAL_COLUMNS = {
    "number": "int64",
    "trial_id": "int64",
    "state": "object",
    "verdict": "object",
    "fitness": "float64",
    "map50": "float64",
    "map50_95": "float64",
    "precision": "float64",
    "recall": "float64",
    "test_map50": "float64",
    "test_map50_95": "float64",
    "epochs": "int64",
    "seconds": "float64",
    "reason": "object",
    "traceback": "object",
    "started": "float64",
    "ended": "float64",
    "environment_id": "object",
}
NO_LEFT_OUT = pd.DataFrame({name: [] for name in TRIAL_COLUMNS}).astype(TRIAL_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One axis of the search space: a range of numbers, or choices as text."""

    name: str
    low: float = -inf
    high: float = inf
    is_log: bool = False
    choices: tuple[str, ...] = ()

    @property
    def is_categorical(self) -> bool:
        """Whether it takes one of `choices`."""
        return bool(self.choices)

    @property
    def has_range(self) -> bool:
        """Whether both ends are known and apart."""
        return isfinite(self.low) and isfinite(self.high) and self.low < self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFacts:
    """What was asked for; `config` is the study as it was resolved, empty if it is not ours.

    Attributes:
        name: Name of the study, as a person wrote it.
        config: Configuration of the study as it was resolved; empty where evolve did not make it.
        data_summary: Counts of images, boxes and classes by split.
        created: When the study was made, in seconds since 1970; NaN if unknown.
        storage: URL of the database that has the study, without a password.
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    data_summary: Mapping[str, Any] = field(default_factory=dict)
    created: float = float("nan")
    storage: str = DEFAULT_STORAGE

    def text(self, key: str) -> str:
        """The value of a key of the configuration as a person would write it; empty if there is none."""
        return formatting.as_text(self.config.get(key))

    def as_typed(self, command: str) -> str:
        """A command about the study as it is typed."""
        # Whoever reads a page has another shell than its writer, whose environment may name the database.
        return as_typed(command, self.storage)

    @property
    def seeds(self) -> tuple[object, ...]:
        """Seeds each trial is trained with; empty if unknown."""
        seeds = self.config.get("seeds")
        if isinstance(seeds, Sequence) and not isinstance(seeds, str):
            return tuple(seeds)
        return () if seeds is None else (seeds,)


NO_EVENTS = pd.DataFrame({"number": [], "created": [], "kind": [], "message": []})
NO_NOTES = pd.DataFrame({"number": [], "created": [], "author": [], "text": [], "tag": []}).astype(
    {"number": "int64", "created": "float64", "author": "object", "text": "object", "tag": "object"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewOptions:
    """What a reader looks at in a study.

    Attributes:
        selected: Numbers of the trials that were brushed; none means all.
        pair: Names of the two hyperparameters of maps; empty names are chosen by the picture.
        max_points: Trials a picture draws at most; beyond, a faithful choice.
    """

    selected: frozenset[int] = frozenset()
    pair: tuple[str, str] = ("", "")
    max_points: int = maxsize


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyView:
    """Everything the pages show of a study.

    Attributes:
        facts: Name of the study, its configuration and its data.
        space: Axes of the search, in the order of the study.
        trials: One row a trial by number, columns as in `TRIAL_COLUMNS`.
        params: Hyperparameters by trial number, one column each: numbers, or text for choices.
        distributions: All distributions that each hyperparameter was drawn from, as Optuna's JSON.
        measured: What was measured in the trials, read when a picture first needs it.
        diagnoses: Diagnosis of each diverged trial by number.
        findings: What the data check found: first rows of each kind.
        finding_counts: Number of all findings of the data check by kind.
        environments: Identity, facts and number of trials of each environment.
        notes: What people wrote about trials: number, created, author, text and tag.
        events: What happened besides: number of the trial (missing where it is about the study), created, kind and
            message.
        parents: Number of the trial that each child was changed from; below 0 where that is of an earlier study.
        time: Where the time of the workers went, whatever filters leave out.
        standing: How far the best of the whole study can be trusted.
        left_out: Rows of the trials that filters left out; none where all are shown.
        options: What the reader selected, and how many trials pictures draw.
    """

    facts: StudyFacts
    space: tuple[Parameter, ...]
    trials: pd.DataFrame
    params: pd.DataFrame
    distributions: Mapping[str, tuple[str, ...]]
    measured: Measured
    diagnoses: Mapping[int, Mapping[str, Any]]
    findings: pd.DataFrame
    finding_counts: Mapping[str, int]
    environments: tuple[tuple[str, Mapping[str, Any], int], ...]
    notes: pd.DataFrame = field(default_factory=NO_NOTES.copy)
    events: pd.DataFrame = field(default_factory=NO_EVENTS.copy)
    parents: Mapping[int, int] = field(default_factory=dict)
    time: TimeSpent = NOTHING
    standing: Standing = NO_STANDING
    left_out: pd.DataFrame = field(default_factory=lambda: NO_LEFT_OUT.copy())
    options: ViewOptions = field(default_factory=ViewOptions)

    @property
    def epochs(self) -> pd.DataFrame:
        """One row for each trial, split and epoch: means over the seeds, NaN where a seed has NaN."""
        return self.measured.frame("epochs")

    @property
    def best_curves(self) -> pd.DataFrame:
        """Fitness and losses on the validation images by epoch, of the best quarter of what trained through."""
        return self.measured.frame("best_curves")

    @property
    def seed_results(self) -> pd.DataFrame:
        """Last epoch of each seed and split of the best trials."""
        return self.measured.frame("seed_results")

    @property
    def steps(self) -> pd.DataFrame:
        """Steps of a few trials in buckets: lowest and highest value of each, and whether a number is missing."""
        return self.measured.frame("steps")

    @property
    def last_steps(self) -> pd.DataFrame:
        """Every one of the last steps of a few diverged trials."""
        return self.measured.frame("last_steps")

    @property
    def trainings(self) -> pd.DataFrame:
        """Verdict and fitness of every training that has ended, by trial and seed."""
        return self.measured.frame("trainings")

    @property
    def seed_epochs(self) -> pd.DataFrame:
        """Fitness on the validation images of every epoch, by trial and seed."""
        return self.measured.frame("seed_epochs")

    @property
    def critical(self) -> pd.DataFrame:
        """Every critical ratio that was measured, by trial, seed and step, and whether that was in the warm-up."""
        return self.measured.frame("critical")

    @property
    def candidates(self) -> pd.DataFrame:
        """Rows of the trials that can be the best: of an ablation those that have the seeds of all arms."""
        return numbered(self.trials, compared_trials(self.facts.config))

    @property
    def best(self) -> Mapping[str, Any] | None:
        """Row of the candidate with the highest fitness among those that ran to their end; the earlier wins a tie."""
        numbers = best_numbers(self.candidates, 1)
        return self.trial(numbers[0]) if numbers else None

    def trial(self, number: int) -> Mapping[str, Any]:
        """Row of a trial, by column.

        Raises:
            IndexError: There is no such trial.
        """
        row = self.trials[self.trials["number"] == number].iloc[0]
        return {str(name): value for name, value in row.to_dict().items()}

    def params_of(self, number: int) -> dict[str, float | str]:
        """Hyperparameters of a trial that have a value, by name."""
        if number not in self.params.index:
            return {}
        values = self.params.loc[[number]].astype(object).iloc[0].dropna()
        return {str(name): value if isinstance(value, str) else float(value) for name, value in values.items()}


def number_in(diagnosis: Mapping[str, Any], key: str) -> float:
    """A number of a stored diagnosis; NaN where it has none."""
    # JSON has no NaN and no infinity, so that diagnoses write them as text.
    try:
        return float(diagnosis.get(key, nan))
    except (TypeError, ValueError):
        return nan
