"""How a hyperparameter is declared: its range or choices, what it needs, what it means; standard library only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

from detector.written_numbers import as_float

# What only the data tell: several classes, images that are varied. Named in `needs` as hyperparameters are.
CLASSES, VARIED = "several classes", "images that are augmented"
DATA_FACTS = {
    CLASSES: "with one class the class term of the loss is 0 whatever its gain",
    VARIED: "rendered digits are not augmented",
}
OR = " or "  # between hyperparameters of which one is enough


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What is known of a hyperparameter besides its value in a training.

    Attributes:
        name: Key of the hyperparameter in every file.
        family: Group that it belongs to, such as "rates" or "augmentation".
        meaning: What it decides, in one sentence for people.
        default: Value where none is given.
        low, high: Smallest and largest number allowed; both 0 where there are choices.
        choices: Values allowed, of one type; empty for numbers.
        unit: Unit of the number, empty where it has none.
        is_shared: Whether the lanes of a population must agree on it.
        needs: What it has no effect without, all of them: the name of a number that must be above 0, or several with
            `OR` between of which one must, or the name of a choice followed by the values that use it, or a key of
            `DATA_FACTS`.
    """

    name: str
    family: str
    meaning: str
    default: float | str | bool
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str | bool, ...] = ()
    unit: str = ""
    is_shared: bool = False
    needs: tuple[tuple[str, ...], ...] = ()

    @property
    def allowed(self) -> str:
        """Range or choices as text."""
        if self.choices:
            return ", ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in self.choices)
        return f"{self.low:g}..{self.high:g}"

    def check(self, value: object) -> None:
        """Makes sure that a value is allowed.

        Raises:
            ValueError: It is outside the range, no finite number, or none of the choices.
        """
        if self.choices:
            if value not in self.choices or isinstance(value, bool) != isinstance(self.choices[0], bool):
                raise ValueError(f"{self.name}: {value!r:.80} is not one of {list(self.choices)}")
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{self.name}: {value!r:.80} is not a number")
        if not self.low <= value <= self.high:  # nan is in no range, and a whole number may be too large for a float
            raise ValueError(f"{self.name}: {value!r:.80} is outside {self.low:g}..{self.high:g}")

    def obstacles(self, possible: Callable[[str], Collection[object]], facts: Mapping[str, bool]) -> list[str]:
        """Why the hyperparameter has no effect, a clause for each reason; empty where it may have one.

        Args:
            possible: Function from the name of another hyperparameter to the values that it may have: one in a
                training, several in a study. Of a range both ends are enough.
            facts: Keys of `DATA_FACTS` and whether they hold, as far as anybody knows.
        """
        others = [need for need in self.needs if need[0] not in DATA_FACTS]
        found = [_unmet(needed.split(OR), users, possible) for needed, *users in others]
        return [*self.missing_in_data(facts), *(reason for reason in found if reason)]

    def missing_in_data(self, facts: Mapping[str, bool]) -> list[str]:
        """What the data lack for the hyperparameter to have an effect, a clause each; `facts` as for `obstacles`."""
        asked = [name for name, *_ in self.needs if name in DATA_FACTS]
        return [DATA_FACTS[name] for name in asked if not facts.get(name, True)]

    @property
    def depends_on_data(self) -> bool:
        """Whether the data decide if it has an effect."""
        return any(name in DATA_FACTS for name, *_ in self.needs)

    def parsed(self, value: object) -> Any:
        """A value from a file as the type of the field: both a quoted number and 1 are meant as floats."""
        if self.choices or isinstance(value, bool):
            return value
        if isinstance(value, str):
            number = as_float(value)
            return value if isnan(number) else number
        if isinstance(value, int):
            try:
                return float(value)
            except OverflowError:
                return value
        return value


def declared(default: object, family: str, meaning: str, **known: Any) -> Any:
    """A field of a dataclass that carries what is known of its hyperparameter.

    Args:
        default: Value where none is given.
        family, meaning: Group of the hyperparameter, and what it decides, in one sentence for people.
        known: Further attributes of `Declaration`.
    """
    return field(default=default, metadata={"default": default, "family": family, "meaning": meaning, **known})


def number(default: float, low: float, high: float, family: str, meaning: str, **known: Any) -> Any:
    """A field that holds a number from `low` to `high`; see `declared`."""
    return declared(default, family, meaning, low=low, high=high, **known)


def choice(family: str, meaning: str, choices: tuple[object, ...], **known: Any) -> Any:
    """A field that holds one of `choices`, the first of them by default; see `declared`."""
    return declared(choices[0], family, meaning, choices=choices, **known)


def _unmet(needed: Sequence[str], users: Sequence[str], possible: Callable[[str], Collection[object]]) -> str:
    """Why no value of anything that is needed is of use; empty if one is."""
    reasons = []
    for name in needed:
        values = possible(name)
        if any(value in users if users else value for value in values):
            return ""
        found = " or ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
        reasons.append(f"{name} is {found}")
    return " and ".join(reasons)
