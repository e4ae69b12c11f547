"""A screening: many changes tried at once, each in one half of the trainings, so that each is judged by all of them.

The trainings are the rows of a Hadamard matrix: a change is made in half of them, and any two changes meet in a
quarter. So the difference between the halves is the change's alone, as precise as if it had been the only one, as long
as changes add up. Where there are at most half as many changes as rows, the second half of the rows makes exactly the
changes that the first half leaves, and what two changes do only together is kept out of what each does.

Source: Plackett & Burman 1946, The design of optimum multifactorial experiments; Box & Wilson 1951, On the experimental
attainment of optimum conditions (mirrored rows); Box, Hunter & Hunter 2005, Statistics for Experimenters, chapters 6
and 7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from evolve.errors import Problem, shown
from evolve.formatting import counted, parameter
from evolve.study.space import Choices, Scalar, Space

SCREENING = "screening"
SPARE_RUNS = 3  # rows beyond those that means and differences take up, of which luck is told
LEAST_RUNS, MOST_RUNS = 4, 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change among many.

    Attributes:
        name: The hyperparameter.
        own: The study's own value of it.
        other: The value that it is changed to.
    """

    name: str
    own: Scalar
    other: Scalar

    @property
    def text(self) -> str:
        """The hyperparameter with the other value: `scale 0.25`."""
        return f"{self.name} {parameter(self.other)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningPlan:
    """What a screening tries.

    Attributes:
        changes: The changes, in the order of the space.
        num_runs: Number of trials that are laid out beforehand; those after them are what these recommend.
    """

    changes: tuple[Change, ...]
    num_runs: int


def screening_plan(space: Space, own: Mapping[str, Scalar], *, trials: int) -> ScreeningPlan:
    """What a screening tries of a space in which `problems_of_screening` finds nothing wrong.

    Args:
        space: Two choices for each hyperparameter.
        own: The study's own value of each.
        trials: Number of trials in the budget, of which at least one is left for what the others recommend.
    """
    changes = tuple(_changes(space, own))
    return ScreeningPlan(changes=changes, num_runs=max(_sizes(len(changes), trials - 1), default=0))


def problems_of_screening(space: Space, own: Mapping[str, Scalar], *, trials: int, pruner: str) -> Iterator[Problem]:
    """What keeps a study from being a screening.

    Args:
        space: Search space of the study.
        own: The study's own value of each hyperparameter.
        trials: Number of trials in the budget.
        pruner: Name of the study's pruner, or of its scheduler where that stops trials.
    """
    for name, axis in space.items():
        if not isinstance(axis, Choices) or len(axis.choices) != 2 or own[name] not in axis.choices:
            text = "a screening compares the study's own value with one other"
            yield Problem(path=f"space.{name}", text=f"{text}; write choices: [{shown(own[name])}, OTHER]")
    if pruner != "none":
        text = f"{pruner!r} stops trials, and a screening compares trainings of the same length; leave it out"
        yield Problem(path="pruner", text=text)
    if not any(_sizes(len(space), trials - 1)):
        least = next(_sizes(len(space), MOST_RUNS), 0)
        allowed = f"{least + 1} and more" if least else f"a space of at most {MOST_RUNS - SPARE_RUNS - 1}"
        text = f"{counted(trials, 'trial')} cannot screen {counted(len(space), 'change')}; allowed: {allowed}"
        yield Problem(path="budget.trials", text=text)


def is_size(num_runs: int) -> bool:
    """Whether a Hadamard matrix of so many rows can be made here: by a prime, or by doubling a smaller one."""
    if num_runs in (1, 2):
        return True
    return num_runs % 4 == 0 and (_is_prime(num_runs - 1) or is_size(num_runs // 2))


def _sizes(num_changes: int, most: int) -> Iterator[int]:
    """Numbers of rows that so many changes can be laid out in, the smallest first."""
    least = max(num_changes + 1 + SPARE_RUNS, LEAST_RUNS)
    return filter(is_size, range(least, min(most, MOST_RUNS) + 1))


def _changes(space: Space, own: Mapping[str, Scalar]) -> Iterator[Change]:
    for name, axis in space.items():
        assert isinstance(axis, Choices)
        (other,) = (value for value in axis.choices if value != own[name])
        yield Change(name=name, own=own[name], other=other)


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))
