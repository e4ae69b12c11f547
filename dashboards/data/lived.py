"""The schedules that trainings of a population lived through, from a study as it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dashboards.data.study import StudyView
from evolve.study.population import PopulationPlan, lineage, lived_through

Value = float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """What a trial's weights were trained with, from their first epoch on.

    Attributes:
        line: Numbers of the trials whose epochs the weights went through, in their order; the last is the trial itself.
        first: Values of the searched hyperparameters in the first epoch, by name.
        changes: Values that changed later, by name, for each epoch from which on they hold.
    """

    line: tuple[int, ...]
    first: Mapping[str, Value]
    changes: Mapping[int, Mapping[str, Value]]


def plan_in(view: StudyView) -> PopulationPlan | None:
    """Which trial trains which member; None where the study trains no population."""
    config = view.facts.config
    if not config.get("pbt"):
        return None
    return PopulationPlan(
        members=int(config["pbt"]["members"]), interval=int(config["pbt"]["interval"]), epochs=int(config["epochs"])
    )


def lived_in(view: StudyView, number: int) -> Lived | None:
    """What a trial's weights were trained with; None where filters leave some of its trials out, or it has no parent.

    Args:
        view: Study that the trial belongs to.
        number: Number of the trial within its study, counted from 0.
    """
    plan = plan_in(view)
    if plan is None or number not in view.parents:
        return None
    line = lineage(dict(view.parents), number)
    params = {trial: view.params_of(trial) for trial in line}
    if not all(params.values()):
        return None
    first, changes = lived_through(plan, line, params)
    return Lived(line=tuple(line), first=first, changes=changes)
