"""What was measured in the trials of a study: frames that are read when a picture first asks for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from threading import RLock
from typing import Literal, TypeAlias

import pandas as pd

FrameName: TypeAlias = Literal["epochs", "seed_results", "steps", "last_steps"]


class Measured:
    """Frames with a column `number`, each read at most once; several threads may ask.

    Args:
        readers: What reads each frame.
    """

    def __init__(self, readers: Mapping[FrameName, Callable[[], pd.DataFrame]]) -> None:
        self._readers = readers
        self._frames: dict[FrameName, pd.DataFrame] = {}
        self._lock = RLock()

    def frame(self, name: FrameName) -> pd.DataFrame:
        """The frame of that name; what its reader raises is raised, and the next who asks tries again."""
        with self._lock:
            if name not in self._frames:
                self._frames[name] = self._readers[name]()
            return self._frames[name]

    def restricted(self, numbers: Collection[int]) -> Measured:
        """The same with the rows of these trials alone."""

        def own(name: FrameName) -> pd.DataFrame:
            rows = self.frame(name)
            return rows[rows["number"].isin(numbers)].reset_index(drop=True)

        return Measured({name: partial(own, name) for name in self._readers})
