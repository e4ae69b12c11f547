"""What an ablation decides of the study that runs it: space, seeds, trials; and what may not stand beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from detector.hyperparameters import Hyperparameters, former_defaults
from evolve.errors import DefinitionError, Problem, shown
from evolve.study.ablation import Ablation, Nuisance
from evolve.study.arms import ArmPlan, Own, arm_plan
from evolve.study.definition import budget_of, problems_of
from evolve.study.space import OF_PLAN, Choices, Scalar, Space, nominal_batch_size

BASELINE_KEY = "ablation.baseline"  # of the decision that says where a baseline's values are from
DECIDED = ("space", "sampler", "pruner", "seeds", "baseline")  # and the trials of its budget


def decided(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a study with an ablation, with what the ablation decides filled in.

    Args:
        raw: Keys and values as a study's file has them, `ablation` among them.

    Raises:
        DefinitionError: The ablation is not allowed, or the study says something else than it.
    """
    ablation = _validated(raw["ablation"])
    own = _own(raw, ablation)
    if own is None or ablation.is_open:  # named as a problem of its own, or looked up before anything is trained
        return {"space": {}, "sampler": "arms", **raw, "ablation": ablation, "budget": budget_of(raw, 1)}
    try:
        is_known = not ablation.source or BASELINE_KEY in (raw.get("decisions") or {})
        plan = arm_plan(ablation, own, is_known=is_known)
        found = _of_study(ablation, plan)
    except DefinitionError as error:
        raise DefinitionError(problem.under("ablation") for problem in error.problems) from None
    if problems := list(_contradictions(raw, found, num_trials=plan.num_trials)):
        raise DefinitionError(problems)
    return {**raw, **found, "ablation": ablation, "budget": budget_of(raw, plan.num_trials)}


def _validated(raw: object) -> Ablation:
    if isinstance(raw, Ablation):
        return raw
    known = {"": list(Ablation.model_fields), "nuisance": list(Nuisance.model_fields), "path": ["from", "to"]}
    try:
        return Ablation.model_validate(raw)
    except ValidationError as error:
        raise DefinitionError(problem.under("ablation") for problem in problems_of(error, known)) from None


def _own(raw: Mapping[str, Any], ablation: Ablation) -> Own | None:
    """Gives the study's own value of a hyperparameter; None where one is not allowed, which other checks report."""
    generation = raw.get("defaults")
    try:
        former = {} if generation is None else former_defaults(generation)
        values = Hyperparameters.from_mapping({**former, **(raw.get("hyperparameters") or {})})
    except (ValueError, TypeError):
        return None
    plan = {"batch_size": raw.get("batch_size", 16)}
    nominal = raw.get("nominal_batch_size")
    plan["nominal_batch_size"] = nominal_batch_size(plan["batch_size"], ablation.varied) if nominal is None else nominal
    return lambda name: plan[name] if name in OF_PLAN else getattr(values, name)


def _of_study(ablation: Ablation, plan: ArmPlan) -> dict[str, Any]:
    values = {name: [arm.params[name] for arm in plan.arms] for name in plan.arms[0].params}
    scientific = {name: Choices(choices=_different(found)) for name, found in values.items()}
    nuisance = Space({}) if ablation.nuisance is None else ablation.nuisance.space
    if nuisance.unplaced:
        text = "is measured for a search, not for arms, which are all tuned over the same range: write low and high"
        raise DefinitionError(Problem(path=f"nuisance.space.{name}.around", text=text) for name in nuisance.unplaced)
    found: dict[str, Any] = {"space": Space({**scientific, **nuisance}), "sampler": "arms", "pruner": "none"}
    found |= {"seeds": plan.seeds, "baseline": False}
    if ablation.metric != "fitness":
        weights = dict.fromkeys(("map50", "map50_95", "precision", "recall"), 0.0)
        found["fitness"] = weights | {ablation.metric: 1.0}
    return found


def _different(values: list[Scalar]) -> tuple[Scalar, ...]:
    return tuple({(type(value), value): value for value in values}.values())


def _contradictions(raw: Mapping[str, Any], found: Mapping[str, Any], *, num_trials: int) -> Iterator[Problem]:
    """What the study says beside its ablation and the ablation decides otherwise."""
    given = {key: raw[key] for key in (*DECIDED, "budget", "fitness") if raw.get(key) is not None}
    if "space" in given and _space(given["space"]) != found["space"]:
        yield Problem(path="space", text="is given beside ablation, whose arms are all that varies; leave one out")
    if given.get("sampler", "arms") != "arms":
        yield Problem(path="sampler", text=f"{shown(given['sampler'])} is given beside ablation; leave it out")
    if given.get("pruner", "none") != "none":
        text = f"{shown(given['pruner'])} would stop arms; an ablation trains every seed of each: leave it out"
        yield Problem(path="pruner", text=text)
    if given.get("baseline"):
        yield Problem(path="baseline", text="an ablation trains its baseline anyway; leave it out")
    seeds = given.get("seeds", found["seeds"])
    if not isinstance(seeds, list | tuple) or tuple(seeds) != found["seeds"]:
        yield Problem(path="seeds", text=f"{shown(seeds)} is given beside ablation; write ablation.seeds")
    budget = given.get("budget", {})
    if isinstance(budget, Mapping) and (asked := budget.get("trials", num_trials)) != num_trials:
        text = f"{shown(asked)} is not the {num_trials} that the arms need; leave it out"
        yield Problem(path="budget.trials", text=text)
    if "fitness" in found and _fitness(given.get("fitness", {})) not in ({}, found["fitness"]):
        yield Problem(path="fitness", text="is given beside ablation.metric, which is the fitness then; leave one out")


def _space(raw: object) -> object:
    try:
        return Space.from_mapping(raw)
    except ValueError:
        return None


def _fitness(raw: object) -> object:
    return {name: float(weight) for name, weight in raw.items()} if isinstance(raw, Mapping) else raw


def with_values_of_arms(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored study without values that no arm of its has, as one of two that were the same to four digits may be."""
    ablation, space = stored.get("ablation"), stored.get("space") or {}
    if not ablation:
        return dict(stored)
    kept = {
        kind: {name: [value for value in values if value in space[name]["choices"]] for name, values in levels.items()}
        for kind in ("one_factor", "factorial")
        if (levels := ablation.get(kind)) and levels.keys() <= space.keys()
    }
    return {**stored, "ablation": {**ablation, **kept}}


def undecided(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A study's mapping without what its ablation decides, to be decided anew."""
    kept = {key: value for key, value in mapping.items() if key not in DECIDED}
    kept["budget"] = {key: value for key, value in mapping["budget"].items() if key != "trials"}
    if mapping["ablation"]["metric"] != "fitness":
        del kept["fitness"]
    return kept
