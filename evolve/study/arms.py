"""The arms of an ablation, and which trial trains which of them with which seeds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from evolve.errors import DefinitionError, Problem, shown
from evolve.formatting import counted, parameter
from evolve.study.ablation import BASELINE, KINDS, Ablation, Path
from evolve.study.space import Scalar

SEEDS, SEEDS_OF_MANY, MANY_ARMS = 8, 10, 4
MAX_ARMS = 128
LEVEL = 0.05  # of significance, over all arms together
ALL_TRIALS = range(2**31 - 1)  # as far as a column of whole numbers goes on every database
Changes = Mapping[str, Scalar]
Own = Callable[[str], Scalar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One setting that is compared.

    Attributes:
        name: Name of the arm: `baseline`, the name that the file gives it, or what it changes.
        params: Value of every hyperparameter in which any two arms differ.
    """

    name: str
    params: Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPlan:
    """Which arm each trial trains, and with which seeds: first all settings of the nuisance, then a verdict an arm.

    With several looks an arm has a verdict trial for each, with the seeds that this look adds.

    Attributes:
        arms: Arms that are compared, the baseline first.
        tuning: Number of settings of the nuisance that are tried for each arm; 0 where there is no nuisance.
        seeds: Seeds that every arm is compared over.
        tuning_seeds: Seeds that the nuisance is tuned with, none of them one of `seeds`; empty where there is no
            nuisance.
        looks: Numbers of seeds after which the arms are looked at, the last of them all seeds; empty for one look, at
            the end.
    """

    arms: tuple[Arm, ...]
    tuning: int
    seeds: tuple[int, ...]
    tuning_seeds: tuple[int, ...]
    looks: tuple[int, ...] = ()

    @property
    def num_looks(self) -> int:
        """Number of looks in all, the last one included."""
        return max(len(self.looks), 1)

    @property
    def num_tuning(self) -> int:
        """Trials that only tune: those with the lowest numbers, the arms in turn."""
        return self.tuning * len(self.arms)

    @property
    def num_trials(self) -> int:
        """Number of trials in all."""
        return self.num_tuning + self.num_looks * len(self.arms)

    @property
    def num_trainings(self) -> int:
        """Number of trainings in all, if no arm ends at a look."""
        return self.num_tuning * len(self.tuning_seeds) + len(self.arms) * len(self.seeds)

    def arm_of(self, number: int) -> Arm:
        """The arm that a trial trains, by its number."""
        return self.arms[number % len(self.arms)]

    def seeds_of(self, number: int) -> tuple[int, ...]:
        """The seeds that a trial is trained with, by its number."""
        if (look := self.look_of(number)) == 0:
            return self.tuning_seeds
        ends = (0, *self.looks) if self.looks else (0, len(self.seeds))
        return self.seeds[ends[look - 1] : ends[look]]

    def look_of(self, number: int) -> int:
        """The look, from 1, that a trial adds seeds to, by its number; 0 for one that only tunes."""
        return max(number - self.num_tuning, -1) // len(self.arms) + 1

    def first_of(self, look: int) -> int:
        """Number of the first trial that adds seeds to a look: the trials before it decide what it trains."""
        return self.num_tuning + (look - 1) * len(self.arms)

    def verdicts(self) -> Iterator[tuple[int, Arm]]:
        """Numbers of the trials that each arm is judged by, look by look."""
        return ((number, self.arm_of(number)) for number in range(self.num_tuning, self.num_trials))


def compared_trials(config: Mapping[str, Any]) -> range:
    """Numbers of the trials whose fitness may be compared, so that one of them is the best, in a study as it is stored.

    In an ablation those that only tune are not among them, nor those of a later look: they have other seeds than the
    first look's, and an arm that was given up has none.

    Args:
        config: Study as `Study.to_mapping` gives it; may be empty for a study that evolve did not make.
    """
    ablation = config.get("ablation")
    if not ablation:
        return ALL_TRIALS
    tuning, verdicts = int((ablation.get("nuisance") or {}).get("trials", 0)), max(len(ablation.get("looks") or ()), 1)
    num_arms = int(config["budget"]["trials"]) // (tuning + verdicts)
    return range(num_arms * tuning, num_arms * (tuning + 1))


def exportable_trials(
    plan: ArmPlan | None, ended: Collection[int], *, best: int | None, chosen: Callable[[], int | None]
) -> frozenset[int]:
    """Numbers of the trials whose weights may be exported: the best, and in an ablation what it may choose instead.

    Args:
        plan: Which trial trains which arm; None for a study that compares none.
        ended: Numbers of the trials that have ended. Until all have, any arm may be chosen yet.
        best: Number of the best trial; None where none has trained through.
        chosen: Returns the number of the trial whose arm is to be used, None where there is none; asked once all have
            ended, since it takes statistics.
    """
    of_best = frozenset(() if best is None else (best,))
    if plan is None:
        return of_best
    baseline = plan.first_of(1)
    if len(ended) < plan.num_trials:
        return frozenset(range(baseline, baseline + len(plan.arms)))
    taken = chosen()
    return of_best | {baseline} | (set() if taken is None else {taken})


def best_text(config: Mapping[str, Any]) -> str:
    """Among which trials the best one is looked for, for people; empty where all that trained through are.

    Args:
        config: Study as `Study.to_mapping` gives it; may be empty for a study that evolve did not make.
    """
    looks = (config.get("ablation") or {}).get("looks")
    return f"of the first look, whose {looks[0]} seeds every arm has" if looks else ""


def least_seeds(num_arms: int) -> int:
    """The fewest seeds with which any of some arms can be told from the baseline.

    Of n pairs the smallest p that a two-sided permutation test can find is 2 / 2^n, and Holm's correction multiplies it
    by the number of arms.

    Args:
        num_arms: Number of arms beside the baseline, at least 1.

    Raises:
        ValueError: There is no arm.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    if num_arms < 1:
        raise ValueError(f"{num_arms} arms beside the baseline; at least 1 is needed")
    seeds = 1
    while num_arms * 2 / 2**seeds >= LEVEL:
        seeds += 1
    return seeds


def arms_of(ablation: Ablation, own: Own, *, is_known: bool) -> tuple[Arm, ...]:
    """The arms of an ablation, the baseline first.

    Args:
        ablation: Ablation as the study's file has it; the end of its path, where it has one, is known.
        own: Gives the value that a hyperparameter has in the study itself, by name.
        is_known: Whether the study's own values are the baseline's already, so that every arm is checked to differ from
            it.

    Raises:
        DefinitionError: There is no arm beside the baseline, there are too many, or two are the same.
    """
    kind = next(kind for kind in KINDS if getattr(ablation, kind))
    start, others = _WAYS[kind](ablation, own)
    if len(others) > MAX_ARMS:
        raise _wrong(kind, f"makes {len(others)} arms beside the baseline; allowed: {MAX_ARMS}")
    changed = list(dict.fromkeys(name for changes in (start, *others.values()) for name in changes))
    arms = [
        Arm(name=arm, params={name: changes.get(name, own(name)) for name in changed})
        for arm, changes in ((BASELINE, start), *others.items())
    ]
    if is_known:
        _check_different(kind, arms)
    return tuple(arms)


def _check_different(kind: str, arms: list[Arm]) -> None:
    if len(arms) < 2:
        raise _wrong(kind, "makes no arm beside the baseline, so there is nothing to compare")
    seen: dict[tuple[tuple[type, Scalar], ...], str] = {}
    problems = []
    for arm in arms:
        key = tuple((type(value), value) for value in arm.params.values())
        if key in seen:
            same = _said(arm.params)
            text = f"is the same as {seen[key]} ({same}); leave it out, or change something"
            problems.append(Problem(path=f"{kind}.{arm.name}", text=text))
        seen.setdefault(key, "the baseline" if arm.name == BASELINE else f"arm {arm.name}")
    if problems:
        raise DefinitionError(problems)


def _wrong(path: str, text: str) -> DefinitionError:
    return DefinitionError([Problem(path=path, text=text)])


def _said(changes: Changes) -> str:
    return ", ".join(f"{name}={parameter(value)}" for name, value in changes.items())


def _named(changed: Iterable[Changes]) -> dict[str, Changes]:
    """Arms by what they change; values that are the same to four digits are written in full."""
    several = [*changed]
    values: dict[tuple[str, str], set[Scalar]] = {}
    for name, value in (item for changes in several for item in changes.items()):
        values.setdefault((name, parameter(value)), set()).add(value)

    def said(name: str, value: Scalar) -> str:
        short = parameter(value)
        return f"{name}={short if len(values[name, short]) == 1 else value}"

    return {", ".join(said(*item) for item in changes.items()): changes for changes in several}


Way = Callable[[Any, Own], tuple[Changes, Mapping[str, Changes]]]


def _explicit(ablation: Ablation, own: Own) -> tuple[Changes, Mapping[str, Changes]]:  # noqa: ARG001
    return {}, ablation.arms


def _one_factor(ablation: Ablation, own: Own) -> tuple[Changes, Mapping[str, Changes]]:  # noqa: ARG001
    changed = ({name: value} for name, values in ablation.one_factor.items() for value in values)
    return {}, _named(changed)


def _leave_one_out(ablation: Ablation, own: Own) -> tuple[Changes, Mapping[str, Changes]]:
    recipe = ablation.leave_one_out
    return recipe, {f"without {name}": {**recipe, name: own(name)} for name in recipe}


def _factorial(ablation: Ablation, own: Own) -> tuple[Changes, Mapping[str, Changes]]:
    levels = {name: list(dict.fromkeys((own(name), *values))) for name, values in ablation.factorial.items()}
    changed = [
        {name: value for name, value in zip(levels, values, strict=True) if value != own(name)}
        for values in product(*levels.values())
    ]
    start = {name: own(name) for name in levels}  # in the order written
    return start, _named(changes for changes in changed if changes)


def _path(ablation: Ablation, own: Own) -> tuple[Changes, Mapping[str, Changes]]:  # noqa: ARG001
    assert isinstance(ablation.path, Path) and not isinstance(ablation.path.to, str)
    steps: dict[str, Changes] = {}
    so_far: dict[str, Scalar] = {}
    for name, value in ablation.path.to.items():
        so_far = {**so_far, name: value}
        steps[f"+ {_said({name: value})}"] = so_far
    return {}, steps


_WAYS: dict[str, Way] = {
    "arms": _explicit,
    "one_factor": _one_factor,
    "leave_one_out": _leave_one_out,
    "factorial": _factorial,
    "path": _path,
}


def arm_plan(ablation: Ablation, own: Own, *, is_known: bool) -> ArmPlan:
    """Which arm each trial trains.

    Args:
        ablation: Ablation as the study's file has it; the end of its path, where it has one, is known.
        own: Gives the value that a hyperparameter has in the study itself, by name.
        is_known: Whether the study's own values are the baseline's already, so that every arm is checked to differ from
            it.

    Raises:
        DefinitionError: The arms are not allowed, or the seeds too few for any of them to be told from the baseline.
    """
    arms = arms_of(ablation, own, is_known=is_known)
    seeds = _seeds_of(ablation, num_arms=max(len(arms) - 1, 1))
    nuisance, looks = ablation.nuisance, ablation.looks
    if nuisance is None:
        return ArmPlan(arms=arms, tuning=0, seeds=seeds, tuning_seeds=(), looks=looks)
    if both := [name for name in nuisance.space if name in arms[0].params]:
        raise _wrong("nuisance.space", f"tunes {shown(both)}, in which the arms differ; leave one of both out")
    first = max(seeds) + 1
    tuning_seeds = tuple(range(first, first + nuisance.seeds))
    return ArmPlan(arms=arms, tuning=nuisance.trials, seeds=seeds, tuning_seeds=tuning_seeds, looks=looks)


def _seeds_of(ablation: Ablation, *, num_arms: int) -> tuple[int, ...]:
    least = least_seeds(num_arms)
    given = ablation.seeds
    if given is None and ablation.looks:
        given = ablation.looks[-1]
    elif given is None:
        given = SEEDS if num_arms <= MANY_ARMS else max(SEEDS_OF_MANY, least)
    seeds = tuple(range(given)) if isinstance(given, int) else given
    # What is confirmed is a value first; its verdict against the defaults says how many seeds would decide.
    if len(seeds) < least and not ablation.confirms:
        raise _wrong(
            "seeds",
            f"{counted(len(seeds), 'seed')} cannot tell {counted(num_arms, 'arm')} from the baseline, whatever comes "
            f"out: the smallest p is {num_arms} x 2/2^{len(seeds)}, not below {LEVEL:g}; allowed: {least} or more",
        )
    return seeds
