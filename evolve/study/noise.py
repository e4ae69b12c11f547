"""A study of noise: the same hyperparameters trained again and again, crossed over what trainings may differ by.

Every level of a source meets every level of the others: with three levels of three sources 27 trainings. A trial is a
level of the last source, and its seeds are the combinations of the others. A split is the last one wherever it is
written, since the data of a trial are opened once, for all of its seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import AfterValidator, Field, ValidationError, model_validator

from evolve.errors import DefinitionError, Problem, shown
from evolve.study.definition import Definition, Whole, budget_of, problems_of

Source = Literal["initialisation", "order", "split"]
SOURCES: tuple[Source, ...] = get_args(Source)
LEAST_SOURCES = 2


class Levels(NamedTuple):
    """Seeds of what a training may differ by.

    Attributes:
        initialisation: Seed of the first weights.
        order: Seed of image order, augmentation, and the choice of a share of the images.
        split: Seed of which images are trained on, where the data leave that open, and of rendered training scenes.
    """

    initialisation: int
    order: int
    split: int


def _split_last(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    return tuple(sorted(sources, key=lambda source: source == "split"))


class Noise(Definition):
    """What equal trainings are crossed over.

    Attributes:
        sources: Two or three of initialisation, order and split; split is which images or rendered scenes are
            trained on, and may be varied where the data set does not say that itself. It comes last, in whatever order
            they are written.
        levels: Number of seeds of each source, 2 to 10.
    """

    sources: Annotated[tuple[Source, ...], AfterValidator(_split_last)] = SOURCES
    levels: Whole = Field(default=3, ge=2, le=10)

    @model_validator(mode="after")
    def _check(self) -> Noise:
        if len(self.sources) < LEAST_SOURCES or len(set(self.sources)) < len(self.sources):
            text = f"{shown(list(self.sources))} are not two or three different ones of {list(SOURCES)}"
            raise DefinitionError([Problem(path="sources", text=text)])
        return self

    @property
    def num_seeds(self) -> int:
        """Seeds of a trial: combinations of all sources but the last."""
        return int(self.levels ** (len(self.sources) - 1))

    def levels_of(self, number: int, seed: int) -> Levels:
        """Seeds of a training's sources; 0 of a source that is not varied.

        Args:
            number: Number of the trial, which is the level of the last source.
            seed: Seed of the trial's training, which counts the combinations of the other sources.
        """
        *others, last = self.sources
        found = {source: seed // self.levels**place % self.levels for place, source in enumerate(others)}
        found[last] = number
        return Levels(*(found.get(source, 0) for source in SOURCES))


def levels_of(noise: Noise | None, number: int, seed: int) -> Levels:
    """Seeds of a training's sources; those of a study that does not measure noise share the training's seed.

    Args:
        noise: What the study crosses; None where the study does not measure noise.
        number: Number of the trial within its study, from 0.
        seed: Seed of the training.
    """
    return Levels(initialisation=seed, order=seed, split=0) if noise is None else noise.levels_of(number, seed)


def crossed(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a study of noise, with trials and seeds filled in.

    Args:
        raw: Keys and values as a study's file has them, `noise` among them.

    Raises:
        DefinitionError: The section is not allowed, or the study says something else than it.
    """
    noise = _validated(raw["noise"])
    found: dict[str, Any] = {"space": {}, "sampler": "random", "pruner": "none", "baseline": False}
    found["seeds"] = tuple(range(noise.num_seeds))
    budget = raw["budget"] if isinstance(raw.get("budget"), Mapping) else {}
    problems = [
        Problem(path=key, text=f"{shown(raw[key])} is given beside noise, which decides it; leave it out")
        for key, value in found.items()
        if raw.get(key) is not None and _plain(raw[key]) != _plain(value)
    ]
    if budget.get("trials", noise.levels) != noise.levels:
        text = f"{shown(budget['trials'])} is not the {noise.levels} that noise needs; leave it out"
        problems.append(Problem(path="budget.trials", text=text))
    if raw.get("ablation") is not None:
        problems.append(Problem(path="ablation", text="is given beside noise; they are two studies"))
    if problems:
        raise DefinitionError(problems)
    return {**raw, **found, "noise": noise, "budget": budget_of(raw, noise.levels)}


def _validated(raw: object) -> Noise:
    if isinstance(raw, Noise):
        return raw
    try:
        return Noise.model_validate(raw)
    except ValidationError as error:
        found = problems_of(error, {"": list(Noise.model_fields)})
        raise DefinitionError(problem.under("noise") for problem in found) from None


def _plain(value: object) -> object:
    return list(value) if isinstance(value, list | tuple) else value
