"""Hyperparameters of T lanes as what is computed for all of them at once reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from detector.hyperparameters import Hyperparameters, declarations


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneValues:
    """Hyperparameters of T lanes.

    Attributes:
        shared: Hyperparameters of any lane, read only where lanes agree.
        numbers_T: Every numeric hyperparameter by name, one value a lane, each of shape (T,).
        positive: Names of those that are above 0 for some lane; what the others would do need not be computed.
    """

    shared: Hyperparameters
    numbers_T: Mapping[str, Tensor]
    positive: frozenset[str]

    @classmethod
    def of(cls, values: Sequence[Hyperparameters], like: Tensor) -> LaneValues:
        """The values of lanes that agree on what they share, with the type and device of a tensor."""
        numeric = [name for name, declaration in declarations().items() if not declaration.choices]
        rows = [[getattr(lane, name) for lane in values] for name in numeric]
        return cls(
            shared=values[0],
            numbers_T=dict(zip(numeric, like.new_tensor(rows), strict=True)),
            positive=frozenset(name for name, row in zip(numeric, rows, strict=True) if any(row)),
        )
