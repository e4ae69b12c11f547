"""A panel of a page: a question, the rows that answer it, and the pictures and tables of those rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import plotly.graph_objects as go

from dashboards.blocks import Album, Disclosure, Empty, Gallery, Key, Prose, Table, Tiles, VerdictCounts, VerdictMark
from dashboards.data.shown import drawn_numbers
from dashboards.data.study import StudyView
from dashboards.data.trial_sets import started

Block: TypeAlias = (
    go.Figure | Table | Album | Prose | Empty | Disclosure | Gallery | Tiles | VerdictCounts | VerdictMark | Key
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One section of a page.

    Attributes:
        key: Name of the panel, unique on a page, and its anchor.
        title: Heading: the question, or what is shown.
        caption: How to read the panel; empty where nothing need be said.
        rows: Function from what the page is about, such as a study, to the rows shown, or why there are none.
        blocks: Function from those rows to what is drawn, top to bottom; rows that are blocks already need none.
        follows_selection: Whether the rows depend on which trials are selected; other pictures only mark them.
        has_points: Whether each trial is a point, so that a choice of them is drawn where they are very many.
        is_optional: Whether a page that stays as it is leaves it out where it has nothing to show.
    """

    key: str
    title: str
    caption: str = ""
    rows: Callable[[Any], Any]
    blocks: Callable[[Any], Block | tuple[Block, ...]] = lambda rows: rows
    follows_selection: bool = False
    has_points: bool = False
    is_optional: bool = False

    def draw(self, view: object) -> tuple[Block, ...]:
        """Blocks that the panel shows of what the page is about."""
        found = self.rows(view)
        if isinstance(found, Empty):
            return (found,)
        drawn = self.blocks(found)
        # At the end, so that a picture keeps its name when the study grows.
        return (drawn if isinstance(drawn, tuple) else (drawn,)) + (_choice_note(view) if self.has_points else ())


def _choice_note(view: object) -> tuple[Block, ...]:
    assert isinstance(view, StudyView)
    drawn, whole = len(drawn_numbers(view)), len(started(view.trials))
    if drawn == whole:
        return ()
    return (
        Prose(
            f"{drawn:,} of {whole:,} trials are drawn: the best, all rare outcomes and an even choice of the others. A "
            "filter draws those that pass; CSV has all."
        ),
    )
