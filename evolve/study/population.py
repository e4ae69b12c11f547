"""Population based training: what a study says of it, and which trial trains which member through which epochs.

A population trains its members side by side. At intervals the weak ones take over the weights of strong ones and change
their hyperparameters a little. A trial is a member through one interval, with hyperparameters that do not change; a
generation are the trials of all members through the same interval.

Source: Jaderberg et al. 2017, Population Based Training of Neural Networks (arXiv:1711.09846), section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from pydantic import Field, model_validator

from evolve.errors import DefinitionError, Problem, shown
from evolve.study.definition import Definition, Number, Whole
from evolve.study.fields import why_not_changed
from evolve.study.parameters import MAX_POINTS, Scalar

NAME = "pbt"  # of the sampler, and of the section of a study


class Pbt(Definition):
    """How members of a population learn from each other.

    Attributes:
        members: Number of trainings side by side, at least 2.
        interval: Epochs between two exchanges.
        share: Part of the members, above 0 and at most a half: so many of the weakest are replaced at an exchange, by
            copies of as many of the strongest; one at least.
        factors: What a hyperparameter of a copy is multiplied by, one of these; a choice becomes its neighbour.
        resample: Chance that a hyperparameter of a copy is drawn anew from the whole space instead, 0 to 1.
    """

    members: Whole = Field(default=8, ge=2, le=MAX_POINTS)
    interval: Whole = Field(default=2, ge=1)
    share: Number = Field(default=0.25, gt=0, le=0.5)
    factors: tuple[Number, ...] = (0.8, 1.25)
    resample: Number = Field(default=0.25, ge=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> Pbt:
        if not self.factors or min(self.factors) <= 0:
            text = f"{shown(list(self.factors))} is not a list of numbers above 0, such as [0.8, 1.25]"
            raise DefinitionError([Problem(path="factors", text=text)])
        return self

    @property
    def num_replaced(self) -> int:
        """Members that are replaced at an exchange, if none is lost; as many are copied from."""
        return max(int(self.share * self.members), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationPlan:
    """Which trial trains which member, by the trial's number; after a whole population the next one begins.

    Attributes:
        members: Number of members, which train side by side.
        interval: Epochs of a generation; the last one may have fewer.
        epochs: Epochs of the whole training.
    """

    members: int
    interval: int
    epochs: int

    @property
    def num_generations(self) -> int:
        """Number of generations of a population; the last one may have fewer epochs."""
        return -(-self.epochs // self.interval)

    @property
    def num_trials(self) -> int:
        """Number of trials of a whole population."""
        return self.members * self.num_generations

    def generation_of(self, number: int) -> int:
        """Generation of a trial in its population, from 0."""
        return number % self.num_trials // self.members

    def first_of(self, number: int) -> int:
        """Number of the first trial of the same generation."""
        return number - number % self.members

    def generation_before(self, number: int) -> range:
        """Numbers of the generation that a trial follows from; none for the first."""
        first = self.first_of(number)
        return range(first - self.members, first) if self.generation_of(number) else range(0)

    def generation_after(self, number: int) -> range:
        """Numbers of the generation that goes on from a trial; none after the last."""
        first = self.first_of(number) + self.members
        return range(0) if self.is_last(number) else range(first, first + self.members)

    def begin_of(self, number: int) -> int:
        """Epochs that are over when the trial's generation begins."""
        return self.generation_of(number) * self.interval

    def end_of(self, number: int) -> int:
        """Epochs that are over when the trial ends."""
        return min(self.begin_of(number) + self.interval, self.epochs)

    def is_last(self, number: int) -> bool:
        """Whether the trial trains to the last epoch."""
        return self.end_of(number) == self.epochs

    def epochs_in(self, trials: int) -> int:
        """Epochs that so many trials have in all, if none has to begin from the start again."""
        return sum(self.end_of(number) - self.begin_of(number) for number in range(trials))


def lineage(parents: Mapping[int, int | None], number: int) -> list[int]:
    """The trials whose epochs one training went through, in their order; the last one is the trial itself.

    Args:
        parents: Number of the trial that each trial went on from, by the trial's number; none where it began from the
            start.
        number: Number of the trial that ends the training.
    """
    line = [number]
    while (parent := parents.get(line[0])) is not None:
        line.insert(0, parent)
    return line


def lived_through(
    plan: PopulationPlan, line: list[int], params: Mapping[int, Mapping[str, Scalar]]
) -> tuple[dict[str, Scalar], dict[int, dict[str, Scalar]]]:
    """The schedule of a training: its first hyperparameters, and what changed, by the epoch from which on it did.

    Args:
        plan: Plan of the population, which says after which epoch each trial ended.
        line: Numbers of the training's trials, as `lineage` returns them.
        params: Hyperparameters of each of these trials, by its number.
    """
    first = dict(params[line[0]])
    changes = {
        plan.end_of(before): {name: value for name, value in params[after].items() if value != params[before][name]}
        for before, after in pairwise(line)
    }
    return first, {epoch: changed for epoch, changed in changes.items() if changed}


def problems_of_population(study: Mapping[str, object], names: Mapping[str, object]) -> Iterator[Problem]:
    """What a study says that does not go with `sampler: pbt`.

    Args:
        study: Keys of the study that may not go with it, with their values.
        names: Hyperparameters of the study's space, by name.
    """
    for name in names:
        if reason := why_not_changed(name):
            text = f"{reason}, and pbt changes what it searches while one is under way; fix it under hyperparameters"
            yield Problem(path=f"space.{name}", text=text)
    for key, nothing in (("pruner", "none"), ("scheduler", "none")):
        if study[key] != nothing:
            text = f"{shown(study[key])} would stop members, and pbt replaces the weak ones itself; leave it out"
            yield Problem(path=key, text=text)
    if study["warm_start"]:
        yield Problem(path="warm_start", text="'pbt' looks at no earlier trials; leave it out")
