"""The arms of an ablation with all their runs, and what they show."""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.blocks import Empty
from dashboards.data.resolved import study_of, typed_params
from dashboards.data.study import StudyView
from dashboards.data.trial_sets import OPEN
from evolve.ablation.compared import Compared, compared
from evolve.ablation.factorial import Attribution
from evolve.ablation.trained import Trained
from evolve.formatting import parameter
from evolve.study.ablation import BASELINE
from evolve.study.arms import ArmPlan

FILTERED = "Filters leave trials out, and arms are compared over all their runs: clear the filters to see this."
NO_SHARES = "A gain is shared out where all combinations of two values each of 2 to 4 hyperparameters are arms."
NO_WHOLE_SEED = "No seed has a finished run of every arm yet, which each part of the gain needs"
NOT_YET = "No arm has a finished run beside one of the baseline yet; run `evolve ablate` on the study to go on."


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedGain:
    """The gain of all changes of an ablation, shared out.

    Attributes:
        metric: Name of the metric that it is a gain in, such as fitness.
        found: Whole gain, its parts, and the seeds that they rest on.
    """

    metric: str
    found: Attribution


def shared_gain(view: StudyView) -> SharedGain | Empty:
    """What the steps of a path, or the changes of a factorial, are of the gain, or why that cannot be shown."""
    arms = arms_of(view)
    if isinstance(arms, Empty):
        return arms
    found = arms.shares()
    if found is None:
        return Empty(NO_SHARES)
    if not found.num_seeds:
        return Empty(f"{NO_WHOLE_SEED}: {found.basis}.")
    return SharedGain(metric=arms.metric, found=found)


def short_names(plan: ArmPlan) -> tuple[str, dict[str, str]]:
    """What all arms differ in, and what a picture calls each arm: its value alone where it is a single hyperparameter.

    Returns:
        Name of the hyperparameter that all arms differ in, empty where they differ in several; and what a picture calls
        each arm, by the name of the arm.
    """
    differ = list(plan.arms[0].params)
    whole = {arm.name: arm.name for arm in plan.arms}
    if len(differ) != 1:
        return "", whole
    (key,) = differ
    values = {arm.name: parameter(arm.params[key]) for arm in plan.arms}
    if any(name not in (BASELINE, f"{key}={value}") for name, value in values.items()):
        return "", whole
    return key, values | {BASELINE: f"{values[BASELINE]} (baseline)"}


def trainings_in(view: StudyView) -> list[Trained]:
    """The trainings of a study that have ended."""
    rows = view.trainings[["number", "seed", "verdict", "fitness"]]
    return [
        Trained(trial=int(number), seed=int(seed), verdict=str(verdict), fitness=float(fitness))
        for number, seed, verdict, fitness in rows.itertuples(index=False)
    ]


def arms_of(view: StudyView) -> Compared | Empty:
    """The arms of a study that compares some, or why they cannot be shown."""
    if not view.left_out.empty:
        return Empty(FILTERED)
    study = study_of(view)
    if study is None or study.arm_plan is None:
        return Empty("This study compares no arms; `ablation` in its file would name some.")
    has_ended = ~view.trials["verdict"].isin(OPEN)
    params = {int(str(number)): typed_params(study, row) for number, row in view.params.to_dict("index").items()}
    found = compared(study, trainings_in(view), set(view.trials["number"][has_ended]), params)
    return Empty(NOT_YET) if found.missing == len(found.runs) else found
