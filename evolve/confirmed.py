"""What training the best of a search again has shown: how much of it was luck, and which is best now.

Source: Capen, Clapp & Campbell 1971, Competitive bidding in high-risk situations (the winner's curse); Kendall 1938, A
new measure of rank correlation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite, nan
from statistics import fmean
from typing import TYPE_CHECKING, Any

from evolve.ablation.runs import ArmRun
from evolve.analysis import Interval, mean_interval
from evolve.formatting import counted, score
from evolve.study import Study
from evolve.study.ablation import BASELINE
from evolve.study.confirming import trial_of
from evolve.study.space import Scalar

if TYPE_CHECKING:  # statistics, which a study that nobody confirmed has no need of
    from evolve.ablation.effects import Effect
    from evolve.ablation.trained import Trained

LEAST_FOR_RANKS = 3  # of two candidates the order is the same or it is not


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One of the best of a search, or the search's own values, trained again.

    Attributes:
        arm: Name of the arm: `trial` and its number in the search, or `baseline`.
        trial: Number of the trial in the search; None for a baseline that the search has not trained.
        params: Value of every hyperparameter that was searched, by its name.
        found: Fitness of the trial in the search; NaN where there is none.
        again: Mean fitness over the fresh seeds that finished, with its 95 % interval, NaN below three.
        diverged, failed, missing: Number of fresh seeds without a value, since the training diverged, failed, or has
            not ended.
    """

    arm: str
    trial: int | None
    params: Mapping[str, Scalar]
    found: float
    again: Interval
    diverged: int
    failed: int
    missing: int

    @property
    def name(self) -> str:
        """Name of the candidate for people; `the defaults` for the baseline."""
        return "the defaults" if self.arm == BASELINE else self.arm

    @property
    def shrinkage(self) -> float:
        """How much of what the search found is gone with fresh seeds; NaN where one of both is not known."""
        return self.found - self.again.mean

    @property
    def is_whole(self) -> bool:
        """Whether every seed finished, so that it may be called the best."""
        return self.again.num_values > 0 and not (self.diverged or self.failed or self.missing)

    @property
    def text(self) -> str:
        """Mean fitness over the fresh seeds with its interval, which is cut to 0..1, for people."""
        low, high = max(self.again.low, 0.0), min(self.again.high, 1.0)
        return score(self.again.mean) + (f" [{score(low)}, {score(high)}]" if isfinite(self.again.low) else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """Kendall's rank correlation of `n` candidates: tau in -1..1 and its two-sided p, NaN below three of them."""

    tau: float
    p: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """The candidates of a search, trained again.

    Attributes:
        study: Name of the search.
        name: Name of the study that trains them again.
        seeds: Seeds that each candidate is trained again with, none of which the search has used.
        epochs: Epochs of each training of a candidate.
        searched_epochs: Epochs of a training in the search; None where the search is no longer there.
        candidates: Candidates, the baseline first, then the trials of the search, the best of the search first.
        effects: Effect of every candidate but the baseline, as compared with the baseline.
        is_complete: Whether every candidate has been trained, so that nothing of it will change.
        found_since: Trial that the search calls best now and that was not trained again: found since, or of a screening
            one that its other trials do not bear out; None where it was.
    """

    study: str
    name: str
    seeds: tuple[int, ...]
    epochs: int
    searched_epochs: int | None
    candidates: tuple[Candidate, ...]
    effects: tuple[Effect, ...]
    is_complete: bool
    found_since: int | None = None

    @property
    def best(self) -> Candidate | None:
        """The candidate of the highest mean among those whose every seed finished, the baseline first of equals."""
        whole = [candidate for candidate in self.candidates if candidate.is_whole]
        return max(whole, key=lambda candidate: candidate.again.mean, default=None) if self.is_complete else None

    @property
    def mean_shrinkage(self) -> float:
        """Mean shrinkage of the candidates beside the baseline; NaN where that of none is known."""
        known = [
            candidate.shrinkage
            for candidate in self.candidates
            if candidate.arm != BASELINE and isfinite(candidate.shrinkage)
        ]
        return fmean(known) if known else nan

    @property
    def ranks(self) -> Ranks:
        """How far the order of the candidates in the search is their order with the fresh seeds."""
        pairs = [
            (candidate.found, candidate.again.mean) for candidate in self.candidates if isfinite(candidate.shrinkage)
        ]
        if len(pairs) < LEAST_FOR_RANKS:
            return Ranks(tau=nan, p=nan, n=len(pairs))
        from scipy.stats import kendalltau

        found = kendalltau(*zip(*pairs, strict=True))
        return Ranks(tau=float(found.statistic), p=float(found.pvalue), n=len(pairs))

    @property
    def sentence(self) -> str:
        """What may be said of the best, for the head of a file."""
        seeds = counted(len(self.seeds), "fresh seed")
        best = self.best
        if not self.is_complete:
            return f"not confirmed yet: candidates still train; evolve confirm {self.study}"
        if best is None:
            return f"not confirmed: with {seeds} none of {counted(len(self.candidates), 'candidate')} trained through"
        highest = f"; trial {self.found_since}, the highest of the search, is not among them"
        since = "" if self.found_since is None else highest
        return f"confirmed over {seeds}: {best.text}, {best.name} of {len(self.candidates)} candidates{since}"

    def as_mapping(self) -> dict[str, Any]:
        """The confirmation as plain values, for machines."""
        effects = {effect.arm: asdict(effect) for effect in self.effects}
        rows = [
            {
                **{key: value for key, value in asdict(candidate).items() if key != "again"},
                **{"mean": candidate.again.mean, "low": candidate.again.low, "high": candidate.again.high},
                **{
                    "finished": candidate.again.num_values,
                    "shrinkage": candidate.shrinkage,
                    "effect": effects.get(candidate.arm),
                },
            }
            for candidate in self.candidates
        ]
        return {
            "study": self.study,
            "confirmation": self.name,
            "seeds": list(self.seeds),
            "epochs": self.epochs,
            "searched_epochs": self.searched_epochs,
            "is_complete": self.is_complete,
            "candidates": rows,
            "mean_shrinkage": self.mean_shrinkage,
            "rank_correlation": asdict(self.ranks),
            "best": None if self.best is None else self.best.arm,
            "found_since": self.found_since,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What a confirmation has to know of the search.

    Attributes:
        epochs: Epochs of each training of the search; None where the search is no longer there.
        found: Fitness of the trials of the search that trained through, by the number of the trial.
        own: Number of the trial that trained the search's own values, its defaults; None where there is none.
    """

    epochs: int | None = None
    found: Mapping[int, float]
    own: int | None = None

    @property
    def best(self) -> int | None:
        """The trial of the highest fitness, the earliest of equals."""
        return max(sorted(self.found), key=lambda number: self.found[number], default=None)


def confirmed(
    confirming: Study, trainings: Sequence[Trained], searched: Searched, *, is_complete: bool
) -> Confirmation:
    """The confirmation of a search, as far as its trainings have come.

    Args:
        confirming: The study that trains the candidates again.
        trainings: Trainings of that study that have ended.
        searched: Epochs, fitness and own values of the search that is confirmed.
        is_complete: Whether all trials of `confirming` have ended.
    """
    from evolve.ablation.interim import standing
    from evolve.ablation.trained import arm_runs, plan_of

    ablation, plan = plan_of(confirming)
    runs = arm_runs(plan, trainings)
    numbers = {arm.name: searched.own if arm.name == BASELINE else trial_of(arm.name) for arm in plan.arms}
    rows = [
        _candidate(arm.name, arm.params, [run for run in runs if run.arm == arm.name], numbers[arm.name], searched)
        for arm in plan.arms
    ]
    is_new = searched.best is not None and searched.best not in numbers.values()
    return Confirmation(
        study=ablation.confirms,
        name=confirming.name,
        seeds=plan.seeds,
        epochs=confirming.epochs,
        searched_epochs=searched.epochs,
        candidates=tuple(rows),
        effects=standing(plan, runs, margin=ablation.margin, through=1).effects,
        is_complete=is_complete,
        found_since=searched.best if is_new else None,
    )


def _candidate(
    arm: str, params: Mapping[str, Scalar], runs: Sequence[ArmRun], trial: int | None, searched: Searched
) -> Candidate:
    outcomes = [run.outcome for run in runs]
    return Candidate(
        arm=arm,
        trial=trial,
        params=dict(params),
        found=nan if trial is None else searched.found.get(trial, nan),
        again=mean_interval([run.value for run in runs if run.value is not None]),
        diverged=outcomes.count("diverged"),
        failed=outcomes.count("failed"),
        missing=outcomes.count("missing"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far the best of a study can be trusted.

    Attributes:
        said: How far it can be trusted, in a sentence; empty where nothing was chosen among many.
        command: Command that would tell more, as it is typed; empty where none would.
        confirmation: What training the best again has shown; None where nobody has trained it again.
    """

    said: str
    command: str = ""
    confirmation: Confirmation | None = None

    @property
    def text(self) -> str:
        """The sentence and the command."""
        return f"{self.said}; {self.command}" if self.command else self.said

    @property
    def best(self) -> Candidate | None:
        """The candidate that was best with fresh seeds; None where there is none."""
        return None if self.confirmation is None else self.confirmation.best


NO_STANDING = Standing(said="")


def not_confirmed(num_trials: int, *, num_seeds: int, command: str) -> Standing:
    """What may be said of the best of a search that nobody has trained again.

    Args:
        num_trials: Number of trials that trained through, at least 1.
        num_seeds: Number of seeds that each of them was trained with.
        command: Command that trains the best again, as it is typed; empty where none can.
    """
    how = "once" if num_seeds == 1 else f"with {num_seeds} seeds"
    found = f"not confirmed: found {how} among {counted(num_trials, 'trial')} that trained through"
    return Standing(said=found, command=command)
