"""An ablation with all its runs and what they have come to, as commands, reports and pages show it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evolve.ablation.effects import Effect
from evolve.ablation.factorial import Attribution
from evolve.ablation.interim import Standing
from evolve.ablation.runs import ArmRun
from evolve.ablation.sharing import gain_shares
from evolve.ablation.trained import Trained, plan_of, standing_of
from evolve.ablation.tuned import Tuned, tuned_of
from evolve.study import Study
from evolve.study.ablation import Ablation
from evolve.study.arms import ArmPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """An ablation as it is now.

    Attributes:
        study: Study whose trials train the arms.
        ablation: What is compared, and when a difference counts.
        plan: Which trial trains which arm, with which seeds.
        standing: What the runs say so far, and at which look.
        tuned: Each nuisance hyperparameter with what the arms were tuned to; empty where nothing is tuned, or no arm is
            compared yet.
    """

    study: Study
    ablation: Ablation
    plan: ArmPlan
    standing: Standing
    tuned: tuple[Tuned, ...] = ()

    @property
    def metric(self) -> str:
        """Name of the metric that is compared, such as `fitness`."""
        return self.ablation.metric

    @property
    def question(self) -> str:
        """What the ablation asks, in one line; empty where its file does not say."""
        return " ".join(self.ablation.question.split())

    @property
    def runs(self) -> tuple[ArmRun, ...]:
        """Runs of every arm and seed that is trained, or still may be; one that is not stored counts as missing."""
        return self.standing.runs

    @property
    def effects(self) -> tuple[Effect, ...]:
        """Effect of every arm but the baseline."""
        return self.standing.effects

    @property
    def missing(self) -> int:
        """Number of runs that have not ended."""
        return self.standing.missing

    @property
    def endings(self) -> list[str]:
        """Which arms get no more seeds, and why, a text each; empty where there are no looks."""
        return [f"{ending.arm}: {ending.text}" for ending in self.standing.endings.values()]

    def runs_of(self, arm: str) -> list[ArmRun]:
        """Runs of one arm, in the order of the seeds."""
        return [run for run in self.runs if run.arm == arm]

    def shares(self) -> Attribution | None:
        """The gain of all changes, shared out; None where the arms are neither a path nor all combinations."""
        return gain_shares(self.ablation, self.plan, self.runs)


def compared(
    study: Study, trainings: Iterable[Trained], ended: Collection[int], params: Mapping[int, Mapping[str, Any]]
) -> Compared:
    """An ablation with its runs and effects, as far as the trainings that are stored have come.

    Args:
        study: Study whose trials train the arms.
        trainings: Trainings of the study, as they are stored.
        ended: Numbers of the study's trials that have ended.
        params: Values of the searched hyperparameters by name, for each trial by its number.

    Raises:
        StudyError: The study compares no arms.
    """
    ablation, plan = plan_of(study)
    standing = standing_of(ablation, plan, trainings, ended)
    tuned = () if ablation.nuisance is None else tuned_of(plan, ablation.nuisance.space, params)
    return Compared(study=study, ablation=ablation, plan=plan, standing=standing, tuned=tuned)
