"""Ranges that lie around what is measured before the first trial: placed once, and so from then on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from evolve.formatting import counted, number
from evolve.study.parameters import Around, Range
from evolve.study.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a range lies around.

    Attributes:
        edge: Critical learning rate that the range lies around.
        measured: The highest rate that was borne and the lowest that was not; empty where a person has named the edge.
        reason: How it was measured, for people.
    """

    edge: float
    measured: tuple[float, ...]
    reason: str


def placed(study: Study, found: Mapping[str, Measured]) -> Study:
    """The study with its ranges placed around what was measured, which it keeps.

    Args:
        study: Study whose ranges are to be placed.
        found: What was measured, by the name of the hyperparameter; ranges of others stay as they are.
    """
    space, decisions = study.space.to_mapping(), dict(study.decisions)
    for name, measured in found.items():
        axis = study.space[name]
        assert isinstance(axis, Range) and axis.around is not None
        # Only what is written: the ends follow from it.
        around = replace(axis.around, edge=measured.edge, measured=measured.measured)
        space[name] |= around.to_mapping()
        decisions[key_of(name)] = measured.reason
    mapping = study.to_mapping() | {"decisions": decisions, "space": space}
    return Study.from_mapping(mapping, origin=f"study {study.name}")


def placed_like(study: Study, stored: Study) -> Study:
    """The study with its ranges where those of a stored one are, as far as they lie around the same."""
    found = {}
    for name in study.space.unplaced:
        mine, known = _around(study, name), _around(stored, name)
        if mine is not None and known is not None and known.what == mine.what and known.edge is not None:
            reason = stored.decisions.get(key_of(name), "")
            found[name] = Measured(edge=known.edge, measured=known.measured, reason=reason)
    return placed(study, found) if found else study


def placing_texts(study: Study, names: Sequence[str]) -> tuple[str, ...]:
    """Where ranges lie that follow from what was measured, and how that was."""
    ranges = study.space.ranges()
    return tuple(f"{name} {placing_text(ranges[name])}; {study.decisions.get(key_of(name), '')}" for name in names)


def _around(study: Study, name: str) -> Around | None:
    axis = study.space.get(name)
    return axis.around if isinstance(axis, Range) else None


def key_of(name: str) -> str:
    """Key of the decision that says how a range was placed."""
    return f"space.{name}.around"


def placing_text(axis: Range) -> str:
    """Where a range lies that follows from what is measured, for people; empty of one that does not."""
    if (around := axis.around) is None:
        return ""
    count = "" if axis.points is None else f"{counted(axis.points, 'point')}, "
    factors = f"1/{number(around.below)} to {number(around.above)} times the critical rate"
    if around.edge is None:
        return f"{count}{factors}, which short trainings measure before the first trial"
    return f"{count}{factors} {number(around.edge)}: {axis.low:g} .. {axis.high:g} (log)"
