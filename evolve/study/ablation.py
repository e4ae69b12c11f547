"""An ablation as a study's file says it: a question, a baseline, and arms that are compared with it over seeds.

An arm is a setting of a few hyperparameters. What is compared is *scientific*; *nuisance* hyperparameters are tuned
again for every arm, so that none wins because the rest suited it; all else is *fixed*.

Source of the words: Godbole, Dahl, Gilmer, Shallue & Nado 2023, Deep Learning Tuning Playbook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, model_validator

from evolve.errors import shown
from evolve.study.definition import Definition, Number, Whole
from evolve.study.space import Scalar, Space, check_each, value_of

KINDS = ("arms", "one_factor", "leave_one_out", "factorial", "path")
BASELINE = "baseline"  # name of the arm that all others are compared with
MAX_NAME = 60
MAX_TUNING = 1000
LOOKS = (6, 10, 16, 24)  # seeds at each look; those for which the share of false "better" was measured


def _mapping(raw: object, what: str) -> Mapping[Any, Any]:
    if not isinstance(raw, Mapping):
        raise ValueError(f"{shown(raw)} is not a mapping of {what}")
    return raw


def _values(raw: object) -> dict[str, Scalar]:
    return check_each(_mapping(raw, "hyperparameters to values"), value_of)


def _levels(raw: object) -> dict[str, tuple[Scalar, ...]]:
    return check_each(_mapping(raw, "hyperparameters to lists of values"), _list_of)


def _list_of(name: str, raw: object) -> tuple[Scalar, ...]:
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not raw:
        raise ValueError(f"{shown(raw)} is not a list with at least one value")
    values = tuple(value_of(name, value) for value in raw)
    if len({(type(value), value) for value in values}) < len(values):
        raise ValueError(f"{shown(list(values))} repeats a value")
    return values


def _arms(raw: object) -> dict[str, dict[str, Scalar]]:
    return check_each(_mapping(raw, "names to hyperparameters"), _arm)


def _arm(name: object, raw: object) -> dict[str, Scalar]:
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise ValueError(f"{shown(name)} is not a name of 1 to {MAX_NAME} characters on one line")
    if name == BASELINE:
        raise ValueError("is always trained, with the study's hyperparameters; name the others alone")
    return _values(raw)


def _plain(values: object) -> object:
    """Values as YAML and JSON have them: plain dictionaries and lists."""
    if isinstance(values, Mapping):
        return {name: _plain(value) for name, value in values.items()}
    return list(values) if isinstance(values, tuple) else values


_AS_WRITTEN = PlainSerializer(_plain)


def _target(raw: object) -> str | dict[str, Scalar]:
    if isinstance(raw, str) and raw.strip():
        return raw.strip()
    if isinstance(raw, Mapping) and raw:
        return _values(raw)
    raise ValueError(f"{shown(raw)} is neither hyperparameters with values nor the name of what has them")


def _seeds(raw: object) -> int | tuple[int, ...] | None:
    if raw is None:
        return None
    if isinstance(raw, int) and not isinstance(raw, bool) and raw > 0:
        return raw
    if isinstance(raw, Sequence) and not isinstance(raw, str) and all(type(seed) is int for seed in raw):
        return tuple(raw)
    raise ValueError(f"{shown(raw)} is neither a number of seeds nor a list of them")


def _looks(raw: object) -> tuple[int, ...]:
    allowed = [list(LOOKS[:count]) for count in range(2, len(LOOKS) + 1)]
    if raw and (not isinstance(raw, Sequence) or isinstance(raw, str) or list(raw) not in allowed):
        raise ValueError(f"{shown(raw)} are no numbers of seeds to look at; allowed: {allowed}")
    return tuple(raw) if isinstance(raw, Sequence) else ()


def _margin(margin: float) -> float:
    if not 0 < margin < 1:
        raise ValueError(f"{margin:g} is not a difference between 0 and 1")
    return margin


class Path(Definition):
    """From one setting to another, one change at a time.

    Attributes:
        origin: Where the path begins, as `Ablation.baseline` names it; written as `from`.
        to: Where the path ends: hyperparameters with values, changed in this order, or the name of what has them, as
            `Ablation.baseline` names it.
    """

    origin: str = Field(default="", alias="from")
    to: Annotated[str | dict[str, Scalar], PlainValidator(_target), _AS_WRITTEN]


class Nuisance(Definition):
    """What is tuned again for each arm, by an equal budget, on seeds that are never used to compare.

    Attributes:
        space: The nuisance hyperparameters, and what each varies over.
        trials: Number of settings that are tried for each arm; all arms try the same ones.
        seeds: Number of trainings of each setting.
    """

    space: Annotated[Space, PlainValidator(Space.from_mapping), PlainSerializer(Space.to_mapping)]
    trials: Whole = Field(ge=1, le=MAX_TUNING)
    seeds: Whole = Field(default=1, ge=1, le=MAX_TUNING)

    @model_validator(mode="after")
    def _check(self) -> Nuisance:
        if not self.space:
            raise ValueError("its space is empty: there is nothing to tune; leave nuisance out")
        return self


class Ablation(Definition):
    """What is compared, and when a difference counts. Exactly one of the ways to name arms is given.

    Attributes:
        question: What the comparison is to answer, in a sentence.
        baseline: What the other arms are compared with: empty or `defaults` for the study's own hyperparameters, else
            the path of a hyp file, a preset's name, or `best of STUDY`. What the study itself fixes stands above it.
        arms: Hyperparameters that each arm changes, with their values, by the name of the arm.
        one_factor: Values to compare, by hyperparameter; each value is an arm that changes that hyperparameter alone.
        leave_one_out: A recipe of hyperparameters with their values, which is the baseline then; each arm takes one of
            them back to the study's own value.
        factorial: Values by hyperparameter, beside the baseline's own; every combination is an arm.
        path: Changes that are made one at a time, each arm on top of the one before; None where arms are named
            otherwise.
        nuisance: What is tuned again for each arm; None where all else is fixed.
        seeds: Number of seeds for each arm, or the seeds; 8, and 10 with more than four arms, where nothing is said.
        looks: Seeds after which the arms are looked at, the last of them all seeds; arms that can no longer win, or
            have won, get no more. Nothing for one look at the end.
        margin: Smallest difference of the metric that matters in practice, above 0.
        metric: Metric that is compared; one other than `fitness` becomes the study's fitness.
        on_divergence: What becomes of a diverged run; `loses`, the only choice, means that it loses its pair.
        confirms: Name of the study whose best trials the arms are, trained again; empty for any other comparison.
    """

    question: str = ""
    baseline: str = ""
    arms: Annotated[dict[str, dict[str, Scalar]], PlainValidator(_arms), _AS_WRITTEN] = Field(default={})
    one_factor: Annotated[dict[str, tuple[Scalar, ...]], PlainValidator(_levels), _AS_WRITTEN] = Field(default={})
    leave_one_out: Annotated[dict[str, Scalar], PlainValidator(_values), _AS_WRITTEN] = Field(default={})
    factorial: Annotated[dict[str, tuple[Scalar, ...]], PlainValidator(_levels), _AS_WRITTEN] = Field(default={})
    path: Path | None = None
    nuisance: Nuisance | None = None
    seeds: Annotated[int | tuple[int, ...] | None, PlainValidator(_seeds), _AS_WRITTEN] = None
    looks: Annotated[tuple[int, ...], PlainValidator(_looks), _AS_WRITTEN] = ()
    margin: Annotated[Number, AfterValidator(_margin)] = 0.01
    metric: Literal["fitness", "map50", "map50_95", "precision", "recall"] = "fitness"
    on_divergence: Literal["loses"] = "loses"
    confirms: str = ""

    @model_validator(mode="after")
    def _check(self) -> Ablation:
        if len(given := [kind for kind in KINDS if getattr(self, kind)]) != 1:
            found = f"has {' and '.join(given)}" if given else "names no arms"
            raise ValueError(f"{found}; allowed is exactly one of {list(KINDS)}")
        if self.path is not None and self.path.origin and self.baseline:
            raise ValueError("has a baseline beside path.from, which is the baseline of a path; leave one out")
        if self.looks and self.seeds is not None and self.num_seeds != self.looks[-1]:
            raise ValueError(f"has {self.num_seeds} seeds, but looks end at {self.looks[-1]}; leave seeds out")
        return self

    @property
    def num_seeds(self) -> int | None:
        """Number of seeds of each arm as written; None where nothing is said."""
        return len(self.seeds) if isinstance(self.seeds, tuple) else self.seeds

    @property
    def source(self) -> str:
        """Where the baseline is from; empty where it is the study's own hyperparameters."""
        named = self.path.origin if self.path is not None and self.path.origin else self.baseline
        return "" if named == "defaults" else named

    @property
    def varied(self) -> frozenset[str]:
        """Names of all in which arms differ or are tuned, as far as they are known."""
        end = {} if self.path is None or isinstance(self.path.to, str) else self.path.to
        space = {} if self.nuisance is None else self.nuisance.space
        of_arms = (name for changes in self.arms.values() for name in changes)
        return frozenset((*of_arms, *self.one_factor, *self.leave_one_out, *self.factorial, *end, *space))

    @property
    def is_open(self) -> bool:
        """Whether the end of its path has still to be looked up, so that nobody knows its arms."""
        return self.path is not None and isinstance(self.path.to, str)
