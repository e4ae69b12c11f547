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
        class_weight_TC: Weight of each class in the class term, by `class_weights`; no class where none is known.
    """

    shared: Hyperparameters
    numbers_T: Mapping[str, Tensor]
    positive: frozenset[str]
    class_weight_TC: Tensor

    @classmethod
    def of(cls, values: Sequence[Hyperparameters], like: Tensor, *, class_rarity: Sequence[float] = ()) -> LaneValues:
        """The values of lanes that agree on what they share, with the type and device of a tensor.

        Args:
            values: Hyperparameters of each lane.
            like: Tensor whose type and device the values are to have.
            class_rarity: Weight of each class where lanes weigh them wholly, as `LabelStatistics` has it.
        """
        numeric = [name for name, declaration in declarations().items() if not declaration.choices]
        rows = [[getattr(lane, name) for lane in values] for name in numeric]
        numbers_T = dict(zip(numeric, like.new_tensor(rows), strict=True))
        return cls(
            shared=values[0],
            numbers_T=numbers_T,
            positive=frozenset(name for name, row in zip(numeric, rows, strict=True) if any(row)),
            class_weight_TC=1 + numbers_T["class_weights"][:, None] * (like.new_tensor(class_rarity) - 1),
        )
