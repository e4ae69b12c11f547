"""The search space of a study: which hyperparameters vary, and over what."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan, prod
from typing import TYPE_CHECKING, Any, TypeVar

from detector.hyperparameters import Hyperparameters, allowed_choices, names, numeric_range
from detector.plan import TrainingPlan
from detector.written_numbers import as_float
from evolve.errors import DefinitionError, Problem, shown, unknown_text
from evolve.study.parameters import CONFIDENCES, MAX_POINTS, Around, Choices, Prior, Range, Scalar

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = [
    "MAX_POINTS",
    "OF_PLAN",
    "Choices",
    "Parameter",
    "Range",
    "Scalar",
    "Space",
    "as_number",
    "check_each",
    "fixed_value",
    "nominal_batch_size",
    "value_of",
]
Value = TypeVar("Value")
PLACEABLE = ("lr0",)  # hyperparameters of which something is measured that a range may lie around
_OF_EDGE = {"below", "above", "edge"}
OF_PLAN = ("batch_size", "nominal_batch_size")  # of a training's plan, and searched as hyperparameters are


Parameter = Range | Choices


@dataclass(frozen=True, slots=True)
class Space(Mapping[str, Parameter]):
    """Searched hyperparameters by name, and what is searched of a training's plan, in the order they were written.

    Attributes:
        parameters: What each parameter varies over, by its name.
    """

    parameters: Mapping[str, Parameter]

    @classmethod
    def from_mapping(cls, raw: object) -> Space:
        """Space written as `{lr0: {low: 0.001, high: 1, log: true}, schedule: {choices: [linear, cosine]}}`.

        Raises:
            DefinitionError: Everything that is not allowed, by key.
        """
        if isinstance(raw, Space):
            return raw
        if not isinstance(raw, Mapping):
            raise ValueError(f"{shown(raw)} names no hyperparameter; known: {list(names())}")
        return cls(check_each(raw, _parameter))

    def __getitem__(self, name: str) -> Parameter:
        return self.parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def to_mapping(self) -> dict[str, dict[str, Any]]:
        """The space as it may be written in a study."""
        return {name: parameter.to_mapping() for name, parameter in self.items()}

    def distributions(self) -> dict[str, BaseDistribution]:
        """The space as distributions of Optuna's, for `study.ask(fixed_distributions=...)`."""
        return {name: parameter.distribution() for name, parameter in self.items()}

    def ranges(self) -> dict[str, Range]:
        """The parameters that are numbers between two ends; `log` says how to draw their axis."""
        return {name: axis for name, axis in self.items() if isinstance(axis, Range)}

    @property
    def unplaced(self) -> tuple[str, ...]:
        """Names of the ranges that lie around something that nobody has measured yet."""
        return tuple(name for name, axis in self.ranges().items() if not axis.is_placed)

    def grid(self, trials: int) -> dict[str, list[Scalar]]:
        """Values of each parameter, whose combinations make the grid.

        Ranges without `points` get about equally many, so that the combinations come as near to the number of
        trials as they can without exceeding it; each range keeps at least its two ends.

        Args:
            trials: Number of trials the study may spend.
        """
        counts = self._counts(trials)
        return {
            name: list(axis.choices) if isinstance(axis, Choices) else [*axis.values(counts[name])]
            for name, axis in self.items()
        }

    def num_points(self, trials: int) -> int:
        """Number of points of the grid that `grid` makes, without making it."""
        return prod(self._counts(trials).values())

    def _counts(self, trials: int) -> dict[str, int]:
        counts = {
            name: len(axis.choices) if isinstance(axis, Choices) else axis.points or 2 for name, axis in self.items()
        }
        free = {name: axis for name, axis in self.ranges().items() if axis.points is None}
        while growing := [name for name, axis in free.items() if _may_grow(axis, name, counts, trials)]:
            counts[min(growing, key=counts.__getitem__)] += 1
        return counts


def nominal_batch_size(batch_size: object, varied: Collection[str]) -> int:
    """Images between two updates of the weights in a study that does not say how many.

    They are those of a batch; where the batch is varied, 1: an update after each batch, however many images it has.

    Args:
        batch_size: Images in a batch as the study has them; one that is not allowed stands for the usual 16.
        varied: Names of what the study varies.
    """
    if "batch_size" in varied:
        return 1
    if isinstance(batch_size, int) and not isinstance(batch_size, bool) and batch_size > 0:
        return batch_size
    return 16


def check_each(raw: Mapping[Any, Any], check: Callable[[str, Any], Value]) -> dict[str, Value]:
    """Every item of a mapping as `check(key, value)` returns it.

    Raises:
        DefinitionError: What `check` raised, for all items together.
    """
    checked, problems = {}, []
    for key, value in raw.items():
        try:
            checked[key] = check(key, value)
        except DefinitionError as several:
            problems += [problem.under(str(key)) for problem in several.problems]
        except ValueError as error:
            problems.append(Problem(path=str(key), text=str(error)))
    if problems:
        raise DefinitionError(problems)
    return checked


def as_number(raw: object) -> float:
    """A finite number, also one in quotes.

    Raises:
        ValueError: It is not a finite number.
    """
    value = nan
    if isinstance(raw, str):
        value = as_float(raw)
    elif isinstance(raw, int | float) and not isinstance(raw, bool):
        try:
            value = float(raw)
        except OverflowError:
            raise ValueError(f"{shown(raw)} is beyond what a number can hold, 1e-308 to 1e+308") from None
    if not isfinite(value):
        raise ValueError(f"{shown(raw)} is not a finite number")
    return value


def fixed_value(name: str, raw: object) -> Scalar:
    """One value of a hyperparameter, as the detector takes it.

    Raises:
        ValueError: The name is not known or the value is not allowed.
    """
    if name not in names():
        raise ValueError(unknown_text("hyperparameter", name, names()))
    try:
        value: Scalar = getattr(Hyperparameters.from_mapping({name: raw}), name)
    except ValueError as error:
        raise ValueError(str(error).removeprefix(f"{name}: ")) from None
    return value


def value_of(name: str, raw: object) -> Scalar:
    """One value of a hyperparameter or of a key in `OF_PLAN`; raises the same as `fixed_value`."""
    _check_known(name)
    return _of_plan(name, raw) if name in OF_PLAN else fixed_value(name, raw)


def _check_known(name: str) -> None:
    if name not in (*names(), *OF_PLAN):
        raise ValueError(unknown_text("hyperparameter", name, (*names(), *OF_PLAN)))


def _parameter(name: str, raw: object) -> Parameter:
    _check_known(name)
    if not isinstance(raw, Mapping):
        raise ValueError(f"{shown(raw)} is neither {{low: ..., high: ...}} nor {{choices: [...]}}")
    own = {key: value for key, value in raw.items() if key != "prior"}
    parameter = _choices(name, own) if "choices" in own else _range(name, own)
    return parameter if raw.get("prior") is None else _with_prior(name, parameter, raw["prior"])


def _with_prior(name: str, parameter: Parameter, raw: object) -> Parameter:
    if not isinstance(raw, Mapping):
        raise DefinitionError([Problem(path="prior", text=f"{shown(raw)} is not {{centre: ..., confidence: ...}}")])
    try:
        _check_keys(raw, ("centre", "confidence"))
        if "centre" not in raw:
            raise ValueError("centre is missing: the value that is thought to be good")
        confidence = raw.get("confidence", CONFIDENCES[0])
        prior = Prior(centre=value_of(name, raw["centre"]), confidence=confidence)
    except DefinitionError as several:
        raise DefinitionError(problem.under("prior") for problem in several.problems) from None
    except ValueError as error:
        raise DefinitionError([Problem(path="prior", text=str(error))]) from None
    return replace(parameter, prior=prior)


def _choices(name: str, raw: Mapping[str, object]) -> Choices:
    _check_keys(raw, ("choices",))
    values = raw["choices"]
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise ValueError(f"choices {shown(values)} is not a list")
    return Choices(choices=tuple(value_of(name, value) for value in values))


def _of_plan(name: str, raw: object) -> Scalar:
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise ValueError(f"{shown(raw)} is not a whole number")
    try:
        TrainingPlan(**{name: raw})  # type: ignore[arg-type]  # a number of images, as both are
    except ValueError as error:
        raise ValueError(str(error).removeprefix(f"{name}: ")) from None
    return raw


def _range(name: str, raw: Mapping[str, object]) -> Range:
    if allowed := [8, 16, 32] if name in OF_PLAN else allowed_choices(name):
        raise ValueError(f"has no low and high; write choices: {list(allowed)}")
    if "around" in raw:
        return _placed_range(name, raw)
    _check_keys(raw, ("low", "high", "log", "step", "points"))
    given = {key: value for key, value in raw.items() if value is not None}
    if missing := [end for end in ("low", "high") if end not in given]:
        raise ValueError(f"{' and '.join(missing)} missing; a range has low and high")
    values = check_each(given, _range_value)
    lowest, highest = numeric_range(name)
    for end in ("low", "high"):
        if not lowest <= values[end] <= highest:
            raise ValueError(f"{end} {values[end]:g} is outside {lowest:g}..{highest:g}")
    return Range(**values)


def _placed_range(name: str, raw: Mapping[str, object]) -> Range:
    if name not in PLACEABLE:
        raise ValueError(f"around is not allowed: nothing is measured of it but of {', '.join(PLACEABLE)}")
    _check_keys(raw, ("around", "below", "above", "points", "edge", "measured", "low", "high", "log"))
    given = {key: value for key, value in raw.items() if value is not None}
    values = check_each(given, _placed_value)
    measured = [as_number(rate) for rate in values.get("measured", ())]
    around = Around(
        what=values.get("around", ""),
        measured=tuple(measured),
        **{key: values[key] for key in _OF_EDGE & values.keys()},
    )
    lowest, highest = numeric_range(name)
    low, high = around.ends(unmeasured=float(getattr(Hyperparameters(), name)))
    placed = Range(low=max(low, lowest), high=min(high, highest), log=True, points=values.get("points"), around=around)
    # As they are stored beside what they follow from, for those who read no more than a range.
    for key in ("low", "high", "log"):
        if key in values and (not placed.is_placed or values[key] != getattr(placed, key)):
            raise ValueError(f"{key} {shown(values[key])} is given beside around, which decides it; leave one out")
    return placed


def _check_keys(raw: Mapping[str, object], known: tuple[str, ...]) -> None:
    if unknown := [key for key in raw if key not in known]:
        raise DefinitionError(Problem(path="", text=unknown_text("key", key, known)) for key in unknown)


def _placed_value(key: str, raw: object) -> Any:
    if key in _OF_EDGE:
        return as_number(raw)
    if key == "measured" and not isinstance(raw, list | tuple):
        raise ValueError(f"{shown(raw)} is not a list of numbers")
    return _range_value(key, raw)


def _range_value(key: str, raw: object) -> Any:
    if key in ("low", "high", "step"):
        return as_number(raw)
    if key == "log" and not isinstance(raw, bool):
        raise ValueError(f"{shown(raw)} is not true or false")
    if key == "points" and (isinstance(raw, bool) or not isinstance(raw, int)):
        raise ValueError(f"{shown(raw)} is not a whole number")
    return raw


def _may_grow(axis: Range, name: str, counts: Mapping[str, int], trials: int) -> bool:
    has_room = axis.most_points is None or counts[name] < axis.most_points
    return has_room and prod(counts.values()) // counts[name] * (counts[name] + 1) <= trials
