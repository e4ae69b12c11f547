"""What the arms of an ablation were tuned to, and whether that lies at an end of what was tried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evolve.formatting import counted, listed, parameter
from evolve.study.arms import ArmPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """One nuisance hyperparameter, as each arm is compared with it.

    Attributes:
        name: Name of the hyperparameter.
        chosen: Value that each arm was tuned to, by the name of the arm; one that is not yet compared is not there.
        tried: Values that were tried for every arm, each once, the lowest first where they are numbers.
    """

    name: str
    chosen: Mapping[str, Any]
    tried: tuple[Any, ...]

    @property
    def at_an_end(self) -> tuple[str, ...]:
        """Arms that were tuned to the lowest or the highest number tried, beyond which it may be better still."""
        return tuple(arm for arm, value in self.chosen.items() if self._end(value))

    @property
    def text(self) -> str:
        """The values, and at which of them the tuning did not find an optimum, for people."""
        if len(set(self.chosen.values())) == 1 and len(self.chosen) > 1:
            value = next(iter(self.chosen.values()))
            return f"{self.name} {parameter(value)} for every arm{self._end_text(value)}"
        own = [f"{parameter(value)} for {arm}{self._end_text(value)}" for arm, value in self.chosen.items()]
        return f"{self.name} {listed(own, limit=len(own))}"

    @property
    def advice(self) -> str:
        """What to change where an arm was tuned to an end of what was tried, for people."""
        return (
            f"{self.name} of {counted(len(self.at_an_end), 'arm')} is at an end of what was tried, and may be better "
            f"beyond: widen nuisance.space.{self.name}, or raise nuisance.trials"
        )

    def _end_text(self, value: Any) -> str:
        end = self._end(value)
        return f" (the {end} of {len(self.tried)} tried)" if end else ""

    def _end(self, value: Any) -> str:
        """`highest` or `lowest` where a value is that of the numbers tried, else nothing."""
        if any(isinstance(other, str | bool) for other in self.tried):
            return ""
        if value == self.tried[-1]:
            return "highest"
        return "lowest" if value == self.tried[0] else ""


def tuned_of(plan: ArmPlan, nuisance: Iterable[str], params: Mapping[int, Mapping[str, Any]]) -> tuple[Tuned, ...]:
    """What arms were tuned to, hyperparameter by hyperparameter; nothing where none was tuned or none is compared yet.

    Args:
        plan: Which trial trains which arm.
        nuisance: Names of the hyperparameters that are tuned.
        params: Values of the searched hyperparameters by name, for each trial by its number.
    """
    first = plan.first_of(1)
    compared = {
        plan.arm_of(number).name: params[number] for number in range(first, first + len(plan.arms)) if number in params
    }
    settings = [params[number] for number in range(plan.num_tuning) if number in params]
    found = []
    for name in nuisance:
        values = {setting[name] for setting in settings if name in setting}
        is_ordered = not any(isinstance(value, str | bool) for value in values)
        tried = tuple(sorted(values) if is_ordered else sorted(values, key=str))
        chosen = {arm: own[name] for arm, own in compared.items() if name in own}
        if tried and chosen:
            found.append(Tuned(name=name, chosen=chosen, tried=tried))
    return tuple(found)
