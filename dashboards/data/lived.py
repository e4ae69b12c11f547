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
        line: The trials whose epochs they went through, in their order; the last one is the trial itself.
        first: Searched hyperparameters of the first epoch.
        changes: What changed later, by the epoch from which on it did.
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
        view: The study.
        number: Of the trial.
    """
    plan = plan_in(view)
    if plan is None or number not in view.parents:
        return None
    line = lineage(dict(view.parents), number)
    params = {each: view.params_of(each) for each in line}
    if not all(params.values()):
        return None
    first, changes = lived_through(plan, line, params)
    return Lived(line=tuple(line), first=first, changes=changes)
