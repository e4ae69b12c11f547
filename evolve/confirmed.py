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
        arm: `trial` and its number, or `baseline`.
        trial: Number of the trial in the search; None of a baseline that it has not trained.
        params: Values of all that was searched.
        found: Fitness that the search found; NaN where there is none.
        again: Mean fitness over the fresh seeds that finished, with its 95 % interval, NaN below three.
        diverged, failed, missing: Seeds without a value.
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
        """For people."""
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
        """Mean and interval, whose ends no score can be beyond."""
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
        seeds: The fresh seeds.
        epochs: Epochs of each of these trainings.
        searched_epochs: Epochs of a training in the search; None where the search is no longer there.
        candidates: The baseline, then the others, the best found first.
        effects: Of every candidate beside the baseline, against it.
        is_complete: Whether every candidate has been trained, so that nothing of it will change.
        found_since: Trial that the search calls best now and that was not trained again; None where it was.
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
        """Mean over the candidates beside the baseline; NaN where there is none."""
        known = [each.shrinkage for each in self.candidates if each.arm != BASELINE and isfinite(each.shrinkage)]
        return fmean(known) if known else nan

    @property
    def ranks(self) -> Ranks:
        """How far the order found is that of the fresh seeds."""
        pairs = [(each.found, each.again.mean) for each in self.candidates if isfinite(each.shrinkage)]
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
        since = "" if self.found_since is None else f"; trial {self.found_since}, found since, is not among them"
        return f"confirmed over {seeds}: {best.text}, {best.name} of {len(self.candidates)} candidates{since}"

    def as_mapping(self) -> dict[str, Any]:
        """For machines."""
        effects = {effect.arm: asdict(effect) for effect in self.effects}
        rows = [
            {
                **{key: value for key, value in asdict(each).items() if key != "again"},
                **{"mean": each.again.mean, "low": each.again.low, "high": each.again.high},
                **{"finished": each.again.num_values, "shrinkage": each.shrinkage, "effect": effects.get(each.arm)},
            }
            for each in self.candidates
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
        epochs: Epochs of each of its trainings; None where it is no longer there.
        found: Fitness of the trials that trained through, by number.
        own: Number of the trial of its own values; None where it trained none.
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
    """What a confirmation has come to.

    Args:
        confirming: The study that trains the candidates again.
        trainings: Its trainings that have ended.
        searched: What the search found.
        is_complete: Whether all its trials have ended.
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
        said: In a sentence; empty where nothing was chosen among many.
        command: What tells more, as it is typed; empty where nothing does.
        confirmation: What training it again has shown; None where nobody has.
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
        """What was best with fresh seeds."""
        return None if self.confirmation is None else self.confirmation.best


NO_STANDING = Standing(said="")


def not_confirmed(num_trials: int, *, num_seeds: int, command: str) -> Standing:
    """What may be said of the best of a search that nobody has trained again.

    Args:
        num_trials: Trials that trained through, at least 1.
        num_seeds: Seeds of each.
        command: What trains it again; empty where nothing can.
    """
    how = "once" if num_seeds == 1 else f"with {num_seeds} seeds"
    found = f"not confirmed: found {how} among {counted(num_trials, 'trial')} that trained through"
    return Standing(said=found, command=command)
