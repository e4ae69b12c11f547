"""What lanes remember to answer gradient spikes: norms of their updates, and what they were some updates ago."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from detector.choices.spikes import ON_SPIKE, NormHistory
from detector.hyperparameters import Hyperparameters

# A lane's weights, and what its optimizer remembers.
State = tuple[dict[str, Any], dict[str, Any]]


class SpikeGuard:
    """Decides whether a lane that answers spikes makes an update, and remembers what that takes.

    Args:
        values: Hyperparameters of the lane.
    """

    def __init__(self, values: Hyperparameters) -> None:
        self._answer = ON_SPIKE[values.on_spike]
        self._most = values.spike_z
        self._every = round(values.rewind_steps) if values.on_spike == "rewind" else 0
        self._history = NormHistory(decay=values.spike_decay, known_after=round(values.spike_warmup))
        self._updates = 0
        self._kept: list[State] = []

    def makes_update(self, norm: float, now: Callable[[], State], go_back: Callable[[State], None]) -> bool:
        """Whether an update is made; where the lane goes back, it does so before this returns.

        Args:
            norm: Euclidean norm of the update's gradient, finite.
            now: Function that gives the weights of the lane and what its optimizer remembers, as they are now.
            go_back: Function that takes the lane back to what `now` gave earlier.
        """
        answer = self._answer(self._history.deviations(norm) > self._most)
        self._history = self._history.having(norm, most=self._most)
        if answer.goes_back and self._kept:
            self._kept = self._kept[:1]  # what came later is of a way that is left
            go_back(self._kept[0])  # at least so many updates ago, or as long as there were any
        if not answer.makes_update:
            return False
        if self._every and self._updates % self._every == 0:
            self._kept = [*self._kept[-1:], now()]
        self._updates += 1
        return True

    def state(self) -> dict[str, Any]:
        """Everything a resumed lane needs."""
        return {"norms": list(self._history.numbers), "updates": self._updates, "kept": list(self._kept)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state` gave."""
        count, mean, variance = state["norms"]
        self._history = replace(self._history, count=int(count), mean=mean, variance=variance)
        self._updates, self._kept = int(state["updates"]), [(weights, rest) for weights, rest in state["kept"]]


def guards_of(values: Sequence[Hyperparameters]) -> list[SpikeGuard | None]:
    """A guard for each lane that answers spikes; None for those that make every update."""
    return [None if lane_values.on_spike == "none" else SpikeGuard(lane_values) for lane_values in values]
